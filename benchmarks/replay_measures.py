"""What is made of a replay: regret over cost, and means with intervals."""

import time
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from benchmarks.replay_methods import METHODS
from benchmarks.replay_tables import table_of
from mixwright.bayesopt.insight import variance_in_all

COVERAGE_AT = 100  # runs of ours on a Pile table, whatever they cost
GIVES_UP = "ADMIRE's recipe"  # long before its budget is spent
_ZERO = 1e-12


@dataclass(frozen=True)
class Trace:
    """Regrets in force from these costs on; from cost 0 it is 1."""

    costs: np.ndarray
    regrets: np.ndarray
    cheapest: float
    budget: float
    end: float = np.inf  # after which a method says nothing more, though there is budget left

    def at(self, cost):
        """The regret after each cost."""
        return np.r_[1.0, self.regrets][np.searchsorted(self.costs, cost, side="right")]

    @property
    def aurc(self):
        """Mean regret over cost."""
        steps = np.minimum(np.r_[0.0, self.costs, self.budget], self.budget)
        return float(np.diff(steps) @ np.r_[1.0, self.regrets]) / self.budget

    @property
    def log_aurc(self):
        """Mean regret over the logarithm of cost."""
        return self.log_aurc_to(self.budget)

    def log_aurc_to(self, end):
        """The same up to some cost."""
        inside = np.clip(np.r_[self.cheapest, self.costs, end], self.cheapest, end)
        logs = np.log(inside)
        return float(np.diff(logs) @ np.r_[1.0, self.regrets]) / (logs[-1] - logs[0])

    def good_after(self, regret):
        """The cost after which regret is never more; infinite where there is none."""
        bad = np.flatnonzero(np.r_[1.0, self.regrets] > regret + _ZERO)
        after = bad[-1]  # place in `costs` of the first good one
        good = after < len(self.costs) and self.costs[after] <= self.budget
        return float(self.costs[after]) if good else np.inf


@dataclass(frozen=True)
class Replay:
    """One replay; `together` is for batches, `coverage` is (inside, runs) or nothing."""

    trace: Trace
    together: Trace | None
    final: float
    true_final: float
    targets: int
    cost: float
    seconds: float
    coverage: tuple = ()


def replay(job):
    """Replay a method on a table with a seed."""
    method, name, seed, wants_coverage = job
    table = table_of(name, seed)
    began, seconds, points, more = time.process_time(), 0.0, [], None
    for point in METHODS[method](table, seed):
        if not points or table.cost(points[-1].used) < table.budget:
            points.append(point._replace(knowledge=None))
            seconds = time.process_time() - began
        more = point
        if table.cost(points[-1].used) >= table.budget and (
            not wants_coverage or len(point.used) >= COVERAGE_AT
        ):
            break
    covered = _coverage(table, more) if wants_coverage else ()
    return _measured(method, table, points, seconds, covered)


def _measured(method, table, points, seconds, covered):
    costs = np.array([table.cost(point.used) for point in points])
    end = costs[-1] if method == GIVES_UP else np.inf
    last = points[-1]
    cheapest = float(table.costs.min())
    regrets = np.array([table.regret(point.row) for point in points])
    together = None
    if last.together is not None:
        held = [1.0 if p.together is None else table.regret(p.together) for p in points]
        together = Trace(costs, np.array(held), cheapest, table.budget, end)
    return Replay(
        trace=Trace(costs, regrets, cheapest, table.budget, end),
        together=together,
        final=regrets[-1],
        true_final=table.true_regret(last.row),
        targets=int(np.sum(table.fidelity[list(last.used)] == table.target)),
        cost=costs[-1],
        seconds=seconds / len(last.used),
        coverage=covered,
    )


def _coverage(table, point):
    """Of the target runs not made, how many lie within 95 % predictive intervals; and all."""
    rows = np.setdiff1d(table.pool, point.used)
    belief = point.knowledge.belief
    cells = table.cells(rows)
    mean = belief.mean(cells.mixtures, cells.fidelity)
    variance = variance_in_all(belief, cells.mixtures, 0, of_runs=True)
    inside = np.abs(table.values[rows] - mean) <= 1.959964 * np.sqrt(variance)
    return int(inside.sum()), len(rows)


def mean_and_half(values):
    """A mean, and half of its 95 % interval by Student's t; NaN of a single value."""
    values = np.asarray(values, dtype=float)
    count = len(values)
    if count < 2:
        return float(values.mean()), np.nan
    half = student.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return float(values.mean()), float(half)


def interval(values):
    """The same in words."""
    mean, half = mean_and_half(values)
    return f"{mean:.3f}" if np.isnan(half) else f"{mean:.3f} ± {half:.3f}"
