"""Short ways to begin a reweighter and to tell it something."""

import numpy as np

from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation


def array(values):
    """Numbers, NaN where there is None."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def begin(name, weights, **options):
    """A reweighter, and its state for the domains a, b, c, ..."""
    reweighter = build_reweighter(name, options)
    domains = tuple("abcdefgh"[: len(weights)])
    return reweighter, reweighter.init(domains, array(weights), 0)


def told(tables=None, numbers=None, **vectors):
    """An observation; None stands for a domain that was not seen."""
    vectors = {name: array(values) for name, values in vectors.items()}
    return Observation(1, vectors=vectors, tables=tables or {}, numbers=numbers or {})
