"""Made-up trainings with a known optimum, for reweighters to be tried on.

The loss of domain i is `c_i + b_i exp(-(B n)_i)`, n the tokens of each domain so far and B what
training on one domain does for another. So the mixing law is exactly linear at every moment, with
`A_ij = (L_i - c_i) B_ij`, and the best constant weights are a smooth problem of a few variables.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from mixwright.reweighting.base import Observation, Table

ROUNDS = 20
NOISE = 0.01  # nats, of a loss that is measured
GRADIENT_NOISE = 0.2  # of what a gradient says, as a share
LEARNING_RATE, BATCH = 5e-4, 64
SIZES = (2, 3, 5, 7)
FAMILIES = {"equal": (0.0, 0.0), "positive transfer": (0.0, 0.5), "mixed signs": (-0.25, 0.5)}
"""The range of what a domain does for another, against what it does for itself."""


@dataclass(frozen=True)
class World:
    """Floors `c` and gains `b`, each (m,); `B` (m, m); a natural mixture (m,)."""

    floor: np.ndarray
    gain: np.ndarray
    transfer: np.ndarray
    natural: np.ndarray

    @property
    def names(self):
        return tuple(f"d{index}" for index in range(len(self.floor)))

    @property
    def even(self):
        return np.full(len(self.floor), 1.0 / len(self.floor))

    def losses(self, tokens):
        return self.floor + self.gain * np.exp(-self.transfer @ tokens)

    def effects(self, tokens):
        """What a token of each domain (columns) takes off each loss (rows)."""
        return (self.losses(tokens) - self.floor)[:, None] * self.transfer

    def final(self, weights):
        """The mean loss after a training at constant weights."""
        return float(self.losses(weights).mean())

    def best(self):
        """The best constant weights; the problem is smooth, so a few starts find them."""
        rng, found = np.random.default_rng(0), []
        for start in [self.even, *rng.dirichlet(np.ones(len(self.floor)), 4)]:
            result = minimize(
                self.final,
                start,
                jac=lambda w: -self.effects(w).mean(axis=0),
                bounds=[(0.0, 1.0)] * len(start),
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0},
                method="SLSQP",
            )
            found.append((result.fun, result.x))
        return min(found, key=lambda one: one[0])[1]


def draw(family, seed):
    """The world of a family that a seed draws."""
    rng = np.random.default_rng((2_411, list(FAMILIES).index(family), seed))
    size = SIZES[seed % len(SIZES)]
    own = rng.uniform(2.0, 4.0) if family == "equal" else rng.uniform(1.0, 5.0, size)
    low, high = FAMILIES[family]
    transfer = rng.uniform(low, high, (size, size)) * np.broadcast_to(own, (size,))[:, None]
    np.fill_diagonal(transfer, own)
    floor, gain = rng.uniform(1.5, 2.5, size), rng.uniform(1.0, 3.0, size)
    if family == "equal":
        gain = np.full(size, gain[0])
    return World(floor, gain, size * transfer / 2.0, rng.dirichlet(np.full(size, 3.0)))


def tell(world, tokens, step, weights, rng):
    """Everything that a trainer could send after a step, as noisy as it would be."""
    names, effects = world.names, world.effects(tokens)
    losses = world.losses(tokens) + NOISE * rng.standard_normal(len(names))
    doubted = effects * (1.0 + GRADIENT_NOISE * rng.standard_normal(effects.shape))
    reference = world.losses(world.natural)
    own = np.maximum(np.diag(doubted), 1e-6)
    return Observation(
        step=step,
        vectors={
            "losses": losses,
            "rewards": losses,
            "excess_losses": np.maximum(losses - reference, 0.0),
            "alignment": doubted.sum(axis=0),
            "grad_norms": np.sqrt(own),
            "grad_norms_squared": own,
            "grad_variances": np.full(len(names), float(BATCH)),
        },
        tables={"influence": Table(names, names, doubted)},
        numbers={"learning_rate": LEARNING_RATE, "batch_size": float(BATCH)},
        scores={"mean": -float(losses.mean())},
        sampled=weights,
    )
