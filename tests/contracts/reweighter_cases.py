"""For every reweighter: options to try it with, and observations that it understands."""

import numpy as np

from mixwright.reweighting.base import Blocks, Observation, Table

DOMAINS = ("arxiv", "books", "code", "web")


def vectors(*names):
    """Observations with a number per domain for each of these names."""

    def draw(rng, domains, step):
        drawn = {name: rng.uniform(0.1, 3.0, len(domains)) for name in names}
        return Observation(step, vectors=drawn)

    return draw


def influence(*others):
    """Observations with the influence on two tasks of every domain, and of these columns."""

    def draw(rng, domains, step):
        columns = (*domains, *(name.format(stage=step // 100 - 1) for name in others))
        values = rng.uniform(-0.2, 1.0, (2, len(columns)))
        values[:, 0] = np.abs(values[:, 0]) + 0.01  # a domain that helps
        return Observation(step, tables={"influence": Table(("qa", "code"), columns, values)})

    return draw


def blocks(size):
    """Observations with losses of most of the blocks."""

    def draw(rng, domains, step):
        ids = rng.permutation(size)[: size * 4 // 5]
        return Observation(step, blocks=Blocks(ids, rng.uniform(1.0, 4.0, len(ids))))

    return draw


def scores(*names):
    """Observations with scores of these names."""

    def draw(rng, domains, step):
        return Observation(step, scores={name: float(rng.uniform()) for name in names})

    return draw


def trajectories(count=3, stages=5, domains=DOMAINS):
    """Logged trainings as JSON, in which code pays off."""
    rng, logged = np.random.default_rng(0), []
    for _ in range(count):
        mixtures, score, stages_of_one = rng.dirichlet(np.ones(len(domains)), stages), 0.3, []
        for mixture in mixtures:
            score += 0.1 * mixture[domains.index("code")] + 0.01 * rng.normal()
            named = dict(zip(domains, mixture.tolist(), strict=True))
            stages_of_one.append({"mixture": named, "scores": {"mmlu": score, "math": score / 2}})
        logged.append(stages_of_one)
    return logged


SEARCH = {"candidates": 40, "samples": 50, "rounds": 3, "top_k": 5}

CASES = {
    "static": ({}, vectors("losses")),
    "doremi": ({}, vectors("excess_losses")),
    "tikmix_d": ({}, influence()),
    "tikmix_m": (SEARCH, influence(*(f"mixture/{{stage}}/{i}" for i in range(40)))),
    "mates": ({"blocks": 60}, blocks(60)),
    "lfr": ({"blocks": 60}, blocks(60)),
    "mixing_agent": ({"trajectories": trajectories()}, scores("mmlu", "math")),
}
"""By name: options that are needed, and `draw(rng, domains, step) -> Observation`."""


def observations(name, count, seed=0, domains=DOMAINS):
    rng = np.random.default_rng(seed)
    return [CASES[name][1](rng, domains, 100 * (step + 1)) for step in range(count)]
