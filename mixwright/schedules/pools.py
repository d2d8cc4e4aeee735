"""Tokens that are seen equally often: a domain's, or where a stage has a subset, the two parts."""

import math
from collections.abc import Mapping

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.repetition import effective_tokens
from mixwright.schedules.base import Schedule, Stage
from mixwright.schedules.selecting import subset_of


def pools(schedule: Schedule, unique_tokens: Mapping[str, float | None]) -> dict[str, FloatArray]:
    """Return different and trained tokens of each pool `(p, 2)`, by domain.

    The tokens of a subset come in its stages, and as often as any others in the rest. Several
    subsets of one domain count as the largest of them. Domains of unknown size, and those that are
    not trained on, are left out.

    Args:
        schedule: says how many tokens of each domain it trains on.
        unique_tokens: of the domains; None where unknown.
    """
    return {
        name: _pools(schedule, name, unique)
        for name, tokens in schedule.domain_tokens.items()
        if tokens and (unique := unique_tokens.get(name)) is not None
    }


def worth(schedule: Schedule, unique_tokens: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return what part of each domain's tokens counts, D'/D; None where its size is unknown.

    See `mixwright.repetition.effective_tokens`.
    """
    known = pools(schedule, unique_tokens)
    found: dict[str, float | None] = {}
    for name, tokens in schedule.domain_tokens.items():
        if name in known:
            found[name] = float(effective_tokens(*known[name].T).sum() / tokens)
        else:
            found[name] = None if unique_tokens.get(name) is None else 1.0
    return found


def _pools(schedule: Schedule, name: str, unique: float) -> FloatArray:
    parts = [(one, size) for one in schedule.stages if (size := _subset(one, name))]
    different = min(max((float(size) for _, size in parts), default=0.0), unique)
    inside = math.fsum(one.domain_tokens()[name] for one, _ in parts)
    rest, share = schedule.domain_tokens[name] - inside, different / unique
    found = np.array([(different, inside + rest * share), (unique - different, rest * (1 - share))])
    return found[(found > 0).all(axis=1)]


def _subset(stage: Stage, name: str) -> int:
    """Return how many different tokens of a domain a stage's subset has; 0 without a subset."""
    selection = stage.selection or {}
    return subset_of(selection).get(name, 0) if "subset_tokens" in selection else 0
