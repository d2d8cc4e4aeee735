"""For every reweighter: options to try it with, and observations that it understands."""

from dataclasses import replace

import numpy as np

from mixwright.reweighting.base import Blocks, Observation, Table

DOMAINS = ("arxiv", "books", "code", "web")


def vectors(*names):
    """Observations with a number per domain for each of these names."""

    def draw(rng, domains, step):
        drawn = {name: rng.uniform(0.1, 3.0, len(domains)) for name in names}
        return Observation(step, vectors=drawn)

    return draw


def with_numbers(draw, **numbers):
    """The same observations, with these numbers."""
    return lambda rng, domains, step: replace(draw(rng, domains, step), numbers=numbers)


def targets(domains):
    """Loss targets by domain, the same for a name wherever it stands."""
    return {"target_losses": {name: 1.0 + len(name) / 10 for name in domains}}


def probe_losses(sweeps):
    """Losses after any probe that a plan could ask for, under the name of its row."""

    def draw(rng, domains, step):
        places = range(1, sweeps * len(domains) + 1)
        rows = ("before", *(f"{place}:{name}" for place in places for name in domains))
        values = rng.uniform(0.1, 3.0, (len(rows), len(domains)))
        return Observation(step, tables={"probe_losses": Table(rows, domains, values)})

    return draw


def influence(*others):
    """Observations with the influence on two tasks of every domain, and of these columns."""

    def draw(rng, domains, step):
        columns = (*domains, *(name.format(stage=step // 100 - 1) for name in others))
        values = rng.uniform(-0.2, 1.0, (2, len(columns)))
        values[:, 0] = np.abs(values[:, 0]) + 0.01  # a domain that helps
        return Observation(step, tables={"influence": Table(("qa", "code"), columns, values)})

    return draw


def graph(domains):
    """A number for every pair of domains that depends on nothing but their names."""
    return {
        row: {column: 0.1 * ((len(row) + 2 * ord(column[0])) % 7) for column in domains}
        for row in domains
    }


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


def stages(domains, count=3):
    """Stages whose losses fall and whose weights move, the same for a name wherever it stands."""
    found = []
    for stage in range(count):
        shares = {name: 1.0 + stage * (len(name) % 3) for name in domains}
        total = sum(shares.values())
        losses = {name: 2.0 - 0.5 * stage + len(name) / 10 for name in domains}
        weights = {name: share / total for name, share in shares.items()}
        found.append({"losses": losses, "weights": weights})
    return {"stages": found}


SEARCH = {"candidates": 40, "samples": 50, "rounds": 3, "top_k": 5}

CASES = {
    "static": ({}, vectors("losses")),
    "doremi": ({}, vectors("excess_losses")),
    "doge": ({}, with_numbers(vectors("alignment", "grad_norms"), learning_rate=1e-3)),
    "dga": ({}, vectors("alignment")),
    "shearing": (targets, vectors("losses")),
    "pike": ({}, with_numbers(vectors("grad_norms_squared", "grad_variances"), batch_size=64)),
    "skill_it": (lambda domains: {"graph": graph(domains)}, vectors("losses")),
    "odm": ({}, vectors("rewards")),
    "aioli": ({"sweeps": 2, "variant": "ema"}, probe_losses(2)),
    "loss_reweighting": ({}, vectors("losses")),
    "tikmix_d": ({}, influence()),
    "tikmix_m": (SEARCH, influence(*(f"mixture/{{stage}}/{i}" for i in range(40)))),
    "mates": ({"blocks": 60}, blocks(60)),
    "lfr": ({"blocks": 60}, blocks(60)),
    "regmix_d": (stages, vectors("losses")),
    "mixing_agent": ({"trajectories": trajectories()}, scores("mmlu", "math")),
}
"""By name: options that are needed, as they are or a function of the domains, and
`draw(rng, domains, step) -> Observation`."""


def needed_options(name, domains=DOMAINS):
    options = CASES[name][0]
    return options(domains) if callable(options) else options


def observations(name, count, seed=0, domains=DOMAINS):
    rng = np.random.default_rng(seed)
    return [CASES[name][1](rng, domains, 100 * (step + 1)) for step in range(count)]
