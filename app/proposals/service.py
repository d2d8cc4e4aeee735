"""Hands out runs to train: those whose holder fell silent first, then new ones by a design."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.clock import database_now
from app.db.models import StudyRow
from app.errors import FieldError
from app.proposals import budget, optimising, repository
from app.proposals.optimising import Proposal, Thought
from app.proposals.schemas import Ask, ProposalRead, ProposalsRead, Reason, Shortfall
from app.runs import service as runs
from app.runs.repository import StoredRun
from app.runs.schemas import RunState
from app.studies import service as studies
from app.studies.definition import to_core
from app.wire import refuse
from mixwright.constraints import compile_constraints
from mixwright.swarm import SWARM_DESIGNS

_BLOCK = 64  # a study's proposals are blocks of a design, each with a seed of its own


def ask(session: Session, principal: Principal, study: str, asked: Ask) -> ProposalsRead:
    """Lease up to `asked.count` runs to the asker.

    Raises:
        NotFoundError: no such study.
        InvalidRequestError: an unknown fidelity, or a pool of wrong mixtures.
        InfeasibleError: the design leaves no mixture.
    """
    row = studies.find(session, principal, study, lock=True)
    refuse(_wrong_fields(row, asked))
    now = database_now(session)
    silent = (
        [] if asked.pool else repository.expired(session, row.id, asked.fidelity, now, asked.count)
    )
    items = [
        _read(repository.lease(session, run, now, asked.lease_seconds), None) for run in silent
    ]
    wanted = asked.count - len(items)
    thought = _think(session, row, asked, wanted)
    granted = _within_budget(session, row, thought.proposals)
    rows = [_values(row, one, now, asked.lease_seconds) for one in granted]
    repository.insert_runs(session, rows)
    items += [_read(run, one.pool_index) for run, one in zip(rows, granted, strict=True)]
    short = "budget" if len(granted) < len(thought.proposals) else thought.ran_out
    return ProposalsRead(
        items=items,
        shortfall=None if short is None else Shortfall(reason=short, detail=_WHY[short]),
        recommendation=thought.recommendation,
        stopping=thought.stopping,
    )


def _think(session: Session, study: StudyRow, asked: Ask, count: int) -> Thought:
    if asked.strategy == "bayesopt":
        return optimising.think(session, study, asked, count)
    if asked.pool is None:
        return Thought(_designed(session, study, asked, count), None, None, None)
    found = _from_pool(session, study, asked, count)
    return Thought(found, "pool" if len(found) < count else None, None, None)


def design(study: StudyRow, kind: str, count: int, seed: int) -> list[dict[str, float]]:
    """Return `count` mixtures by the design `kind` inside the study's constraints.

    Raises:
        InfeasibleError: the design leaves none.
    """
    core = to_core(study.definition)
    mixtures = SWARM_DESIGNS[kind](core, compile_constraints(core), count, seed)
    return [dict(zip(core.domain_names, map(float, row), strict=True)) for row in mixtures]


def cheapest(study: StudyRow) -> str:
    """Return the name of the study's cheapest fidelity, or its first where no cost is known."""
    fidelities = study.definition["fidelities"]
    if all(one["cost"] is not None for one in fidelities):
        return str(min(fidelities, key=lambda one: one["cost"])["name"])
    return str(fidelities[0]["name"])


def _wrong_fields(study: StudyRow, asked: Ask) -> list[FieldError]:
    pool = [(one.weights, one.fidelity) for one in asked.pool or ()]
    return [
        *runs.wrong_fidelity(study, asked.fidelity, "fidelity"),
        *runs.wrong_mixtures(study, pool, "pool"),
    ]


def _designed(session: Session, study: StudyRow, asked: Ask, count: int) -> list[Proposal]:
    start = repository.count_proposals(session, study.id)
    fidelity = asked.fidelity or cheapest(study)
    mixtures: list[dict[str, float]] = []
    while len(mixtures) < count:
        block, skip = divmod(start + len(mixtures), _BLOCK)
        seed = int(np.random.SeedSequence((asked.seed, block)).generate_state(1)[0])
        mixtures += design(study, asked.options.design, _BLOCK, seed)[skip:]
    return [Proposal(weights, fidelity, None) for weights in mixtures[:count]]


def _from_pool(session: Session, study: StudyRow, asked: Ask, count: int) -> list[Proposal]:
    pool = asked.pool or []
    used = repository.proposed(session, study.id)
    order = np.random.default_rng((asked.seed, len(used))).permutation(len(pool))
    free = [
        Proposal(weights, pool[index].fidelity, int(index))
        for index in order
        if asked.fidelity in (None, pool[index].fidelity)
        and (pool[index].fidelity, weights := runs.normalised(study, pool[index].weights))
        not in used
    ]
    return free[:count]


def _within_budget(session: Session, study: StudyRow, new: Sequence[Proposal]) -> list[Proposal]:
    if not new:
        return []
    left = budget.left(session, study)
    granted: list[Proposal] = []
    for one in new:
        cost = budget.cost_of(study, one.fidelity)
        if left.affordable(cost) < 1:
            break
        granted.append(one)
        left = budget.Budget(left.runs - 1, left.cost - cost)
    return granted


def _values(study: StudyRow, one: Proposal, now: datetime, seconds: float) -> StoredRun:
    return {
        **runs.new_row(study.id, one.fidelity, one.weights),
        "state": RunState.LEASED,
        "lease_token": 1,
        "lease_seconds": seconds,
        "lease_until": now + timedelta(seconds=seconds),
        "created_at": now,
        "started_at": now,
    }


def _read(run: StoredRun, pool_index: int | None) -> ProposalRead:
    return ProposalRead(**runs.to_read(run), pool_index=pool_index)


_WHY: Final[Mapping[Reason, str]] = {
    "budget": "the study's budget is spent, or held by runs that have not ended",
    "pool": "every mixture of the pool has been proposed",
    "time": "there was no time to choose more; ask again, or wait longer",
}
