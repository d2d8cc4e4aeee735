"""Tables of runs to replay: RegMix's published ones, and made-up ones with a known truth."""

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from benchmarks.regmix_tables import load
from benchmarks.worlds import FAMILIES, draw
from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.observing import History
from mixwright.importers.regmix import SCALES
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

TARGET_POOL, PILE_BUDGET = 48, 5.0
PILE_COSTS = {"1m": 0.001, "60m": 0.06, "1b": 1.0}
HEADLINES = ("mean of losses", "Pile-CC")
_NAMES = {"pile_cc": "Pile-CC"}


@dataclass(frozen=True)
class Table:
    """Runs (n,) of mixtures (n, k), lower values are better; the last of `costs` is the target's.

    `scales` has parameters and tokens by fidelity, where there are any; `truth` (n,) has values
    at the target without noise, where they are known.
    """

    mixtures: np.ndarray
    fidelity: np.ndarray
    values: np.ndarray
    costs: np.ndarray
    budget: float
    scales: tuple = ()
    truth: np.ndarray | None = None
    rows: np.ndarray = field(default=None)  # of the table it is a part of

    @property
    def target(self):
        return len(self.costs) - 1

    @cached_property
    def pool(self):
        """Rows of the target."""
        return np.flatnonzero(self.fidelity == self.target)

    @cached_property
    def study(self):
        scales = self.scales or [(None, None)] * len(self.costs)
        fidelities = tuple(
            Fidelity(str(index), float(cost), parameters, tokens)
            for index, (cost, (parameters, tokens)) in enumerate(
                zip(self.costs, scales, strict=True)
            )
        )
        count = self.mixtures.shape[1]
        domains = tuple(Domain(f"d{index}", None, 1.0 / count) for index in range(count))
        return Study(domains, (Metric("y"),), np.ones(1), fidelities, str(self.target))

    def history(self, rows):
        """What a study knows after these runs, in this order."""
        names = self.fidelity[rows].astype(str)
        ids = tuple(map(str, rows))
        return History(CompletedRuns(self.mixtures[rows], self.values[rows, None], names, ids))

    def cells(self, rows):
        rows = np.asarray(rows, dtype=np.int64)
        return Cells(self.mixtures[rows], self.fidelity[rows])

    def cost(self, rows):
        return float(self.costs[self.fidelity[list(rows)]].sum())

    def regret(self, row):
        """By the table's own values: 0 is its best target run, 1 an average one."""
        return _regret(self.values, row, self.pool)

    def true_regret(self, row):
        """By the values without noise."""
        return np.nan if self.truth is None else _regret(self.truth, row, self.pool)

    def target_only(self):
        """The target's runs alone; its `rows` are those of this table."""
        at, pool = np.zeros(len(self.pool), dtype=np.int64), self.pool
        return replace(
            self,
            mixtures=self.mixtures[pool],
            fidelity=at,
            values=self.values[pool],
            costs=self.costs[-1:],
            scales=self.scales[-1:],
            truth=None,
            rows=pool,
        )


def _regret(values, row, pool):
    best = values[pool].min()
    return float((values[row] - best) / (values[pool].mean() - best))


@lru_cache(maxsize=1)
def pile_tables():
    """RegMix's runs as tables: one for the mean of all metrics, then one per metric."""
    published = load()
    runs = published.normalised().runs
    names = (("1m", "train-1m"), ("60m", "test-60m"), ("1b", "test-1b"))
    parts = [runs[name] for _, name in names]
    parts[-1] = parts[-1].take(slice(0, TARGET_POOL))
    mixtures = np.vstack([part.mixtures for part in parts])
    fidelity = np.concatenate([np.full(len(part.losses), i) for i, part in enumerate(parts)])
    losses = np.vstack([part.losses for part in parts])
    costs = np.array([PILE_COSTS[size] for size, _ in names])
    scales = tuple((SCALES[size].parameters, SCALES[size].tokens) for size, _ in names)
    metrics = [name.removeprefix("loss/") for name in published.metrics]
    outcomes = {HEADLINES[0]: losses.mean(axis=1)}
    outcomes |= {_NAMES.get(name, name): y for name, y in zip(metrics, losses.T, strict=True)}
    return {
        name: Table(mixtures, fidelity, y, costs, PILE_BUDGET, scales)
        for name, y in outcomes.items()
    }


@lru_cache(maxsize=64)
def table_of(name, seed):
    """The Pile table of an outcome, or the world of a family that a seed draws."""
    if name not in FAMILIES:
        return pile_tables()[name]
    family = FAMILIES[name]
    mixtures, fidelity, values, truth = draw(family, seed)
    return Table(mixtures, fidelity, values, np.array(family.costs), family.budget, (), truth)
