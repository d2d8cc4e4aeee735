"""Asks the core: from a study's situation to what to train next, and what is known."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import mixwright
from app.studies.spaces import named
from app.suggestions.asking import Proposal, Question, Thought
from app.suggestions.schemas import (
    FidelityKnown,
    FrontEntry,
    OutlierRead,
    Reason,
    Recommended,
    Step,
    Stopping,
)
from app.suggestions.situation import Situation, cells_of
from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.bayesopt.aims import Aim
from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.goals import target_means
from mixwright.bayesopt.insight import Correlation, Regret, correlations, interval, regret_of
from mixwright.bayesopt.knowing import Knowledge, know
from mixwright.bayesopt.model import Posterior
from mixwright.bayesopt.observing import costs_of, target_of
from mixwright.bayesopt.suggesting import Suggestion, candidates, pool_of, suggest
from mixwright.constraints import compile_constraints
from mixwright.fitting import runs_digest

Entry = tuple[str, dict[str, float]]
"""A fidelity and weights by name."""


def think(
    situation: Situation,
    asked: Question,
    count: int,
    pool: Sequence[Entry] | None = None,
    seconds: float = float("inf"),
) -> Thought:
    """Return what to train next, and what the runs so far say.

    Args:
        situation: of the study.
        asked: fidelity, seed and options.
        count: runs wanted.
        pool: to choose from; by default any mixture within the constraints.
        seconds: after which no further run is thought about; the first always is.

    Raises:
        MixwrightError: nothing can be learned from the runs, and why.
    """
    until = time.monotonic() + seconds
    aim = Aim(asked.options.wanted, dict(asked.options.bounds))
    knowledge = know(situation.study, situation.history, aim)
    choice = _Choice.of(situation, asked, knowledge, pool)
    proposals, gains, ran_out = _choose(situation, asked, knowledge, choice, count, until)
    step = None if knowledge is None else _step(situation, asked, knowledge, choice, gains)
    return Thought(proposals, ran_out, step)


@dataclass(frozen=True, slots=True)
class _Choice:
    cells: Cells
    places: list[int | None]  # of the cells in the pool
    target_pool: FloatArray
    recommendable: FloatArray
    recommendable_places: list[int | None]

    @classmethod
    def of(
        cls,
        situation: Situation,
        asked: Question,
        knowledge: Knowledge | None,
        pool: Sequence[Entry] | None,
    ) -> "_Choice":
        if pool is None:
            return cls._of_polytope(situation, asked, knowledge)
        return cls._of_pool(situation, asked, knowledge, pool)

    @classmethod
    def _of_polytope(
        cls, situation: Situation, asked: Question, knowledge: Knowledge | None
    ) -> "_Choice":
        study = situation.study
        polytope, ran = compile_constraints(study), len(situation.history.runs.ids)
        seed = int(np.random.SeedSequence((asked.seed, ran)).generate_state(1)[0])
        mixtures = candidates(polytope, knowledge, seed, study.space)
        wanted = np.flatnonzero(_is_wanted(situation, asked.fidelity))
        every = Cells(np.vstack([mixtures] * len(wanted)), np.repeat(wanted, len(mixtures)))
        cells = every.take(np.flatnonzero(~_is_among(every, situation.pending)))
        target_pool = pool_of(knowledge, mixtures, asked.seed)
        nowhere: list[int | None] = [None] * len(cells.fidelity)
        return cls(cells, nowhere, target_pool, mixtures, nowhere)

    @classmethod
    def _of_pool(
        cls,
        situation: Situation,
        asked: Question,
        knowledge: Knowledge | None,
        pool: Sequence[Entry],
    ) -> "_Choice":
        every, target = cells_of(situation.study, pool), target_of(situation.study)
        wanted = _is_wanted(situation, asked.fidelity)
        free = np.flatnonzero(~_is_among(every, situation.asked_for) & wanted[every.fidelity])
        at_target = np.flatnonzero(every.fidelity == target)
        best_of = at_target if len(at_target) else np.arange(len(pool))
        return cls(
            cells=every.take(free),
            places=[int(index) for index in free],
            target_pool=pool_of(knowledge, every.mixtures[best_of], asked.seed),
            recommendable=every.mixtures[best_of],
            recommendable_places=[int(index) for index in best_of],
        )


def _choose(
    situation: Situation,
    asked: Question,
    knowledge: Knowledge | None,
    choice: _Choice,
    count: int,
    until: float,
) -> tuple[list[Proposal], FloatArray | None, Reason | None]:
    """Return proposals, the gains by fidelity that the first one saw, and why there are fewer."""
    proposals: list[Proposal] = []
    chosen: list[int] = []
    gains: FloatArray | None = None
    while len(free := _affordable(situation, choice, chosen)):
        left = len(free)
        for found in _suggested(situation, asked, knowledge, choice, chosen, free):
            gains = found.gains if gains is None else gains
            chosen.append(int(free[found.index]))
            proposals.append(_proposal(situation, choice, chosen[-1], found.gain))
            if len(proposals) >= count:
                return proposals[:count], gains, None
            left, expected = len(_affordable(situation, choice, chosen)), left - 1
            if left and time.monotonic() > until:
                return proposals, gains, "time"
            if left != expected:
                break  # some fidelity has become too dear: choose among the others
    if len(proposals) >= count:
        return proposals, gains, None
    return proposals, gains, "budget" if len(chosen) < len(choice.places) else "pool"


def _affordable(situation: Situation, choice: _Choice, chosen: list[int]) -> IntArray:
    """Return the cells that are not chosen, and that the budget pays for after those that are."""
    planned = [int(fidelity) for fidelity in choice.cells.fidelity[chosen]]
    can_pay = situation.affordable(planned)[choice.cells.fidelity]
    can_pay[chosen] = False
    return np.flatnonzero(can_pay)


def _suggested(
    situation: Situation,
    asked: Question,
    knowledge: Knowledge | None,
    choice: _Choice,
    chosen: list[int],
    free: IntArray,
) -> Iterator[Suggestion]:
    """Return suggestions among the cells `free`, those `chosen` being under way."""
    under_way = choice.cells.take(np.array(chosen, dtype=np.int64))
    return suggest(
        knowledge,
        situation.pending.with_cells(under_way),
        choice.cells.take(free),
        costs_of(situation.study),
        choice.target_pool,
        asked.seed + len(chosen),
        asked.options.recipe,
    )


def _proposal(situation: Situation, choice: _Choice, cell: int, gain: float | None) -> Proposal:
    return Proposal(
        weights=named(situation.study, choice.cells.mixtures[cell]),
        fidelity=situation.study.fidelities[choice.cells.fidelity[cell]].name,
        pool_index=choice.places[cell],
        gain=gain,
    )


def _step(
    situation: Situation,
    asked: Question,
    knowledge: Knowledge,
    choice: _Choice,
    gains: FloatArray | None,
) -> Step:
    best = int(knowledge.merit(choice.recommendable).argmin())
    recommended = _recommended(situation, knowledge, choice, best, asked.seed)
    regret = regret_of(knowledge, choice.recommendable[best], choice.target_pool, asked.seed)
    return Step(
        runs=len(situation.history.runs.ids),
        spent=float(situation.spent.sum()),
        recommendation=recommended,
        stopping=_stopping(situation, knowledge, gains, regret),
        fidelities=_fidelities(situation, asked, knowledge, gains),
        outliers=_outliers(situation, knowledge),
        runs_digest=runs_digest(situation.study, situation.history.runs),
        seed=asked.seed,
        version=mixwright.__version__,
    )


def _outliers(situation: Situation, knowledge: Knowledge) -> list[OutlierRead]:
    """Return the runs without weight, metrics as measured."""
    signs: dict[str | None, float] = {None: 1.0}
    signs |= dict(zip(situation.study.metric_names, situation.study.signs.tolist(), strict=True))
    return [
        OutlierRead(
            run=run,
            metric=metric,
            value=float(signs[metric] * one.value),
            expected=float(signs[metric] * one.expected),
        )
        for run, metric, one in knowledge.outliers
    ]


def _recommended(
    situation: Situation, knowledge: Knowledge, choice: _Choice, best: int, seed: int
) -> Recommended:
    mean, lower, upper = interval(knowledge.belief, choice.recommendable[[best]], seed)
    rows = knowledge.front(choice.recommendable)
    return Recommended(
        **_shown(situation, choice.recommendable[best]),
        objective={"mean": float(mean[0]), "lower": float(lower[0]), "upper": float(upper[0])},
        pool_index=choice.recommendable_places[best],
        front=_front(situation, knowledge, choice.recommendable[rows]) if len(rows) else None,
    )


def _front(situation: Situation, knowledge: Knowledge, mixtures: FloatArray) -> list[FrontEntry]:
    study = situation.study
    counts = study.objective != 0
    names = [name for name, does in zip(study.metric_names, counts, strict=True) if does]
    metrics = target_means(knowledge.parts, mixtures) * study.signs[counts]
    return [
        FrontEntry(
            **_shown(situation, mixture),
            metrics=dict(zip(names, map(float, row), strict=True)),
        )
        for mixture, row in zip(mixtures, metrics, strict=True)
    ]


def _stopping(
    situation: Situation,
    knowledge: Knowledge,
    gains: FloatArray | None,
    regret: Regret,
) -> Stopping | None:
    """Return what going on is worth; None where nothing is left to run."""
    if gains is None:
        return None
    target = target_of(situation.study)
    name, gain = situation.study.target_fidelity, float(np.nanmax(gains))
    sentence = (
        f"Spending what a run at '{name}' costs is expected to improve the recommended mixture's "
        f"outcome by {gain:.2g}; with 95 % probability it is within {regret.upper:.2g} of the "
        f"best. {_beside_noise(knowledge, regret)}"
    )
    cost = float(situation.costs[target]) or 1.0
    return Stopping(
        expected_gain=gain,
        cost=cost,
        regret={"mean": regret.mean, "upper": regret.upper},
        sentence=sentence,
    )


def _beside_noise(knowledge: Knowledge, regret: Regret) -> str:
    """Return whether what is missed would show; goals other than the sum have no noise."""
    if knowledge.goal is not None:
        return "The outcome is that of the goal that was asked for."
    noise = float(np.sqrt(knowledge.belief.noise(np.array([knowledge.belief.target]))[0]))
    if regret.upper < noise:
        return f"That is less than a run's noise ({noise:.2g}): going on is unlikely to show."
    return f"A run's noise is {noise:.2g}."


def _fidelities(
    situation: Situation, asked: Question, knowledge: Knowledge, gains: FloatArray | None
) -> list[FidelityKnown]:
    names = [fidelity.name for fidelity in situation.study.fidelities]
    related: list[Correlation | None] = [None] * len(names)
    if isinstance(knowledge.belief, Posterior) and len(names) > 1:
        related = [*correlations(knowledge.belief, len(names), asked.seed)]
    noise = np.sqrt(knowledge.belief.noise(np.arange(len(names))))
    return [
        FidelityKnown(
            name=name,
            runs=int(np.sum(situation.history.runs.fidelity == name)),
            spent=float(situation.spent[index]),
            correlation=None if one is None else asdict(one),
            noise=float(noise[index]),
            gain=None if gains is None or np.isnan(gains[index]) else float(gains[index]),
        )
        for index, (name, one) in enumerate(zip(names, related, strict=True))
    ]


def _is_wanted(situation: Situation, fidelity: str | None) -> BoolArray:
    names = [one.name for one in situation.study.fidelities]
    return np.array([fidelity in (None, name) for name in names])


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


def _shown(situation: Situation, point: FloatArray) -> dict[str, Any]:
    space = situation.study.space
    return {space.field: space.describe(situation.study, point)}
