"""Exact Euclidean projection onto the mixtures that satisfy the constraints.

Sources:
    Bounds only: the projection is `clip(point - shift, lower, upper)` (Wang and Lu, "Projection
    onto the capped simplex", arXiv:1503.01002 [S]); the sum falls piecewise linearly in `shift`,
    so that the shift is read off between two sorted breakpoints.
    Linear constraints: least distance programming by non-negative least squares (Lawson and
    Hanson, "Solving Least Squares Problems", 1974, chapter 23 [R]), which ends in finitely many
    steps with the set of active constraints; the answer is then solved from that set alone.
"""

import numpy as np
from scipy.linalg import null_space
from scipy.optimize import nnls

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InfeasibleError
from mixwright.polytope import Polytope, is_feasible

_ROUNDING = 1e-13  # violation that float64 leaves
_FLAT = 1e-9  # smallest length of a row told apart from 0
_IMPOSSIBLE = 1e-12  # residual of the dual problem that only infeasible constraints have


def project(polytope: Polytope, point: FloatArray) -> FloatArray:
    """Return the feasible mixture nearest to `point`.

    Args:
        polytope: constraints that admit a mixture.
        point: shape `(k,)`, any finite vector.

    Returns:
        Shape `(k,)`; satisfies every constraint within 1e-9.

    Raises:
        InfeasibleError: the constraints admit no mixture.

    Example:
        >>> square = Polytope(np.zeros(2), np.ones(2), np.empty((0, 2)), np.empty(0), ())
        >>> project(square, np.array([0.9, 0.4]))
        array([0.75, 0.25])
    """
    if is_feasible(polytope, point[None], tolerance=0.0)[0]:
        return point.copy()
    if len(polytope.b_ub) == 0:
        return _project_to_bounds(polytope, point)
    return _project_to_polytope(polytope, point)


def _project_to_bounds(polytope: Polytope, point: FloatArray) -> FloatArray:
    lower, upper = polytope.lower, polytope.upper
    shifts = np.sort(np.concatenate([point - lower, point - upper]))
    sums = np.clip(point - shifts[:, None], lower, upper).sum(axis=1)  # (2k,), falling
    after = np.searchsorted(-sums, -1.0)  # first breakpoint with a sum of 1 or less
    if after in (0, len(shifts)):  # every weight at one of its bounds, the only mixture there is
        return upper.copy() if after == 0 else lower.copy()
    drop = sums[after - 1] - sums[after]
    share = (sums[after - 1] - 1.0) / drop
    shift = shifts[after - 1] + share * (shifts[after] - shifts[after - 1])
    mixture: FloatArray = np.clip(point - shift, lower, upper)
    return mixture


def _project_to_polytope(polytope: Polytope, point: FloatArray) -> FloatArray:
    matrix, limits = polytope.rows()
    flat: FloatArray = point + (1.0 - point.sum()) / len(
        point
    )  # onto sum(w) = 1, which changes no answer
    plane = null_space(np.ones((1, len(point))))  # (k, k - 1), orthonormal
    gain, needed = -matrix @ plane, matrix @ flat - limits
    if (needed <= _ROUNDING).all():
        return flat
    active = _active_set(gain, needed)
    shortest = np.linalg.lstsq(gain[active], needed[active])[0]
    mixture: FloatArray = np.clip(flat + plane @ shortest, polytope.lower, polytope.upper)
    return mixture


def _active_set(gain: FloatArray, needed: FloatArray) -> IntArray:
    """Return the inequalities that are equations at the shortest z with `gain @ z >= needed`.

    Args:
        gain: shape `(r, d)`.
        needed: shape `(r,)`, some of them positive.
    """
    reach = np.maximum(np.linalg.norm(gain, axis=1), _FLAT)
    needed = needed / max((needed / reach).max(), 1.0)  # a far point is brought near
    target = np.zeros(gain.shape[1] + 1)
    target[-1] = 1.0
    multipliers, residual = nnls(np.vstack([gain.T, needed]), target)
    if residual < _IMPOSSIBLE:
        raise InfeasibleError("no mixture satisfies the constraints")
    return np.flatnonzero(multipliers > 0).astype(np.int64)
