"""Gradient-boosted trees with RegMix's settings, one model per metric.

Source:
    RegMix (Liu et al., ICLR 2025, arXiv:2407.01492) and its notebook (sail-sg/regmix) [X]: gbdt,
    squared error, at most 1000 trees, learning rate 0.01, seed 42, early stopping after 3 rounds;
    LightGBM's own defaults for leaves, depth and penalties.

Departures:
    RegMix stops early on the test set it then reports. Here a fifth of the runs is set aside to
    find the number of trees, which are then grown on all runs; seed 42 is only the default that
    `seed` is added to. Prediction needs NumPy alone.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.options import option
from mixwright.surrogates.base import Prediction, State, canonical_order
from mixwright.surrogates.trees import Forest

_SEED = 42


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
    leaf: int = option(20, "Fewest runs in a leaf.", minimum=1, maximum=1000)
    depth: int = option(0, "Deepest tree; 0 is no limit.", minimum=0, maximum=100)
    l1: float = option(0.0, "L1 penalty, in units of the metric.", minimum=0.0, maximum=1e6)
    l2: float = option(0.0, "L2 penalty, in runs.", minimum=0.0, maximum=1e6)

    def min_runs(self, num_domains: int) -> int:
        """Return enough runs for a tree to split with a fifth set aside, whatever the domains."""
        return int(np.ceil(2 * self.leaf / (1 - self.set_aside)))

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> "FittedLightGBM":
        """Find each metric's number of trees on runs set aside, then grow them on all."""
        order = canonical_order(mixtures, values)
        mixtures, values = mixtures[order], values[order]
        fits = [self._fit_metric(mixtures, column, seed) for column in values.T]
        return FittedLightGBM(
            Forest.of([trees for trees, _ in fits]), np.array([std for _, std in fits])
        )

    def _fit_metric(
        self, mixtures: FloatArray, values: FloatArray, seed: int
    ) -> tuple[list[dict[str, Any]], float]:
        """Return the trees, and the standard deviation of the errors on the runs set aside."""
        import lightgbm

        rows = np.random.default_rng(seed).permutation(np.flatnonzero(np.isfinite(values)))
        aside, kept = np.split(rows, [max(int(len(rows) * self.set_aside), 1)])
        parameters = self._parameters(seed)
        found = lightgbm.train(
            parameters,
            lightgbm.Dataset(mixtures[kept], values[kept]),
            num_boost_round=self.iterations,
            valid_sets=[lightgbm.Dataset(mixtures[aside], values[aside])],
            callbacks=[lightgbm.early_stopping(self.patience, verbose=False)],
        )
        errors = values[aside] - found.predict(mixtures[aside])
        grown = lightgbm.train(
            parameters,
            lightgbm.Dataset(mixtures[np.sort(rows)], values[np.sort(rows)]),
            num_boost_round=max(found.best_iteration, 1),
        )
        trees = [tree["tree_structure"] for tree in grown.dump_model()["tree_info"]]
        return trees, float(np.sqrt(np.mean(errors**2)))

    def _parameters(self, seed: int) -> dict[str, Any]:
        return {
            "objective": "regression",
            "boosting_type": "gbdt",
            "metric": ["l1", "l2"],
            "learning_rate": self.learning_rate,
            "min_child_samples": self.leaf,
            "max_depth": self.depth or -1,
            "lambda_l1": self.l1,
            "lambda_l2": self.l2,
            "seed": _SEED + seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


@dataclass(frozen=True, slots=True)
class FittedLightGBM:
    """Trees of every metric.

    Attributes:
        forest: the trees.
        std: shape `(m,)`, of errors on runs that were set aside; the same everywhere.
    """

    forest: Forest
    std: FloatArray

    @property
    def is_differentiable(self) -> bool:
        """Trees are steps."""
        return False

    @property
    def is_convex(self) -> bool:
        """Steps are not convex."""
        return False

    def predict(self, mixtures: FloatArray) -> Prediction:
        """Return means and the standard deviation of errors."""
        mean = self.forest.predict(mixtures)
        return Prediction(mean, np.broadcast_to(self.std, mean.shape).copy())

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return means, shape `(q, m)`."""
        return self.forest.predict(mixtures)

    def to_state(self) -> State:
        """Return the forest's arrays and the standard deviations."""
        return {**self.forest.to_state(), "std": self.std}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        return cls(Forest.from_state(state), state["std"])
