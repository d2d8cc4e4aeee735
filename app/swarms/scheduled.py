"""Swarms whose runs have schedules: what is asked, and what a worker is told.

A schedule is planned for a large training; proxies train it scaled to their own tokens, batch and
peak rate. Every run keeps its schedule's name, and the swarm the schedules. Their runs are of the
origin `schedule` and enter no fit, since they kept no mixture.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.corpora.schemas import CorpusRead
from app.db.models import StudyRow, SwarmRow
from app.errors import ConflictError, FieldError, NotFoundError, pointer
from app.runs import service as runs
from app.runs.repository import StoredRun
from app.runs.schemas import Origin
from app.schedules import planning
from app.schedules import service as planned
from app.studies.definition import listed
from app.studies.spaces import kind_of
from app.swarms.schedule_schemas import DesignSchedule
from app.swarms.schemas import SwarmCreate
from app.wire import refuse
from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.schedules import Budget, Schedule, build_planner
from mixwright.schedules.scaling import scaled
from mixwright.schedules.selecting import columns_of, subset_of
from mixwright.schedules.steps import steps_of
from mixwright.schedules.training import require_trainable

_WHERE = ("design", "schedules")


def designed(
    session: Session,
    principal: Principal,
    study: StudyRow,
    corpus: CorpusRead,
    asked: SwarmCreate,
    request: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return what a swarm's schedules are for its proxies: names, ids, and schedules as JSON.

    Args:
        session: of the database.
        principal: who asks.
        study: of the swarm.
        corpus: with the documents that are selected.
        asked: the swarm.
        request: the same with its defaults, as it is stored.

    Raises:
        InvalidRequestError: names every schedule that cannot be trained.
    """
    refuse(_not_of_mixtures(study, asked))
    budget = budget_of(request, request["step_law"])
    found, errors = [], list[FieldError]()
    for index, one in enumerate(asked.design.schedules or ()):
        try:
            schedule = scaled(_schedule(session, principal, study, one, budget), budget)
            require_trainable(schedule, steps_of(schedule))
            _require_data(schedule, study, corpus)
        except (InvalidInputError, InfeasibleError, NotFoundError, ConflictError) as error:
            field = getattr(error, "field", "").split("/")
            where = [*_WHERE, index, *([] if isinstance(one, str) else field)]
            errors.append(
                FieldError(pointer=pointer(*filter(None, map(str, where))), detail=str(error))
            )
            continue
        name, identity = (one, one) if isinstance(one, str) else (one.name, None)
        found.append({"name": name, "id": identity, "schedule": schedule.to_json()})
    refuse(errors)
    return found


def budget_of(request: dict[str, Any], rate: float) -> Budget:
    """Return what the proxies of a stored request may use, at a peak rate."""
    trainer = request["trainer"]
    context = trainer["model"]["context"]
    known = trainer["optimizer"]["learning_rate"]
    return Budget(
        tokens=trainer["tokens"],
        sequence_length=context,
        batch_tokens=trainer["optimizer"]["batch_sequences"] * context,
        peak_learning_rate=rate if known == "sweep" else known,
    )


def rows_of(study: StudyRow, swarm: SwarmRow, asked: SwarmCreate) -> list[list[StoredRun]]:
    """Return the swarm's runs, those together whose steps have the same batches."""
    alike: dict[bytes, list[StoredRun]] = {}
    schedules = swarm.request["design"]["schedules"]
    found = [Schedule.from_json(one["schedule"]) for one in schedules]
    keys = [steps_of(schedule).batch_tokens.tobytes() for schedule in found]
    names = [domain["name"] for domain in study.definition["domains"]]
    for replicate in range(asked.trainer.replicates):
        for one, schedule, key in zip(schedules, found, keys, strict=True):
            weights = dict.fromkeys(names, 0.0) | schedule.effective_weights
            row = {
                **runs.new_row(study.id, asked.fidelity, weights),
                "origin": Origin.SCHEDULE,
                "run_metadata": {
                    "swarm": swarm.id,
                    "schedule": one["name"],
                    "replicate": replicate,
                    "seed": asked.trainer.seed + replicate,
                },
            }
            alike.setdefault(key, []).append(row)
    return list(alike.values())


def schedules_of(swarm: SwarmRow) -> dict[str, Schedule]:
    """Return a swarm's schedules by name, as they were planned for its proxies."""
    named = swarm.request["design"].get("schedules", ())
    return {one["name"]: Schedule.from_json(one["schedule"]) for one in named}


