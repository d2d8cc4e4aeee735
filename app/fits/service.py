"""What the service does with fits: ask for one, do it in a worker, predict with it."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import FitRow, JobRow, StudyRow
from app.db.session import Bell, Sessions, reading, writing
from app.errors import ConflictError
from app.fits import repository
from app.fits.repository import FitAndJob
from app.fits.schemas import FitCreate, FitRead, OutOfFoldRead
from app.identifiers import new_id
from app.jobs import service as jobs
from app.jobs.schemas import JobState
from app.jobs.service import Lease
from app.runs import service as runs
from app.studies import service as studies
from app.studies.definition import to_core
from app.wire import refuse
from mixwright.model import MixtureModel
from mixwright.surrogates import build_surrogate

QUEUE = "fit"


def create(session: Session, principal: Principal, study: str, asked: FitCreate) -> FitRead:
    """Ask for a fit.

    Raises:
        NotFoundError: no such study.
        InvalidRequestError, InvalidInputError: unknown surrogate, option or fidelity.
    """
    fit, _ = start(session, studies.find(session, principal, study), asked)
    return repository.to_read(repository.get(session, principal, fit.id))


def start(session: Session, study: StudyRow, asked: FitCreate) -> tuple[FitRow, JobRow]:
    """Ask for a fit of a study that was found; for other features.

    Raises:
        InvalidRequestError, InvalidInputError: see `create`.
    """
    build_surrogate(asked.surrogate, asked.options)
    refuse(runs.wrong_fidelity(study, asked.fidelity, "fidelity"))
    job = jobs.create(session, study.id, "fit", QUEUE)
    fit = FitRow(
        id=new_id("fit"),
        study_id=study.id,
        job_id=job.id,
        request=asked.model_dump(mode="json"),
        created_at=job.created_at,
    )
    session.add(fit)
    session.flush()
    return fit, job


def reusable(session: Session, study: StudyRow, asked: FitCreate) -> tuple[FitRow, JobRow] | None:
    """Return a successful fit that asking again would only repeat, or None.

    The runs themselves are read, to compare digests, only where their number has not changed.
    """
    found = repository.latest_succeeded(
        session, study.id, study.version, asked.model_dump(mode="json")
    )
    if found is None:
        return None
    fit, job = found
    if report_of(session, fit.id)["runs_available"] != runs.count_completed(session, study.id):
        return None
    from mixwright.fitting import runs_digest  # loads scipy.stats

    core = to_core(study.definition)
    digest = runs_digest(core, runs.completed(session, study.id, core))
    return (fit, job) if fit.runs_digest == digest else None


def get(session: Session, principal: Principal, fit_id: str) -> FitAndJob:
    """Return the fit and its job, for other features.

    Raises:
        NotFoundError, ForbiddenError: see `app.fits.repository.get`.
    """
    return repository.get(session, principal, fit_id)


def of_study(session: Session, fit_id: str, study_id: str) -> FitAndJob | None:
    """Return the fit and its job, or None if the study has no such fit."""
    found = repository.find(session, fit_id)
    return found if found is not None and found[0].study_id == study_id else None


def model_of(session: Session, fit_id: str) -> MixtureModel:
    """Return the model of a fit that succeeded."""
    return MixtureModel.from_bytes(repository.model_bytes(session, fit_id))


def report_of(session: Session, fit_id: str) -> dict[str, Any]:
    """Return the report of a fit that succeeded."""
    report = session.get_one(FitRow, fit_id).report
    assert report is not None  # noqa: S101  - it is stored together with the success of its job
    return report


def out_of_fold(session: Session, principal: Principal, fit_id: str) -> OutOfFoldRead:
    """Return the out-of-fold predictions of a fit.

    Raises:
        NotFoundError: no such fit.
        ConflictError: it has not succeeded; says why.
    """
    fit, job = repository.get(session, principal, fit_id)
    require_succeeded(fit.id, job)
    return OutOfFoldRead(**report_of(session, fit.id)["out_of_fold"])


def cancel(session: Session, principal: Principal, fit_id: str) -> FitRead:
    """End a fit that is queued or running.

    Raises:
        NotFoundError: no such fit.
        ConflictError: it has succeeded or failed.
    """
    fit, _ = repository.get(session, principal, fit_id)
    jobs.cancel(session, fit.job_id)
    return repository.to_read(repository.get(session, principal, fit_id))


def require_succeeded(fit_id: str, job: JobRow) -> None:
    """Return if the fit has succeeded.

    Raises:
        ConflictError: it has not; says why.
    """
    if job.state == JobState.FAILED:
        raise ConflictError(f"the fit '{fit_id}' failed: {(job.error or {})['detail']}")
    if job.state != JobState.SUCCEEDED:
        raise ConflictError(f"the fit '{fit_id}' is {job.state}; wait until it has succeeded")


def work(sessions: Sessions, ring: Bell, lease: Lease, report: Callable[[float], None]) -> None:
    """Do a fit in a worker: read the runs, fit, store model and report with the job's success.

    Raises:
        MixwrightError: the runs do not allow the fit.
        LeaseLostError: the job is not this worker's any more; nothing was stored.
    """
    with reading(sessions) as session:
        fit = repository.of_job(session, lease.job_id)
        stored = studies.load(session, fit.study_id)
        study = to_core(stored.definition)
        completed = runs.completed(session, stored.id, study)
    from mixwright.fitting import fit_study, runs_digest  # loads scipy.stats

    model, fit_report = fit_study(study, completed, **fit.request, progress=report)
    digest = runs_digest(study, completed)
    with writing(sessions, ring) as session:
        jobs.succeed(session, lease)
        row = repository.of_job(session, lease.job_id)
        row.runs_digest, row.study_version = digest, stored.version
        row.report, row.model = fit_report.to_json(), model.to_bytes()
