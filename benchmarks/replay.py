"""Bayesian optimisation replayed on tables of runs: what finds the best mixture for what cost.

Protocol: a table has runs at several fidelities; an optimiser sees mixtures and costs and asks for
one unused run after the other, until a budget of B target runs is spent; the last run may
overshoot. After every run the mixture it would recommend now is scored by regret
`(y - best) / (mean - best)` among the target runs of the table: 0 is the best, 1 an average one, 1
before there is anything; never the best of past recommendations. AURC is the mean regret over the
budget.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks import replay_costs, replay_curves
from benchmarks.replay_measures import GIVES_UP, replay
from benchmarks.replay_methods import METHODS, can_pay_for
from benchmarks.replay_report import ENTRIES, Results, costs_sections, pile_sections, world_sections
from benchmarks.replay_tables import HEADLINES, pile_tables, table_of
from benchmarks.worlds import FAMILIES

SEEDS = tuple(range(100, 110))  # settings were chosen on worlds of seeds 0 to 29
FEW = 3
DEAR = (
    "expected improvement per cost",
    "max-value entropy per cost",
    "knowledge gradient per cost",
)


def seeds_of(method, name):
    """The seeds that a method is replayed with on a table; none where it is not."""
    if method == GIVES_UP:
        return SEEDS[:FEW] if name in (*HEADLINES, *FAMILIES) else ()
    if method.startswith("RegMix") and not can_pay_for(
        table_of(name, SEEDS[0]), int(method.split()[1])
    ):
        return ()
    return SEEDS[:FEW] if method in DEAR and name not in (*HEADLINES, *FAMILIES) else SEEDS


def jobs_of(names):
    """All replays, those that take longest first."""
    longest = (GIVES_UP, *DEAR)
    order = sorted(METHODS, key=lambda method: method not in longest)
    return [
        (method, name, seed, method == "ours" and name not in FAMILIES)
        for method in order
        for name in names
        for seed in seeds_of(method, name)
    ]


def measure(names):
    """Replays by method, table and seed; what learning costs; and wall seconds of it all."""
    began, jobs = time.monotonic(), jobs_of(names)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        costs = [pool.submit(replay_costs.in_own_process, job) for job in replay_costs.JOBS]
        replays = dict(zip(jobs, pool.map(replay, jobs), strict=True))
        measured = dict(zip(replay_costs.JOBS, [one.result() for one in costs], strict=True))
    found = {}
    for (method, name, seed, _), one in replays.items():
        found.setdefault((method, name), {})[seed] = one
    return Results(found), measured, time.monotonic() - began


def _panels(results, groups):
    panels = {}
    for title, names in groups.items():
        panels[title] = {}
        for entry in ENTRIES:
            seeds = results.seeds(entry, names)
            if entry.label in replay_curves.STYLES and seeds:
                panels[title][entry.label] = [
                    [entry.trace(results.found[entry.method, name][seed]) for name in names]
                    for seed in seeds
                ]
    return panels


def sections():
    """The sections of docs/benchmarks.md."""
    outcomes = list(pile_tables())
    results, costs, seconds = measure([*outcomes, *FAMILIES])
    groups = {name: [name] for name in HEADLINES} | {
        f"mean over {len(outcomes)} outcomes": outcomes
    }
    replay_curves.draw("replay_pile", _panels(results, groups))
    replay_curves.draw("replay_worlds", _panels(results, {name: [name] for name in FAMILIES}))
    return [
        *pile_sections(results, outcomes, costs, seconds),
        *world_sections(results, list(FAMILIES)),
        *costs_sections(costs),
    ]
