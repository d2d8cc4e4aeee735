"""What the service does with recommendations: ask for one, and make it in a worker."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

import mixwright
from app.auth.access import Principal
from app.db.models import FitRow, JobRow, RecommendationRow, StudyRow
from app.db.session import Bell, Sessions, reading, writing
from app.errors import ConflictError, FieldError, NotFoundError
from app.fits import service as fits
from app.fits.predictions import as_points
from app.fits.schemas import FitCreate
from app.identifiers import new_id
from app.jobs import service as jobs
from app.jobs.schemas import JobState
from app.jobs.service import Lease
from app.recommendations import repository
from app.recommendations.schemas import Method, RecommendationCreate, RecommendationRead
from app.recommendations.space_rules import wrong_in_space
from app.runs import service as runs
from app.studies import service as studies
from app.studies.definition import to_core
from app.studies.spaces import kind_of
from app.wire import refuse
from mixwright.arrays import FloatArray
from mixwright.constraints import compile_constraints
from mixwright.model import MixtureModel
from mixwright.spaces import SPACES
from mixwright.study import CompletedRuns, Study

QUEUE = "fit"


def create(
    session: Session, principal: Principal, study: str, asked: RecommendationCreate
) -> RecommendationRead:
    """Ask for a recommendation, and for the fit it needs if there is none.

    Raises:
        NotFoundError: no such study.
        InvalidRequestError, InvalidInputError: names every wrong field.
        ConflictError: the fit failed or was cancelled.
    """
    row = studies.find(session, principal, study)
    refuse(
        [*_wrong_fields(asked), *_wrong_top_k(row, asked), *wrong_in_space(row.definition, asked)]
    )
    if asked.pool is not None:
        as_points(row.definition, asked.pool, "pool")
    fit, fit_job = _fit_for(session, row, asked)
    job = jobs.create(session, row.id, "recommendation", QUEUE, after_id=fit_job.id)
    recommendation = RecommendationRow(
        id=new_id("rec"),
        study_id=row.id,
        fit_id=fit.id,
        job_id=job.id,
        request=asked.model_dump(mode="json"),
        created_at=job.created_at,
    )
    session.add(recommendation)
    session.flush()
    return read(session, principal, recommendation.id)


def _wrong_fields(asked: RecommendationCreate) -> Iterator[FieldError]:
    if (asked.pool is None) == (asked.method == Method.POOL):
        detail = (
            "the method 'pool' needs the mixtures to choose from"
            if asked.pool is None
            else f"the method '{asked.method}' takes no pool; leave it out, or use 'pool'"
        )
        yield FieldError(pointer="/pool", detail=detail)


def _wrong_top_k(study: StudyRow, asked: RecommendationCreate) -> Iterator[FieldError]:
    top_k = asked.top_k or SPACES[kind_of(study.definition)].top_k
    if asked.method == Method.REGMIX and top_k > asked.candidates:
        detail = f"{top_k} is more than the {asked.candidates} candidates"
        yield FieldError(pointer="/top_k", detail=detail)


def _fit_for(
    session: Session, study: StudyRow, asked: RecommendationCreate
) -> tuple[FitRow, JobRow]:
    """Return the fit to recommend by, and its job."""
    if asked.fit is None:
        wanted = FitCreate(surrogate=asked.surrogate, seed=asked.seed)
        return fits.reusable(session, study, wanted) or fits.start(session, study, wanted)
    found = fits.of_study(session, asked.fit, study.id)
    if found is None:
        refuse([FieldError(pointer="/fit", detail=f"'{asked.fit}' is not a fit of this study")])
    assert found is not None  # noqa: S101  - refused
    fit, job = found
    if asked.surrogate not in ("auto", fit.request["surrogate"]):
        detail = f"the fit '{fit.id}' is of '{fit.request['surrogate']}'; leave one of the two out"
        refuse([FieldError(pointer="/surrogate", detail=detail)])
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        fits.require_succeeded(fit.id, job)
    return fit, job


def read(session: Session, principal: Principal, identity: str) -> RecommendationRead:
    """Return the recommendation as it is answered.

    Raises:
        NotFoundError, ForbiddenError: see `app.recommendations.repository.get`.
    """
    row = repository.get(session, principal, identity)
    return repository.to_read(row, runs.count_completed(session, row[0].study_id))


def read_latest(session: Session, principal: Principal, study: str) -> RecommendationRead:
    """Return the study's latest recommendation that succeeded.

    Raises:
        NotFoundError: no such study, or it has none.
    """
    study_id = studies.find(session, principal, study).id
    row = repository.latest(session, study_id)
    if row is None:
        raise NotFoundError("finished recommendation of study", study)
    return repository.to_read(row, runs.count_completed(session, study_id))


def require_succeeded(recommendation: RecommendationRead) -> None:
    """Return if the recommendation has succeeded.

    Raises:
        ConflictError: it has not; says why.
    """
    if recommendation.state == JobState.FAILED:
        reason = (recommendation.error or {})["detail"]
        raise ConflictError(f"the recommendation '{recommendation.id}' failed: {reason}")
    if recommendation.state != JobState.SUCCEEDED:
        raise ConflictError(
            f"the recommendation '{recommendation.id}' is {recommendation.state}; "
            "wait until it has succeeded"
        )


def work(sessions: Sessions, ring: Bell, lease: Lease, report: Callable[[float], None]) -> None:
    """Make a recommendation in a worker and store it with its job's success.

    Raises:
        MixwrightError: no recommendation can be made.
        ConflictError: the study's objective is not the one that was fitted.
        LeaseLostError: the job is not this worker's any more; nothing was stored.
    """
    with reading(sessions) as session:
        asked = repository.of_job(session, lease.job_id)
        request, fit_id = asked.request, asked.fit_id
        stored = studies.load(session, asked.study_id)
        study = to_core(stored.definition)
        completed = runs.completed(session, stored.id, study)
        model, fit_report = fits.model_of(session, fit_id), fits.report_of(session, fit_id)
    _require_same_objective(study, model, fit_id)
    from mixwright.fitting import runs_digest  # loads scipy.stats, which the API does not need

    result = _recommend(study, stored.definition, model, completed, request, report)
    result["runs_used"] = fit_report["runs_used"]
    result["provenance"] = {
        "fit": fit_id,
        "runs_digest": runs_digest(study, completed),
        "study_version": stored.version,
        "seed": request["seed"],
        "version": mixwright.__version__,
    }
    with writing(sessions, ring) as session:
        jobs.succeed(session, lease)
        row = repository.of_job(session, lease.job_id)
        row.result, row.digest = result, content_digest(result)


def _recommend(
    study: Study,
    definition: dict[str, Any],
    model: MixtureModel,
    completed: CompletedRuns,
    request: Mapping[str, Any],
    report: Callable[[float], None],
) -> dict[str, Any]:
    """Return the recommendation of the core as JSON."""
    from mixwright.recommend import recommend  # loads its solvers

    return recommend(
        study,
        compile_constraints(study),
        model,
        completed,
        method=request["method"],
        candidates=request["candidates"],
        top_k=request["top_k"],
        kl_to_prior=request["kl_to_prior"],
        selected_tokens=_budget(request.get("selected_tokens")),
        pool=_pool(definition, request["pool"]),
        seed=request["seed"],
        progress=report,
    ).to_json(study)


def _pool(definition: dict[str, Any], sent: Sequence[dict[str, float]] | None) -> FloatArray | None:
    return None if sent is None else as_points(definition, sent, "pool")


def _budget(asked: Mapping[str, float | None] | None) -> tuple[float, float] | None:
    if asked is None:
        return None
    upper = asked["upper"]
    return asked["lower"] or 0.0, math.inf if upper is None else upper


def _require_same_objective(study: Study, model: MixtureModel, fit_id: str) -> None:
    if not (
        np.array_equal(model.objective, study.objective)
        and np.array_equal(model.signs, study.signs)
    ):
        raise ConflictError(
            f"the study's metrics or objective have changed since the fit '{fit_id}'; fit again"
        )


def content_digest(result: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of a result, but for the id of its fit.

    Canonical: names sorted, no spaces, numbers as Python's `repr` writes them.
    """
    provenance = {name: item for name, item in result["provenance"].items() if name != "fit"}
    text = json.dumps(
        {**result, "provenance": provenance},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()
