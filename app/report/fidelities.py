"""How the objective compares between fidelities, and whether rankings carry over."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import spearmanr

from app.report.documents import Document
from app.report.runs import evenly_by_rank, objectives, weights_of
from mixwright.arrays import FloatArray, IntArray
from mixwright.study import Study

FEWEST_TO_RANK = 3
MOST_PAIRS = 4


@dataclass(frozen=True, slots=True)
class MeasuredRuns:
    """Runs that have an objective.

    Attributes:
        mixtures: shape `(n, k)`.
        objective: shape `(n,)`, lower is better.
        fidelity: shape `(n,)`.
        label: position of each run's label on the page, shape `(n,)`.
    """

    mixtures: FloatArray
    objective: FloatArray
    fidelity: np.ndarray[tuple[int], np.dtype[np.str_]]
    label: IntArray

    def at(self, fidelity: str) -> "MeasuredRuns":
        """Return the runs at one fidelity."""
        return self._only(np.flatnonzero(self.fidelity == fidelity))

    def some(self, most: int) -> "MeasuredRuns":
        """Return at most `most` runs, spread evenly over the ranks of the objective."""
        return self._only(evenly_by_rank(self.objective, most))

    def _only(self, rows: IntArray) -> "MeasuredRuns":
        return MeasuredRuns(
            self.mixtures[rows], self.objective[rows], self.fidelity[rows], self.label[rows]
        )

    def __len__(self) -> int:
        return len(self.objective)


@dataclass(frozen=True, slots=True)
class Pair:
    """The same mixtures run at two fidelities: objectives `(p,)` at each, and a label each."""

    first: str
    second: str
    objective_first: FloatArray
    objective_second: FloatArray
    label: IntArray

    @property
    def spearman(self) -> float | None:
        """Rank correlation of the objective between the two, None where either is constant."""
        if np.ptp(self.objective_first) == 0 or np.ptp(self.objective_second) == 0:
            return None
        return float(spearmanr(self.objective_first, self.objective_second).statistic)


def measured_runs(study: Study, runs: Sequence[Document]) -> MeasuredRuns:
    """Return the runs that have every metric of the objective; labels are positions in `runs`."""
    factors = study.objective * study.signs
    objective = objectives(runs, study.metric_names, factors)
    mixtures = np.array([weights_of(run["weights"], study.domain_names) for run in runs])
    known = np.flatnonzero(np.isfinite(objective))
    return MeasuredRuns(
        mixtures=mixtures.reshape(len(runs), len(study.domains))[known],
        objective=objective[known],
        fidelity=np.array([run["fidelity"] for run in runs], dtype=np.str_)[known],
        label=known,
    )


def with_runs(study: Study, runs: MeasuredRuns) -> list[str]:
    """Return the fidelities that have a run, in the study's order."""
    return [one.name for one in study.fidelities if np.any(runs.fidelity == one.name)]


def pairs(fidelities: Sequence[str], runs: MeasuredRuns) -> list[Pair]:
    """Return the pairs of fidelities that share enough mixtures, the best furnished first."""
    found = [
        _pair(runs.at(first), runs.at(second)) for first, second in combinations(fidelities, 2)
    ]
    usable = [pair for pair in found if pair is not None]
    return sorted(usable, key=lambda pair: -len(pair.label))[:MOST_PAIRS]


def _pair(first: MeasuredRuns, second: MeasuredRuns) -> Pair | None:
    """Match runs by mixture; repeated runs of a mixture are averaged."""
    rows_first, rows_second = _rows_by_mixture(first), _rows_by_mixture(second)
    shared = [key for key in rows_first if key in rows_second]
    if len(shared) < FEWEST_TO_RANK:
        return None
    return Pair(
        first=str(first.fidelity[0]),
        second=str(second.fidelity[0]),
        objective_first=np.array([first.objective[rows_first[key]].mean() for key in shared]),
        objective_second=np.array([second.objective[rows_second[key]].mean() for key in shared]),
        label=np.array([second.label[rows_second[key][0]] for key in shared]),
    )


def _rows_by_mixture(runs: MeasuredRuns) -> dict[tuple[float, ...], list[int]]:
    rows: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for row, mixture in enumerate(runs.mixtures.round(6).tolist()):
        rows[tuple(mixture)].append(row)
    return rows
