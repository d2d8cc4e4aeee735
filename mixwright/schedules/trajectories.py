"""Runs of a study with their loss curves, and the runs as they were at a share of their tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.study import CompletedRuns, Study


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Metrics of a run over its tokens.

    Attributes:
        tokens: shape `(p,)`, ascending, above 0.
        metrics: shape `(p, m)`, NaN where missing.
    """

    tokens: FloatArray
    metrics: FloatArray

    def at(self, tokens: float) -> FloatArray | None:
        """Return metrics `(m,)`, or None outside the curve."""
        if not len(self.tokens) or not self.tokens[0] <= tokens <= self.tokens[-1]:
            return None
        after = int(np.searchsorted(self.tokens, tokens))
        if self.tokens[after] == tokens:
            return np.asarray(self.metrics[after])
        low, high = np.log(self.tokens[after - 1]), np.log(self.tokens[after])
        part = (np.log(tokens) - low) / (high - low)
        found: FloatArray = (1 - part) * self.metrics[after - 1] + part * self.metrics[after]
        return found


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Runs with their loss curves, and what is needed to choose a mixture from them.

    Attributes:
        study: gives the objective and the constraints.
        runs: of one fidelity, with their last metrics.
        curves: by run.
        ends: tokens of a whole run, by run.
        seed: of the fits.
        progress: called with the share of the work that is done.
    """

    study: Study
    runs: CompletedRuns
    curves: Mapping[str, LossCurve]
    ends: Mapping[str, float]
    seed: int = 0
    progress: Callable[[float], None] = lambda share: None

    def at(self, share: float) -> CompletedRuns:
        """Return the runs as they were at a share of their tokens.

        Args:
            share: above 0 and at most 1; at 1 the last metrics are taken. Below, runs that have no
                points on both sides of it are left out.
        """
        if share >= 1:
            return self.runs
        nowhere = LossCurve(np.empty(0), np.empty((0, self.runs.values.shape[1])))
        found = [self.curves.get(run, nowhere).at(share * self.ends[run]) for run in self.runs.ids]
        kept = np.array([row for row, one in enumerate(found) if one is not None], dtype=np.int64)
        values = np.array([found[row] for row in kept]).reshape(len(kept), -1)
        return replace(rows_of(self.runs, kept), values=values)


def in_all(stages: Sequence[CompletedRuns]) -> list[CompletedRuns]:
    """Return of the runs at several shares those that are at all of them, in the same order."""
    ids = set(stages[0].ids).intersection(*(one.ids for one in stages))
    return [rows_of(one, np.flatnonzero([run in ids for run in one.ids])) for one in stages]


def rows_of(runs: CompletedRuns, rows: IntArray) -> CompletedRuns:
    """Return some of the runs."""
    ids = tuple(runs.ids[row] for row in rows)
    return CompletedRuns(runs.mixtures[rows], runs.values[rows], runs.fidelity[rows], ids)
