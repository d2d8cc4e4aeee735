"""Gradient-boosted trees with RegMix's settings, one model per metric.

Source:
    RegMix (Liu et al., ICLR 2025, arXiv:2407.01492) and its notebook (sail-sg/regmix) [X]: gbdt,
    squared error, at most 1000 trees, learning rate 0.01, seed 42, early stopping after 3 rounds.

Departures:
    RegMix stops early on the test set it then reports. Here a fifth of the runs is set aside to
    find the number of trees, which are then grown on all runs; seed 42 is only the default that
    `seed` is added to. Prediction needs NumPy alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.surrogates.base import Prediction, State, canonical_order
from mixwright.surrogates.options import option
from mixwright.surrogates.trees import Forest, forest_from_dump

_SEED = 42
_FEWEST_TO_SPLIT = 10


@dataclass(frozen=True, slots=True)
class LightGBM:
    """Options of the boosted trees."""

    iterations: int = option(1000, "Most trees.", minimum=1, maximum=100_000)
    learning_rate: float = option(0.01, "Shrinkage of each tree.", minimum=1e-4, maximum=1.0)
    patience: int = option(
        3,
        "Rounds without improvement on the runs set aside after which growing stops.",
        minimum=1,
        maximum=1000,
    )
    set_aside: float = option(
        0.2, "Share of the runs on which the number of trees is found.", minimum=0.05, maximum=0.5
    )
