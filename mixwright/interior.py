"""A mixture deep inside a polytope."""

import numpy as np
from scipy.linalg import null_space

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InfeasibleError
from mixwright.feasibility import minimise_linear
from mixwright.polytope import Polytope

_THIN = 1e-8  # a polytope no wider than this in a direction is flat in it
_ROUNDING = 1e-9  # constraints may contradict each other by as much


def find_centre(polytope: Polytope) -> FloatArray:
    """Return the centre of a largest ball that fits into a polytope.

    The polytope may be flat: a group's total may be fixed, weights may be fixed, a single mixture
    may be left. Each round looks for the largest ball; if it has no radius, the inequalities
    that hold it down (those with a multiplier) are equations in disguise, and the next round
    measures the ball within the plane they leave.

    Returns:
        Shape `(k,)`: every inequality that can have slack has some.

    Raises:
        InfeasibleError: no mixture satisfies the constraints.

    Source:
        Boyd and Vandenberghe, "Convex Optimization", section 8.5.1 (Chebyshev centre) [R].
    """
    matrix, limits = polytope.rows()
    equations, totals = np.ones((1, polytope.num_domains)), np.ones(1)
    while True:
        plane = null_space(equations, rcond=_THIN)
        reach = np.linalg.norm(matrix @ plane, axis=1)
        reach[reach <= _THIN] = 0.0
        if not reach.any():
            return _nearest(equations, totals, np.zeros(polytope.num_domains))
        point, radius, held = _largest_ball(matrix, limits, equations, totals, reach)
        if radius > _THIN:
            return _nearest(equations, totals, point)
        equations = np.vstack([equations, matrix[held]])
        totals = np.append(totals, limits[held])


def _largest_ball(
    matrix: FloatArray,
    limits: FloatArray,
    equations: FloatArray,
    totals: FloatArray,
    reach: FloatArray,
) -> tuple[FloatArray, float, BoolArray]:
    """Return its centre `(k,)`, its radius and the rows that hold it down, a mask `(r,)`."""
    k = matrix.shape[1]
    ball = minimise_linear(
        np.append(np.zeros(k), -1.0),
        np.column_stack([matrix, reach]),
        limits + _ROUNDING,
        np.column_stack([equations, np.zeros(len(totals))]),
        totals,
        num_signed=k,
    )
    if ball is None:
        raise InfeasibleError("no mixture satisfies the constraints")
    held: BoolArray = ball.multipliers * reach > _THIN
    return ball.point[:k], -ball.value, held


def _nearest(equations: FloatArray, totals: FloatArray, point: FloatArray) -> FloatArray:
    """Return the solution of the equations that is nearest to a point."""
    solution: FloatArray = point - np.linalg.lstsq(equations, equations @ point - totals)[0]
    return solution
