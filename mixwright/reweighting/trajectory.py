"""What is kept of a training besides its weights: their mean, and the last scores of each domain.

The mean is what DoReMi and DoGE recommend for the run that follows. Each domain counts its own
updates, so that one that joins late has a mean of the time that it was there.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.reweighting.base import State, remapped


def mean_from(weights: FloatArray, *, counted: bool) -> dict[str, FloatArray]:
    """Return the vectors of a mean, where `weights` `(k,)` may be the first to count in it."""
    return {"mean": weights, "counted": np.full(len(weights), float(counted))}


def mean_with(state: State, weights: FloatArray) -> dict[str, FloatArray]:
    """Return the vectors of the mean in which `weights` `(k,)` count too."""
    counted = state.vectors["counted"] + 1
    mean = (state.vectors["mean"] * (counted - 1) + weights) / counted
    return {"mean": mean, "counted": counted}


def recommended(domains: tuple[str, ...], mean: FloatArray) -> dict[str, float]:
    """Return the mean weights by domain; they sum to 1 even where domains joined late."""
    return dict(zip(domains, (mean / mean.sum()).tolist(), strict=True))


def scores_with(state: State, scores: FloatArray, longest: int) -> dict[str, FloatArray]:
    """Return the vectors of the last scores: of a domain that was not seen, its last one again.

    Args:
        state: before the update, with vectors `scores` and `ages`.
        scores: shape `(k,)`, NaN where not seen.
        longest: how many updates in a row a score is used again; it is 0 after that.
    """
    missing = np.isnan(scores)
    ages = np.where(missing, state.vectors["ages"] + 1, 0.0)
    last = np.where(missing, state.vectors["scores"], scores)
    return {"scores": np.where(ages > longest, 0.0, last), "ages": ages}


def moved(state: State, new: State, origin: Mapping[str, str]) -> State:
    """Return `new` with what `state` knows of domains; new ones begin their mean and age afresh.

    A new domain's score is the mean of the others'.
    """
    found = remapped(state, new, origin)
    is_old = np.array([origin.get(name) in state.domains for name in new.domains])
    fresh = {**new.vectors, "counted": np.zeros(len(new.domains))}
    vectors = {
        key: values if key == "scores" else np.where(is_old, values, fresh[key])
        for key, values in found.vectors.items()
    }
    return replace(found, vectors=vectors)
