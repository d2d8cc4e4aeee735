"""Asks the optimiser: from a study's runs to cells, and from its choices back to mixtures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from app.db.models import StudyRow
from app.proposals import budget, repository
from app.proposals.schemas import Ask, Reason, Recommended, Stopping
from app.runs import service as runs
from app.studies.definition import to_core
from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.bayesopt.choosing import Cells, recommend
from mixwright.bayesopt.model import Observations, Posterior, fit
from mixwright.bayesopt.suggesting import (
    candidates,
    costs_of,
    observe,
    suggest,
    target_of,
)
from mixwright.constraints import compile_constraints
from mixwright.study import Study

_NORMAL_90 = 1.6449  # half width of a 90 % interval, in standard deviations


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mixture to train; `pool_index` is its place in the pool, where there is one."""

    weights: dict[str, float]
    fidelity: str
    pool_index: int | None


@dataclass(frozen=True, slots=True)
class Thought:
    """What the optimiser came to.

    Attributes:
        proposals: up to as many as were asked for.
        ran_out: why there are fewer: "budget", "pool" or "time"; None if there are not.
        recommendation: the best mixture now; None before any run has ended.
        stopping: what going on is worth; None likewise.
    """

    proposals: list[Proposal]
    ran_out: Reason | None
    recommendation: Recommended | None
    stopping: Stopping | None


def think(session: Session, study: StudyRow, asked: Ask, count: int) -> Thought:
    """Return what to train next, and what the runs so far recommend.

    Args:
        session: holds the study's lock.
        study: the problem.
        asked: pool, fidelity, seed, and how long to think.
        count: runs wanted.
    """
    until = time.monotonic() + asked.wait
    core = to_core(study.definition)
    observations = observe(core, runs.completed(session, study.id, core))
    pending = _cells(core, repository.unended(session, study.id))
    posterior = _posterior(core, observations)
    cells, places = _choices(core, study, asked, posterior, observations, pending)
    pool = _target_mixtures(core, asked, cells)
    can_pay = _affordable(session, study, core, cells)
    affordable = can_pay.copy()
    proposals: list[Proposal] = []
    gain: float | None = None
    while len(proposals) < count and affordable.any():
        if proposals and time.monotonic() > until:
            break
        free = np.flatnonzero(affordable)
        left = Cells(cells.mixtures[free], cells.fidelity[free])
        (found,) = suggest(
            observations, pending, left, costs_of(core), target_of(core), pool, 1, asked.seed
        )
        chosen = int(free[found.index])
        gain = found.gain if gain is None else gain
        proposals.append(_proposal(core, cells, places, chosen))
        pending = Cells(
            np.vstack([pending.mixtures, cells.mixtures[[chosen]]]),
            np.append(pending.fidelity, cells.fidelity[chosen]),
        )
        affordable[chosen] = False
    ran_out: Reason | None = None
    if len(proposals) < count:
        ran_out = "time" if affordable.any() else "pool" if can_pay.all() else "budget"
    return Thought(
        proposals,
        ran_out,
        _recommended(core, asked, posterior, cells),
        _stopping(core, study, gain),
    )


def _posterior(core: Study, observations: Observations) -> Posterior | None:
    if not len(observations.values):
        return None
    return fit(observations, len(core.fidelities), target_of(core))


def _cells(core: Study, named: Sequence[tuple[str, dict[str, float]]]) -> Cells:
    names = [fidelity.name for fidelity in core.fidelities]
    mixtures = [[weights[name] for name in core.domain_names] for _, weights in named]
    return Cells(
        np.array(mixtures, dtype=float).reshape(len(named), len(core.domains)),
        np.array([names.index(fidelity) for fidelity, _ in named], dtype=np.int64),
    )


