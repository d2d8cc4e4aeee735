"""The value of runs: what they can still teach about the best mixture at the target.

It is by how much the best posterior mean at the target is expected to improve once the runs are
known: the knowledge gradient (Frazier, Powell and Dayanik, 2009) [X], over a finite set of target
mixtures. What is made of the values when fidelities differ in cost is in
`mixwright.bayesopt.choosing`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import roots_hermitenorm

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.belief import Belief
from mixwright.bayesopt.model import factorised

NODES, NODE_WEIGHTS = roots_hermitenorm(21)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
_DRAWS = 256
_TINY = 1e-9
_COLUMNS = 32


class Value(Protocol):
    """What runs are worth, alone and together, in units of the outcome."""

    @property
    def target(self) -> int:
        """Index of the target fidelity."""
        ...

    @property
    def ran(self) -> IntArray:
        """Fidelities `(n,)` of the runs so far."""
        ...

    @property
    def singles_compare(self) -> bool:
        """Whether the values of single runs are those of blocks of one."""
        ...

    def of_single_runs(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return the value `(q,)` of one run at each cell."""
        ...

    def of_block(self, mixtures: FloatArray, fidelity: IntArray, seed: int) -> float:
        """Return the joint value of runs at all of the cells."""
        ...


@dataclass(frozen=True, slots=True)
class KnowledgeGradient:
    """The value of runs for one outcome.

    Attributes:
        belief: what is known.
        target_pool: mixtures `(p, k)` among which the best is wanted.
    """

    belief: Belief
    target_pool: FloatArray

    @property
    def target(self) -> int:
        """Index of the target fidelity."""
        return self.belief.target

    @property
    def ran(self) -> IntArray:
        """Fidelities `(n,)` of the runs so far."""
        return self.belief.ran

    @property
    def singles_compare(self) -> bool:
        """They are, but for the errors of quadrature and draws."""
        return True

    def of_single_runs(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return the value `(q,)` of one run at each cell, by Gauss-Hermite quadrature."""
        at_target = np.full(len(self.target_pool), self.target)
        mean = self.belief.mean(self.target_pool, at_target)
        spread = shifts(self.belief, self.target_pool, mixtures, fidelity)
        best = _expected_minima(mean, spread)
        # Where the best mixture is all but certain, what moves the means most still comes first.
        tie_breaker = _TINY * np.sqrt((spread**2).mean(axis=0))
        gain: FloatArray = np.maximum(mean.min() - best, 0.0) + tie_breaker
        return gain

    def of_block(self, mixtures: FloatArray, fidelity: IntArray, seed: int) -> float:
        """Return the joint value of runs at all of the cells, by antithetic draws."""
        at_target = np.full(len(self.target_pool), self.target)
        mean = self.belief.mean(self.target_pool, at_target)
        half = joint_shifts(self.belief, self.target_pool, mixtures, fidelity)
        draws = np.random.default_rng(seed).standard_normal((_DRAWS, len(mixtures)))
        draws = np.concatenate([draws, -draws])
        best = np.min(mean + draws @ half, axis=1).mean()
        return max(0.0, float(mean.min() - best))


def _expected_minima(mean: FloatArray, spread: FloatArray) -> FloatArray:
    """Return `E min_p(mean + spread z)` `(q,)` for `mean` `(p,)`, `spread` `(p, q)`, z normal.

    A few columns at a time, which stay in the processor's cache: it is the hot loop of an ask.
    """
    expected = np.zeros(spread.shape[1])
    for start in range(0, len(expected), _COLUMNS):
        some = np.ascontiguousarray(spread[:, start : start + _COLUMNS])
        moved = np.empty_like(some)
        for node, weight in zip(NODES, NODE_WEIGHTS, strict=True):
            np.multiply(some, node, out=moved)
            moved += mean[:, None]
            expected[start : start + _COLUMNS] += weight * moved.min(axis=0)
    return expected


def shifts(
    belief: Belief, target_pool: FloatArray, mixtures: FloatArray, fidelity: IntArray
) -> FloatArray:
    """Return how far each target mean moves, `(p, q)`, for a run one deviation off its mean."""
    at_target = np.full(len(target_pool), belief.target)
    covariance = belief.covariance(target_pool, at_target, mixtures, fidelity)
    noisy = belief.variance(mixtures, fidelity) + belief.noise(fidelity)
    moved: FloatArray = covariance / np.sqrt(noisy)
    return moved


def joint_shifts(
    belief: Belief, target_pool: FloatArray, mixtures: FloatArray, fidelity: IntArray
) -> FloatArray:
    """Return `half` `(b, p)`: for standard normal `z` `(b,)` target means move by `z @ half`."""
    at_target = np.full(len(target_pool), belief.target)
    cross = belief.covariance(target_pool, at_target, mixtures, fidelity)
    inner = belief.covariance(mixtures, fidelity, mixtures, fidelity)
    inner[np.diag_indices_from(inner)] += belief.noise(fidelity)
    return np.asarray(solve_triangular(factorised(inner), cross.T, lower=True))
