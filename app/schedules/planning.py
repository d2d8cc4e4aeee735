"""From a request to a planned schedule, as JSON: everything but the database."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from app.errors import FieldError, InvalidRequestError, pointer
from app.schedules.schemas import DocumentsSchema, ScheduleCreate
from app.studies.definition import listed, to_core
from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.schedules import Budget, Documents, Planner, Problem, Schedule, planner_options
from mixwright.schedules.checks import require_caps, require_constraints
from mixwright.schedules.composing import compose
from mixwright.schedules.pools import worth
from mixwright.schedules.steps import spans_of, stage_steps
from mixwright.schedules.training import averaged
from mixwright.schedules.trajectories import Trajectories

_APART: Final = 0.02
"""Share of the tokens by which documents may differ from a mixture without a word."""


def problem_of(
    definition: dict[str, Any],
    budget: Mapping[str, Any],
    weights: Mapping[str, float],
    documents: DocumentsSchema | None = None,
    trajectories: Trajectories | None = None,
) -> Problem:
    """Return what is to be planned in a study.

    Raises:
        InvalidInputError: the budget trains nothing.
    """
    repetition = definition["constraints"]["repetition"] or {}
    return Problem(
        budget=Budget(**budget),
        weights=weights,
        unique_tokens={domain["name"]: domain["tokens"] for domain in definition["domains"]},
        max_epochs=repetition.get("max_epochs"),
        documents=None if documents is None else _as_documents(documents, tuple(weights)),
        trajectories=trajectories,
    )


def _as_documents(sent: DocumentsSchema, domains: tuple[str, ...]) -> Documents:
    places = {name: place for place, name in enumerate(domains)}
    return Documents(
        domains=domains,
        domain_index=np.array([places[name] for name in sent.domain], dtype=np.int64),
        tokens=np.array(sent.tokens, dtype=np.float64),
        columns={name: np.array(values, dtype=np.float64) for name, values in sent.columns.items()},
    )


def wrong_documents(sent: DocumentsSchema, domains: list[str]) -> Iterator[FieldError]:
    """Yield columns of another length than the first, and the first document of no domain."""
    count = len(sent.domain)
    lengths: dict[tuple[str, ...], int] = {("tokens",): len(sent.tokens)}
    lengths |= {("columns", name): len(values) for name, values in sent.columns.items()}
    for where, length in lengths.items():
        if length != count:
            detail = f"it has {length} values for {count} documents"
            yield FieldError(pointer=pointer("documents", *where), detail=detail)
    known = set(domains)
    unknown = next((i for i, name in enumerate(sent.domain) if name not in known), None)
    if unknown is not None:
        detail = (
            f"'{sent.domain[unknown]}' is not a domain of the study; they are {listed(domains)}"
        )
        yield FieldError(pointer=pointer("documents", "domain", unknown), detail=detail)


def about_documents(sent: DocumentsSchema) -> dict[str, Any]:
    """Return what is kept of documents: how many, and their digest."""
    text = json.dumps(sent.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return {"count": len(sent.domain), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def planned(
    planner: Planner,
    problem: Problem,
    definition: dict[str, Any],
    name: str,
    around: Schedule | None = None,
) -> dict[str, Any]:
    """Return the schedule as JSON, without its provenance.

    Args:
        planner: with its options.
        problem: what to plan.
        definition: of the study, whose constraints hold for all stages together.
        name: of the planner, for errors.
        around: schedule of the whole training, in which what is planned is the data at the end.

    Raises:
        InvalidRequestError: names the field of the request that is wrong.
    """
    try:
        schedule = planner.plan(problem)
        if around is not None:
            begin = around.budget.tokens - problem.budget.tokens
            schedule = compose(schedule, around, begin)
            require_caps(schedule, problem.unique_tokens, problem.max_epochs)
        require_constraints(schedule, to_core(definition))
        steps = _steps(schedule)
    except (InvalidInputError, InfeasibleError) as error:
        raise refusal(error, name) from error
    return {
        "stages": [stage.to_json() for stage in schedule.stages],
        "epochs": schedule.epochs(problem.unique_tokens),
        "effective_weights": schedule.effective_weights,
        "worth": worth(schedule, problem.unique_tokens),
        "steps": steps,
        "warnings": [*schedule.warnings, *_other_shares(schedule, problem)],
        "evidence": dict(schedule.evidence),
    }


def refusal(error: InvalidInputError | InfeasibleError, planner: str) -> InvalidRequestError:
    """Return the answer to what a planner refused."""
    if isinstance(error, InfeasibleError):
        repeats = error.largest_target_tokens is not None
        where = ["budget", "tokens"] if repeats else ["options"]
    else:
        where = error.field.split("/", 1)
        if where[0] in planner_options(planner)["properties"]:
            where = ["options", where[0]]
        elif where[0] not in ScheduleCreate.model_fields:
            where = ["options"]
    return InvalidRequestError(str(error), [FieldError(pointer=pointer(*where), detail=str(error))])


def _steps(schedule: Schedule) -> dict[str, Any]:
    spans = spans_of(schedule)
    stages = stage_steps(schedule, spans)
    return {
        "count": sum(one.steps for one in stages),
        "tokens": stages[-1].end_token,
        "stages": [
            {
                "first_step": one.first_step,
                "steps": one.steps,
                "start_token": one.start_token,
                "end_token": one.end_token,
                "averaged": [asdict(checkpoint) for checkpoint in checkpoints],
            }
            for one, checkpoints in zip(stages, averaged(schedule, spans), strict=True)
        ],
    }


def _other_shares(schedule: Schedule, problem: Problem) -> Iterator[str]:
    """Yield that documents have other shares than the mixture that was to begin with."""
    if not any(stage.selection and "where" in stage.selection for stage in schedule.stages):
        return
    shares = schedule.effective_weights
    apart = sum(abs(shares[name] - weight) for name, weight in problem.weights.items()) / 2
    if apart > _APART:
        yield (
            f"shares of domains are those of the documents, which differ from the mixture by "
            f"{apart:.2g} of the tokens; send a sample in the proportions of the mixture"
        )