def orders_of(swarm: SwarmRow, rate: float) -> dict[str, dict[str, Any]]:
    """Return the schedules that workers train, by name, at the rate that a sweep may have found."""
    budget = budget_of(swarm.request, rate)
    return {name: scaled(one, budget).to_json() for name, one in schedules_of(swarm).items()}


def _not_of_mixtures(study: StudyRow, asked: SwarmCreate) -> list[FieldError]:
    kind, sampling = kind_of(study.definition), asked.trainer.sampling
    if kind != "mixture":
        detail = f"schedules change mixtures; the study's space is '{kind}'"
        return [FieldError(pointer=pointer("design", "kind"), detail=detail)]
    if sampling.mode == "replacement" and sampling.target_tokens is None:
        return []
    detail = "proxies with schedules draw in the mode `replacement`, without `target_tokens`"
    return [FieldError(pointer=pointer("trainer", "sampling"), detail=detail)]


def _schedule(
    session: Session,
    principal: Principal,
    study: StudyRow,
    one: str | DesignSchedule,
    budget: Budget,
) -> Schedule:
    """Return a schedule that is stored, given, or to be planned for the proxies' own budget.

    Raises:
        NotFoundError, ConflictError: a stored one that is not there, or of another study.
        InvalidInputError, InfeasibleError: it cannot be read or planned.
    """
    if isinstance(one, str):
        read, schedule = planned.load(session, principal, one)
        if read.study_id != study.id:
            raise ConflictError(f"the schedule '{one}' is of another study")
        return schedule
    if one.schedule is not None:
        return Schedule.from_json(one.schedule.model_dump(exclude_none=True))
    prior = {domain["name"]: domain["prior"] for domain in study.definition["domains"]}
    stands_for = {
        "tokens": budget.tokens,
        "sequence_length": budget.sequence_length,
        "batch_tokens": budget.batch_tokens,
        "peak_learning_rate": budget.peak_learning_rate,
    }
    problem = planning.problem_of(study.definition, stands_for, prior)
    return build_planner(one.planner or "", one.options).plan(problem)


def _require_data(schedule: Schedule, study: StudyRow, corpus: CorpusRead) -> None:
    """Check that every stage has data, and says of which domains.

    Raises:
        InvalidInputError: it names other domains or scores, or does not say its domains.
    """
    names = [domain["name"] for domain in study.definition["domains"]]
    for stage in schedule.stages:
        where, data = f"stages/{stage.name}", stage.domain_tokens()
        if odd := sorted(set(data) - set(names)):
            raise InvalidInputError(
                f"stage '{stage.name}' has the domain '{odd[0]}', which is not one of the study's: "
                f"{listed(names)}",
                where,
            )
        if not data:
            raise InvalidInputError(
                f"the selection of stage '{stage.name}' does not say the `tokens` that it has of "
                "each domain",
                where,
            )
        if stage.selection is None:
            continue
        columns, is_subset = columns_of(stage.selection), "subset_tokens" in stage.selection
        if columns or not is_subset:
            _require_scores(stage.name, columns, corpus)
        if is_subset:
            _require_room(stage.name, subset_of(stage.selection), corpus)


def _require_room(stage: str, subset: Mapping[str, int], corpus: CorpusRead) -> None:
    """Check that a corpus has as many tokens of each domain as a subset.

    Raises:
        InvalidInputError: it has fewer; names the first domain.
    """
    there = {shard.name: shard.train_tokens for shard in corpus.domains}
    for name, wanted in subset.items():
        if wanted > there.get(name, 0):
            raise InvalidInputError(
                f"stage '{stage}' wants a subset of {wanted} tokens of '{name}', and the corpus "
                f"'{corpus.name}' has {there.get(name, 0)}; spread it over more epochs, or train "
                "on more of the other domains",
                f"stages/{stage}",
            )


def _require_scores(stage: str, columns: Sequence[str], corpus: CorpusRead) -> None:
    missing = [name for name in columns if name not in corpus.raters]
    if missing or not corpus.raters:
        raise InvalidInputError(
            f"stage '{stage}' selects documents by {listed(columns)}, and those of the corpus "
            f"'{corpus.name}' have scores of {listed(corpus.raters) or 'none'}; build it with "
            "--score",
            f"stages/{stage}",
        )
