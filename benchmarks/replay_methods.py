"""What is replayed: each method yields, after every run that ended, what it would recommend."""

from collections import deque
from typing import NamedTuple

import numpy as np

from benchmarks.replay_cells import CellBelief
from mixwright.bayesopt import admire
from mixwright.bayesopt.choosing import Cells, choose_by_score, recommend
from mixwright.bayesopt.knowing import know
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.scores import SCORES
from mixwright.bayesopt.suggesting import pool_of, suggest
from mixwright.errors import FitDidNotConvergeError
from mixwright.surrogates import build_surrogate

BATCH = 8
ADMIRE_ASKS = 30
FEWEST_PROXIES = 16  # that trees are grown on; then every time there are twice as many


class Point(NamedTuple):
    """After some runs: their rows in order, and the row of the target that is recommended.

    `together` is what was recommended when results were last handed in together, None before
    any were; `knowledge` is what the recommendation follows from.
    """

    used: tuple
    row: int
    together: int | None = None
    knowledge: object = None


def ours(table, seed):
    """The service's own steps, one run at a time: `know`, which learns, and `suggest`."""
    used = []
    while True:
        knowledge = know(table.study, table.history(used))
        if used:
            yield Point(tuple(used), _recommended(table, knowledge), knowledge=knowledge)
        asked = _ask(table, knowledge, used, [], seed)
        row = next(asked, None)
        if row is None:
            return
        used.append(row)


def in_batches(table, seed):
    """The same, but eight are asked for at a time, while eight others are under way."""
    used, under_way, together = [], deque(), None
    knowledge = None
    while True:
        while len(under_way) < 2:
            pending = [row for batch in under_way for row in batch]
            under_way.append(_ask_batch(table, knowledge, used, pending, seed))
        batch = under_way.popleft()
        if not batch:
            return
        for place, row in enumerate(batch, 1):
            used.append(row)
            knowledge = know(table.study, table.history(used))
            found = _recommended(table, knowledge)
            together = found if place == len(batch) else together
            yield Point(tuple(used), found, together)


def _ask(table, knowledge, used, pending, seed):
    """Rows to run, one after the other."""
    free = np.setdiff1d(np.arange(len(table.values)), [*used, *pending])
    pool = pool_of(knowledge, table.mixtures[table.pool], seed)
    found = suggest(knowledge, table.cells(pending), table.cells(free), table.costs, pool, seed)
    return (int(free[one.index]) for one in found)


def _ask_batch(table, knowledge, used, pending, seed):
    """Up to eight rows, as long as there is budget left; the last run may overshoot."""
    rows, asked = [], _ask(table, knowledge, used, pending, seed)
    while len(rows) < BATCH and table.cost([*used, *pending, *rows]) < table.budget:
        row = next(asked, None)
        if row is None:
            break
        rows.append(row)
    return rows


def _recommended(table, knowledge):
    return int(table.pool[knowledge.merit(table.mixtures[table.pool]).argmin()])


def by_score(table, seed, name):
    """Our process, and the cell with the largest score over cost."""
    belief = CellBelief(table)
    target_pool = table.pool[:, None]
    cheapest = np.flatnonzero(table.fidelity == int(table.costs.argmin()))
    row = int(np.random.default_rng((seed, 0)).permutation(cheapest)[0])  # where ours begins
    while True:
        belief.observe(row)
        yield Point(tuple(belief.used), int(table.pool[recommend(belief, target_pool)]))
        free = np.setdiff1d(np.arange(len(table.values)), belief.used)
        if not len(free):
            return
        cells = Cells(free[:, None], table.fidelity[free])
        found = choose_by_score(SCORES[name], belief, target_pool, cells, table.costs, seed)
        row = int(free[found])


def target_only(table, seed):
    """Our process and expected improvement, on target runs alone."""
    part = table.target_only()
    for point in by_score(part, seed, "expected_improvement"):
        used = tuple(int(part.rows[row]) for row in point.used)
        yield Point(used, int(part.rows[point.row]))


def admire_recipe(table, seed):
    """ADMIRE's recipe, up to a number of asks, or until BoTorch gives up."""
    every, used = np.arange(len(table.values)), []
    none = Observations.of(table.mixtures[used], table.fidelity[used], table.values[used])
    at_target = table.mixtures[table.pool]
    row = admire.suggest(none, table.cells(every), table.costs, table.target, at_target, seed)
    while True:
        used.append(int(row))
        free = np.setdiff1d(every, used)
        try:
            found, row = _by_admire(table, used, free, seed * 1_000 + len(used))
        except FitDidNotConvergeError:
            return
        yield Point(tuple(used), found)
        if len(used) == ADMIRE_ASKS:
            return


