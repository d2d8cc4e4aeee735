"""Minimises a smooth function over a polytope of mixtures, with a certificate.

Projected Newton: each step goes to the minimum of the local quadratic model inside the polytope,
which is a projection in the norm of the curvature and is solved exactly. That suits a penalty
such as KL(w || prior), whose curvature 1/w spans many orders of magnitude: SciPy's SLSQP stops up
to 0.1 above the optimum there, its trust-constr does not stay feasible with a useful answer.

Sources:
    Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM
    Journal on Control and Optimization 20(2), 1982 [R]; here the constraints are any polytope.
    The certificate is the Frank-Wolfe gap: Jaggi, "Revisiting Frank-Wolfe", ICML 2013 [R].
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import null_space

from mixwright.arrays import FloatArray
from mixwright.feasibility import minimise_linear
from mixwright.polytope import Polytope
from mixwright.projection import nearest, project

_MAX_STEPS = 200
_MAX_HALVINGS = 40
_SUFFICIENT = 1e-4  # share of the promised decrease that a step must bring (Armijo)
_DAMPING = 1e-3
_LONGEST = 1e4  # longest step of the unconstrained model; the polytope is at most 1.4 across
_PRECISION = 1e-17  # promised decrease, relative to the value, that ends the descent
_ROUNDING = 4e-16  # decrease, relative to the value, that the value cannot show


class Smooth(Protocol):
    """A function of a mixture with two derivatives; mixtures are `(k,)`."""

    def value(self, mixture: FloatArray) -> float:
        """Return the value to make small."""
        ...

    def gradient(self, mixture: FloatArray) -> FloatArray:
        """Return the gradient `(k,)`."""
        ...

    def curvature(self, mixture: FloatArray) -> FloatArray:
        """Return the Hessian `(k, k)`; it is used along directions that sum to 0."""
        ...


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where the descent ended.

    Attributes:
        mixture: shape `(k,)`, feasible.
        value: the function there.
        gap: at least 0, an upper limit on how much the linearised function could still fall; for
            a convex function, on how far `value` is above the global minimum.
        multipliers: shape `(2k + c,)`, of the inequalities in the order of `Polytope.names`: how
            much the value would fall for each unit by which the limit is relaxed.
    """

    mixture: FloatArray
    value: float
    gap: float
    multipliers: FloatArray


def minimise(polytope: Polytope, function: Smooth, start: FloatArray) -> Minimum:
    """Return a minimum of `function` over the polytope: the global one if it is convex.

    Args:
        polytope: constraints that admit a mixture.
        function: what to minimise.
        start: shape `(k,)`, a feasible mixture.
    """
    plane = null_space(np.ones((1, len(start))))
    mixture, value = start, function.value(start)
    for _ in range(_MAX_STEPS):
        gradient = function.gradient(mixture)
        step = _newton_step(polytope, mixture, gradient, function.curvature(mixture), plane)
        promised = -float(gradient @ step)
        if promised <= _PRECISION * max(1.0, abs(value)):
            break
        mixture, value, moved = _descend(function, mixture, value, step, promised)
        if not moved:
            break
    return _certify(polytope, function, project(polytope, mixture))


def _newton_step(
    polytope: Polytope,
    mixture: FloatArray,
    gradient: FloatArray,
    curvature: FloatArray,
    plane: FloatArray,
) -> FloatArray:
    """Return the step `(k,)` to the minimum of the quadratic model inside the polytope.

    Negative curvature counts as positive, and all of it is raised in proportion to what a plain
    gradient step would still change, so that the model is strictly convex far from a minimum and
    exact near one.
    """
    slope = plane.T @ gradient
    residual = np.linalg.norm(mixture - project(polytope, mixture - gradient))
    values, vectors = np.linalg.eigh(plane.T @ (curvature + curvature.T) @ plane / 2)
    values = np.abs(values) + _DAMPING * residual + np.linalg.norm(slope) / _LONGEST
    axes = plane @ (vectors / np.sqrt(values))
    free = mixture - plane @ (vectors @ ((vectors.T @ slope) / values))
    return nearest(polytope, free, axes) - mixture


def _descend(
    function: Smooth, mixture: FloatArray, value: float, step: FloatArray, promised: float
) -> tuple[FloatArray, float, bool]:
    """Return the mixture and value after the longest halving of `step` that pays."""
    share = 1.0
    for _ in range(_MAX_HALVINGS):
        tried = mixture + share * step
        lower = function.value(tried)
        if lower <= value - _SUFFICIENT * share * promised + _ROUNDING * abs(value):
            return tried, lower, True
        share /= 2
    return mixture, value, False


def _certify(polytope: Polytope, function: Smooth, mixture: FloatArray) -> Minimum:
    gradient, (matrix, limits) = function.gradient(mixture), polytope.rows()
    limits = np.maximum(limits, matrix @ mixture)  # rounding must not make it infeasible
    equation = np.ones((1, len(mixture)))
    best = minimise_linear(gradient, matrix, limits, equation, np.ones(1), len(mixture))
    assert best is not None, "the mixture itself is feasible"  # noqa: S101
    gap = max(float(gradient @ mixture) - best.value, 0.0)
    scales = np.append(np.ones(2 * len(mixture)), polytope.linear_scales())
    return Minimum(mixture, function.value(mixture), gap, best.multipliers / scales)
