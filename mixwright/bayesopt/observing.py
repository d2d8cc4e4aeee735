"""From a study's runs to what a Gaussian process learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.fidelities import OneFactor, OverScale, Structure
from mixwright.bayesopt.observations import Observations
from mixwright.errors import InvalidInputError
from mixwright.study import CompletedRuns, Study

_STAGES = (0.25, 0.5)  # of a run's tokens: the points of its loss curve that are looked at
_SHOW_A_LAW = 3  # fidelities: laws through fewer are what was believed beforehand
_NEAR = 0.1  # how far off, as a share, a point may be


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a run's loss curve: metrics `(m,)` after so many tokens; NaN where missing."""

    tokens: float
    metrics: FloatArray


@dataclass(frozen=True, slots=True)
class History:
    """What a study knows.

    Attributes:
        runs: that ended, in the order in which they came.
        curves: points of loss curves by run id; where there are any, they are learned from.
    """

    runs: CompletedRuns
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Runs, and how their fidelities are related.

    Attributes:
        metrics: shape `(n, m)`, oriented so that lower is better; NaN where missing.
        mixtures: shape `(n, k)`.
        fidelity: shape `(n,)`; points of loss curves have indices beyond the study's.
        run: shape `(n,)`, row of the study's runs.
        structure: of the fidelities.
    """

    metrics: FloatArray
    mixtures: FloatArray
    fidelity: IntArray
    run: IntArray
    structure: Structure

    def of_metric(self, column: int) -> Observations:
        """Return what is known of one metric."""
        return self._where(self.metrics[:, column])

    def of_sum(self, weights: FloatArray) -> Observations:
        """Return what is known of a weighted sum `(m,)` of metrics."""
        counting = weights != 0
        return self._where(self.metrics[:, counting] @ weights[counting])

    def _where(self, values: FloatArray) -> Observations:
        rows = np.flatnonzero(np.isfinite(values))
        ones = np.ones(len(rows))
        return Observations(
            self.mixtures[rows], self.fidelity[rows], values[rows], ones, self.run[rows]
        )


def gather(study: Study, history: History) -> Evidence:
    """Return runs, and points of loss curves, as evidence.

    Raises:
        InvalidInputError: there are loss curves, and a fidelity without parameters or tokens.
    """
    runs, oriented = history.runs, history.runs.values * study.signs
    names = [fidelity.name for fidelity in study.fidelities]
    fidelity = np.array([names.index(name) for name in runs.fidelity], dtype=np.int64)
    if not history.curves:
        structure = _structure(study, np.unique(fidelity))
        return Evidence(oriented, runs.mixtures, fidelity, np.arange(len(fidelity)), structure)
    decades = _decades(study)
    if decades is None:
        raise InvalidInputError(
            "loss curves are compared by parameters and tokens; state both for every fidelity",
            field="fidelities",
        )
    return _with_curves(study, history, oriented, fidelity, decades)


def costs_of(study: Study) -> FloatArray:
    """Return what a run costs at each fidelity, in target runs; 1 where the study does not say."""
    unit = study.fidelities[target_of(study)].cost or 1.0
    return np.array([(one.cost or unit) / unit for one in study.fidelities])


def target_of(study: Study) -> int:
    """Return the index of the target fidelity."""
    return [one.name for one in study.fidelities].index(study.target_fidelity)


def _structure(study: Study, seen: IntArray) -> Structure:
    """Return laws over scale where the target has no run and enough others show a law."""
    decades, target = _decades(study), target_of(study)
    if decades is None or target in seen or len(seen) < _SHOW_A_LAW:
        return OneFactor(len(study.fidelities), target)
    return OverScale(decades, target)


def _decades(study: Study) -> FloatArray | None:
    scales = [(one.parameters, one.tokens) for one in study.fidelities]
    known = [(a, b) for a, b in scales if a is not None and b is not None]
    if len(known) < len(scales) or len(set(known)) < len(known):
        return None
    logs = np.log10(np.array(known))
    return np.asarray(logs - logs[target_of(study)])


def _with_curves(
    study: Study, history: History, oriented: FloatArray, fidelity: IntArray, decades: FloatArray
) -> Evidence:
    """Return the runs and the points at the stages, each stage a fidelity of its own."""
    count = len(study.fidelities)
    stages = [(f, stage) for f in range(count) for stage in _STAGES]
    shifts = np.array([[0.0, np.log10(stage)] for _, stage in stages])
    more = decades[[f for f, _ in stages]] + shifts
    rows, at, values = [], [], []
    for row, run in enumerate(history.runs.ids):
        tokens = study.fidelities[fidelity[row]].tokens
        for index, (of, stage) in enumerate(stages):
            point = _nearest(history.curves.get(run, ()), stage * (tokens or 0.0))
            if of == fidelity[row] and point is not None:
                rows.append(row)
                at.append(count + index)
                values.append(point.metrics * study.signs)
    every = np.concatenate([np.arange(len(fidelity)), np.array(rows, dtype=np.int64)])
    order = np.argsort(every, kind="stable")  # as they came: a run, then the points of its curve
    return Evidence(
        metrics=np.vstack([oriented, *values])[order],
        mixtures=history.runs.mixtures[every[order]],
        fidelity=np.concatenate([fidelity, np.array(at, dtype=np.int64)])[order],
        run=every[order],
        structure=OverScale(np.vstack([decades, more]), target_of(study)),
    )


def _nearest(points: Sequence[Point], tokens: float) -> Point | None:
    near = [one for one in points if abs(one.tokens - tokens) <= _NEAR * tokens]
    return min(near, key=lambda one: abs(one.tokens - tokens), default=None)
