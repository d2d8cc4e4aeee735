"""Minimises a smooth function over a polytope of mixtures, and says how sure the minimum is.

The steps are SciPy's SLSQP. It says when it stops, not how far from the minimum; that is measured
afterwards by a linear programme: how far the function's tangent could still fall within the
constraints. For a convex function no mixture can be further below. The programme's multipliers
are the constraints' shadow prices.

Source of the measure:
    The Frank-Wolfe gap: Jaggi, "Revisiting Frank-Wolfe", ICML 2013 [R].
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, minimize

from mixwright.arrays import FloatArray
from mixwright.feasibility import minimise_linear
from mixwright.polytope import FEASIBILITY_TOLERANCE, Polytope
from mixwright.projection import project


class Smooth(Protocol):
    """A function of a mixture `(k,)` with a gradient."""

    def value(self, mixture: FloatArray) -> float:
        """Return the value to make small."""
        ...

    def gradient(self, mixture: FloatArray) -> FloatArray:
        """Return the gradient `(k,)`."""
        ...


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where the descent ended.

    Attributes:
        mixture: shape `(k,)`, feasible.
        value: the function there.
        gap: at least 0, how far the tangent could still fall; for a convex function, an upper
            limit on how far `value` is above the global minimum.
        shadow_prices: shape `(2k + c,)`, of the inequalities in the order of `Polytope.names`: how
            much the value would fall for each unit by which the limit is relaxed.
    """

    mixture: FloatArray
    value: float
    gap: float
    shadow_prices: FloatArray


def minimise(polytope: Polytope, function: Smooth, start: FloatArray) -> Minimum:
    """Return a minimum of `function` over the polytope: the global one if it is convex.

    Args:
        polytope: constraints that admit a mixture.
        function: what to minimise.
        start: shape `(k,)`, a feasible mixture.
    """
    matrix, limits = polytope.rows()
    rows = matrix[2 * len(start) :]
    linear = [LinearConstraint(np.ones((1, len(start))), 1.0, 1.0)]
    if len(rows):
        linear.append(LinearConstraint(rows, -np.inf, limits[-len(rows) :]))

    def evaluate(mixture: FloatArray) -> tuple[float, FloatArray]:
        return function.value(mixture), function.gradient(mixture)

    found = minimize(
        evaluate,
        start,
        jac=True,
        method="SLSQP",
        bounds=Bounds(polytope.lower, polytope.upper),
        constraints=linear,
        options={"ftol": 1e-14, "maxiter": 2000},
    )
    return certify(polytope, function, project(polytope, found.x))


def certify(polytope: Polytope, function: Smooth, mixture: FloatArray) -> Minimum:
    """Return how near a feasible mixture `(k,)` is to a minimum, and what holds it there."""
    gradient, (matrix, limits) = function.gradient(mixture), polytope.rows()
    limits = np.maximum(limits, matrix @ mixture) + FEASIBILITY_TOLERANCE  # as it is feasible
    equation = np.ones((1, len(mixture)))
    lowest = minimise_linear(gradient, matrix, limits, equation, np.ones(1), len(mixture))
    assert lowest is not None, "the mixture itself is feasible"  # noqa: S101
    gap = max(float(gradient @ mixture) - lowest.value, 0.0)
    scales = np.append(np.ones(2 * len(mixture)), polytope.linear_scales())
    return Minimum(mixture, function.value(mixture), gap, lowest.multipliers / scales)