def _by_admire(table, used, free, seed):
    """What it recommends and what it asks for: `admire.recommend` and `suggest`, with one fit."""
    runs = Observations.of(table.mixtures[used], table.fidelity[used], table.values[used])
    at_target = table.mixtures[table.pool]
    shares = table.costs / table.costs[-1]
    with admire._silent_and_seeded(seed):
        acquisition = admire._acquisition(runs, shares, at_target)
        recommended = admire._values(acquisition, admire._at_target(at_target)).argmax()
        cells = admire._inputs(table.mixtures[free], shares[table.fidelity[free]])
        asked = admire._values(acquisition, cells).argmax()
    return int(table.pool[recommended]), int(free[asked])


def random_runs(table, seed):
    """Target runs at random; recommends the best so far."""
    yield from _in_order(table, np.random.default_rng(seed).permutation(table.pool), ())


def _in_order(table, order, before):
    used, best = list(before), None
    for row in order:
        used.append(int(row))
        best = row if best is None or table.values[row] < table.values[best] else best
        yield Point(tuple(used), int(best))


def regmix(table, seed, proxies):
    """Trees on so many of the cheapest runs, then target runs in predicted order."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(table.fidelity == 0))[:proxies]
    count = FEWEST_PROXIES
    while count <= proxies:
        some = rows[:count]
        fitted = build_surrogate("lightgbm", {}).fit(
            table.mixtures[some], table.values[some, None], seed
        )
        shuffled = rng.permutation(table.pool)  # so that ties fall anywhere
        predicted = fitted.predict_mean(table.mixtures[shuffled])[:, 0]
        order = shuffled[np.argsort(predicted, kind="stable")]
        yield Point(tuple(map(int, some)), int(order[0]))
        count *= 2
    yield from _in_order(table, order, map(int, rows))


def can_pay_for(table, proxies):
    """Return whether a table has so many cheapest runs, and budget left after them."""
    has = np.sum(table.fidelity == 0) >= proxies
    return bool(has and proxies * table.costs[0] < table.budget)


def halving(table, seed):
    """Successive halving by thirds, as large as the budget pays for.

    A mixture goes on at the next fidelity as the nearest one there that is free, by Hellinger
    distance, and is recommended as the nearest of the target.
    """
    rungs, used = _rungs(table), []
    cheapest = np.flatnonzero(table.fidelity == 0)
    chosen = np.random.default_rng(seed).permutation(cheapest)[: rungs[0]]
    for level in range(len(rungs)):
        best = None
        for row in chosen:
            used.append(int(row))
            best = row if best is None or table.values[row] < table.values[best] else best
            yield Point(tuple(used), _nearest(table, best, table.pool))
        if level + 1 == len(rungs):
            return
        ranked = chosen[np.argsort(table.values[chosen], kind="stable")][: rungs[level + 1]]
        free, promoted = list(np.flatnonzero(table.fidelity == level + 1)), []
        for row in ranked:
            promoted.append(_nearest(table, row, free))
            free.remove(promoted[-1])
        chosen = np.array(promoted)


def _rungs(table):
    levels, size = len(table.costs), 1
    sizes = [0]
    while True:
        tried = [max(1, size // 3**level) for level in range(levels)]
        available = np.bincount(table.fidelity)
        if np.dot(tried, table.costs) > table.budget or (tried > available).any():
            return sizes
        sizes, size = tried, size + 1


def _nearest(table, row, rows):
    apart = np.sqrt(table.mixtures[rows]) - np.sqrt(table.mixtures[row])
    return int(rows[np.sum(apart**2, axis=1).argmin()])


METHODS = {
    "ours": ours,
    "ours, batches of 8": in_batches,
    "ADMIRE's recipe": admire_recipe,
    "expected improvement per cost": lambda t, s: by_score(t, s, "expected_improvement"),
    "max-value entropy per cost": lambda t, s: by_score(t, s, "max_value_entropy"),
    "knowledge gradient per cost": lambda t, s: by_score(t, s, "knowledge_gradient"),
    "expected improvement, target runs only": target_only,
    "random target runs": random_runs,
    "successive halving": halving,
    "RegMix, 64 cheapest runs": lambda t, s: regmix(t, s, 64),
    "RegMix, 128 cheapest runs": lambda t, s: regmix(t, s, 128),
    "RegMix, 512 cheapest runs": lambda t, s: regmix(t, s, 512),
}
