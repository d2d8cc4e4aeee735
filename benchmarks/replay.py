"""Bayesian optimisation replayed on tables of real runs: what finds the best mixture for what cost.

Protocol: a table has runs at several fidelities; an optimiser sees mixtures and costs and asks for
one unused run after the other, until a budget of B target runs is spent. After every run the
mixture it would recommend now is scored by regret `(y - best) / (mean - best)` among the target
runs of the table: 0 is the best, 1 an average one; never the best of past recommendations. AURC is
the mean regret over the budget.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.regmix_tables import load
from benchmarks.tables import Section, machine, versions
from mixwright.bayesopt.choosing import Cells, choose, recommend
from mixwright.bayesopt.model import Observations, fit
from mixwright.surrogates import build_surrogate

SEEDS = tuple(range(100, 110))  # settings were chosen on made-up worlds, and none on these
BUDGET, TARGET_POOL = 5.0, 48
GROWTH = 1.15  # hyperparameters are searched for anew when there are so many times as many runs


@dataclass(frozen=True)
class Table:
    """Runs (n,) of mixtures (n, k); `fidelity` indexes `costs`, whose last is the target's."""

    mixtures: np.ndarray
    fidelity: np.ndarray
    values: np.ndarray
    costs: np.ndarray

    @property
    def target(self):
        return len(self.costs) - 1

    @property
    def pool(self):
        """Rows of the target."""
        return np.flatnonzero(self.fidelity == self.target)

    def regret(self, row):
        values = self.values[self.pool]
        return (self.values[row] - values.min()) / (values.mean() - values.min())


def pile_tables():
    """RegMix's runs as tables, one per metric and one for their mean."""
    runs = load().normalised().runs
    parts = [
        (0, runs["train-1m"].take(slice(None))),
        (1, runs["test-60m"].take(slice(None))),
        (2, runs["test-1b"].take(slice(0, TARGET_POOL))),
    ]
    mixtures = np.vstack([part.mixtures for _, part in parts])
    fidelity = np.concatenate([np.full(len(part.losses), index) for index, part in parts])
    losses = np.vstack([part.losses for _, part in parts])
    costs = np.array([0.001, 0.06, 1.0])
    names = [name.removeprefix("loss/") for name in load().metrics]
    outcomes = {"mean of all": losses.mean(axis=1)} | dict(zip(names, losses.T, strict=True))
    return {name: Table(mixtures, fidelity, y, costs) for name, y in outcomes.items()}


def ours(table, seed, only_target=False):
    """Yield (cost so far, recommended row) after each run."""
    rng = np.random.default_rng(seed)
    start = table.target if only_target else int(np.argmin(table.costs))
    used = [int(rng.choice(np.flatnonzero(table.fidelity == start)))]
    allowed = table.pool if only_target else np.arange(len(table.values))
    posterior, searched = None, 0
    while True:
        seen = Observations(table.mixtures[used], table.fidelity[used], table.values[used])
        is_refitted = len(used) <= 8 or len(used) >= GROWTH * searched
        posterior = fit(seen, len(table.costs), table.target, posterior, is_refitted=is_refitted)
        searched = len(used) if is_refitted else searched
        found = table.pool[recommend(posterior, table.mixtures[table.pool])]
        yield float(table.costs[table.fidelity[used]].sum()), int(found)
        free = np.setdiff1d(allowed, used)
        if not len(free):
            return
        cells = Cells(table.mixtures[free], table.fidelity[free])
        choice = choose(
            posterior, cells, table.costs, table.mixtures[table.pool], seed * 10_000 + len(used)
        )
        used.append(int(free[choice.index]))


def target_only(table, seed):
    return ours(table, seed, only_target=True)


def random_runs(table, seed):
    """Target runs at random; recommends the best so far."""
    order, best = np.random.default_rng(seed).permutation(table.pool), None
    for count, row in enumerate(order, 1):
        best = row if best is None or table.values[row] < table.values[best] else best
        yield float(count), int(best)


def regmix(table, seed, proxies):
    """A surrogate on so many of the cheapest runs, then target runs in predicted order."""
    cheap = np.flatnonzero(table.fidelity == 0)
    rows = np.random.default_rng(seed).permutation(cheap)[:proxies]
    fitted = build_surrogate("lightgbm", {}).fit(
        table.mixtures[rows], table.values[rows, None], seed
    )
    predicted = fitted.predict_mean(table.mixtures[table.pool])[:, 0]
    order, cost = table.pool[np.argsort(predicted)], proxies * table.costs[0]
    yield cost, int(order[0])
    best = order[0]
    for count, row in enumerate(order, 1):
        best = row if table.values[row] < table.values[best] else best
        yield cost + count, int(best)


METHODS = {
    "ours": ours,
    "ours, target runs only": target_only,
    "RegMix, 512 proxies": lambda table, seed: regmix(table, seed, 512),
    "RegMix, 128 proxies": lambda table, seed: regmix(table, seed, 128),
    "random target runs": random_runs,
}


def replay(job):
    """AURC, cost to stay at the best, final regret, and seconds per run, of one replay."""
    method, table, seed = job
    began, trace = time.process_time(), [(0.0, 1.0)]
    for cost, row in METHODS[method](table, seed):
        trace.append((cost, table.regret(row)))
        if cost >= BUDGET:
            break
    seconds = (time.process_time() - began) / (len(trace) - 1)
    costs = np.minimum([cost for cost, _ in trace] + [BUDGET], BUDGET)
    regrets = np.array([regret for _, regret in trace])
    stays = len(regrets) - np.argmax(np.r_[regrets[::-1] > 1e-12, True])
    at_best = costs[stays] if stays < len(regrets) else BUDGET
    return float(np.diff(costs) @ regrets) / BUDGET, at_best, regrets[-1], seconds


def sections():
    """The section of docs/benchmarks.md."""
    tables = pile_tables()
    rows = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for method in METHODS:
            jobs = [(method, table, seed) for table in tables.values() for seed in SEEDS]
            found = np.array(list(pool.map(replay, jobs))).reshape(len(tables), len(SEEDS), 4)
            rows.append((method, *_row(found, list(tables))))
    return [
        Section(
            "Bayesian optimisation replayed on RegMix's runs",
            f"Three fidelities that cost .001, .06 and 1; {TARGET_POOL} target runs; a budget of "
            f"{BUDGET:g}; {len(SEEDS)} seeds; regret 0 is the best of the table and 1 an average "
            "run. Median costs, mean AURC with a 95 % interval over seeds. Goals: cost to stay at "
            "the best at most .30 on the mean of losses and on Pile-CC, mean AURC at most .02.",
            (
                "method",
                "mean of losses: cost to stay at the best",
                "AURC",
                "Pile-CC: cost",
                "AURC",
                "all 14 outcomes: AURC",
                "final regret",
                "s a run",
            ),
            rows,
            f"Machine: {machine()}; {versions('numpy', 'scipy', 'lightgbm')}.",
        )
    ]


def _row(found, names):
    cells = []
    for name in ("mean of all", next(name for name in names if "pile_cc" in name)):
        one = found[names.index(name)]
        cells += [f"{np.median(one[:, 1]):.2f}", _interval(one[:, 0])]
    by_seed = found.mean(axis=0)
    seconds = f"{found[..., 3].mean():.3f}"
    return [*cells, _interval(by_seed[:, 0]), f"{by_seed[:, 2].mean():.3f}", seconds]


def _interval(values):
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.3f} ± {half:.3f}"