def _choices(
    core: Study,
    study: StudyRow,
    asked: Ask,
    posterior: Posterior | None,
    observations: Observations,
    pending: Cells,
) -> tuple[Cells, IntArray]:
    """Return what may be run, and each one's place in the pool (-1 without a pool)."""
    names = [fidelity.name for fidelity in core.fidelities]
    wanted = [names.index(asked.fidelity)] if asked.fidelity else list(range(len(names)))
    if asked.pool is None:
        mixtures = candidates(compile_constraints(core), posterior, asked.seed)
        repeated = np.vstack([mixtures] * len(wanted))
        cells = Cells(repeated, np.repeat(np.array(wanted, dtype=np.int64), len(mixtures)))
        return cells, np.full(len(cells.fidelity), -1)
    pool = _pool_cells(core, study, asked)
    taken = _is_among(pool, Cells(observations.mixtures, observations.fidelity))
    free = np.flatnonzero(~taken & ~_is_among(pool, pending) & np.isin(pool.fidelity, wanted))
    return Cells(pool.mixtures[free], pool.fidelity[free]), free


def _pool_cells(core: Study, study: StudyRow, asked: Ask) -> Cells:
    pool = asked.pool or []
    return _cells(core, [(one.fidelity, runs.normalised(study, one.weights)) for one in pool])


def _is_among(cells: Cells, others: Cells) -> BoolArray:
    known = {
        (int(fidelity), mixture.tobytes())
        for fidelity, mixture in zip(others.fidelity, others.mixtures, strict=True)
    }
    return np.array(
        [
            (int(fidelity), mixture.tobytes()) in known
            for fidelity, mixture in zip(cells.fidelity, cells.mixtures, strict=True)
        ],
        dtype=bool,
    )


def _target_mixtures(core: Study, asked: Ask, cells: Cells) -> FloatArray:
    """Return the mixtures among which the best at the target is wanted."""
    at_target = cells.mixtures[cells.fidelity == target_of(core)]
    if asked.pool is None or not len(at_target):
        return np.asarray(np.unique(cells.mixtures, axis=0))
    return np.asarray(at_target)


def _affordable(session: Session, study: StudyRow, core: Study, cells: Cells) -> BoolArray:
    left = budget.left(session, study)
    fits = [
        left.affordable(budget.cost_of(study, fidelity.name)) >= 1 for fidelity in core.fidelities
    ]
    return np.array(fits)[cells.fidelity] if len(cells.fidelity) else np.zeros(0, dtype=bool)


def _proposal(core: Study, cells: Cells, places: IntArray, chosen: int) -> Proposal:
    place = int(places[chosen])
    return Proposal(
        weights=_named(core, cells.mixtures[chosen]),
        fidelity=core.fidelities[cells.fidelity[chosen]].name,
        pool_index=None if place < 0 else place,
    )


def _named(core: Study, mixture: FloatArray) -> dict[str, float]:
    return dict(zip(core.domain_names, map(float, mixture), strict=True))


def _recommended(
    core: Study, asked: Ask, posterior: Posterior | None, cells: Cells
) -> Recommended | None:
    """Return the best of the pool's target entries, used or not, or of all that was looked at."""
    if posterior is None:
        return None
    target, places = target_of(core), None
    mixtures = np.unique(cells.mixtures, axis=0)
    if asked.pool is not None:
        at_target = [i for i, one in enumerate(asked.pool) if one.fidelity == core.target_fidelity]
        places = np.array(at_target or range(len(asked.pool)))
        rows = [[asked.pool[i].weights[name] for name in core.domain_names] for i in places]
        mixtures = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    if not len(mixtures):
        return None
    best = recommend(posterior, mixtures)
    at = np.array([target])
    mean = float(posterior.mean(mixtures[[best]], at)[0])
    spread = posterior.covariance(mixtures[[best]], at, mixtures[[best]], at)[0, 0]
    half = _NORMAL_90 * float(np.sqrt(max(spread, 0.0)))
    return Recommended(
        weights=_named(core, mixtures[best]),
        objective={"mean": mean, "lower": mean - half, "upper": mean + half},
        pool_index=None if places is None else int(places[best]),
    )


def _stopping(core: Study, study: StudyRow, gain: float | None) -> Stopping | None:
    if gain is None:
        return None
    cost = budget.cost_of(study, core.target_fidelity) or 1.0
    sentence = (
        f"Spending what a run at '{core.target_fidelity}' costs is expected to improve the "
        f"recommended mixture's objective by {gain:.2g}."
    )
    return Stopping(expected_gain=gain, cost=cost, sentence=sentence)
