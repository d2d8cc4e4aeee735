"""For every reweighter: options to try it with, and observations that it understands."""

import numpy as np

from mixwright.reweighting.base import Observation

DOMAINS = ("arxiv", "books", "code", "web")


def vectors(*names):
    """Observations with a number per domain for each of these names."""

    def draw(rng, domains, step):
        drawn = {name: rng.uniform(0.1, 3.0, len(domains)) for name in names}
        return Observation(step, vectors=drawn)

    return draw


CASES = {
    "static": ({}, vectors("losses")),
    "doremi": ({}, vectors("excess_losses")),
}
"""By name: options that are needed, and `draw(rng, domains, step) -> Observation`."""


def observations(name, count, seed=0, domains=DOMAINS):
    rng = np.random.default_rng(seed)
    return [CASES[name][1](rng, domains, 100 * (step + 1)) for step in range(count)]
