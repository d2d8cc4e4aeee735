"""Levenberg-Marquardt on many small problems at once.

Thirteen metrics times a few starts are dozens of problems with the same shape; solving them in
one batch costs a few matrix products per step instead of thousands of Python calls.

Source:
    Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", SIAM Journal
    11(2), 1963 [S]; damping is scaled by the diagonal of the normal matrix, as he proposes.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mixwright.arrays import BoolArray, FloatArray, IntArray

_AT_ONCE = 16  # problems: bounds the memory of their Jacobians
_FIRST_DAMPING = 1e-2
_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-9, 1e9
_SMALLEST_DIAGONAL = 1e-10  # keeps the damped matrix regular where a parameter has no effect


class Residuals(Protocol):
    """A batch of least-squares problems."""

    def __call__(self, parameters: FloatArray, problems: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return residuals `(b, r)` and their Jacobian `(b, r, p)`.

        Args:
            parameters: shape `(b, p)`, one row per problem of `problems`.
            problems: shape `(b,)`, which of all the problems these are.
        """
        ...


@dataclass(frozen=True, slots=True)
class Solution:
    """Where the optimiser stopped.

    Attributes:
        parameters: shape `(b, p)`.
        cost: shape `(b,)`, sums of squared residuals; infinite where the start was not finite.
        converged: shape `(b,)`, whether a step stopped improving the cost before `max_steps`.
    """

    parameters: FloatArray
    cost: FloatArray
    converged: BoolArray


def solve_batch(
    residuals: Residuals, start: FloatArray, *, max_steps: int = 200, tolerance: float = 1e-9
) -> Solution:
    """Minimise every problem's sum of squared residuals, a few problems at a time.

    Args:
        residuals: the problems.
        start: shape `(b, p)`.
        max_steps: most steps, accepted or not, that any problem may take.
        tolerance: a problem has converged when an accepted step lowers its cost by less than
            this share of it, or when no damping finds a lower cost.
    """
    blocks = [
        _solve(residuals, start, problems, max_steps, tolerance)
        for problems in np.array_split(np.arange(len(start)), -(-len(start) // _AT_ONCE))
    ]
    parameters, cost, converged = zip(*blocks, strict=True)
    return Solution(np.concatenate(parameters), np.concatenate(cost), np.concatenate(converged))


def _solve(
    residuals: Residuals, start: FloatArray, problems: IntArray, max_steps: int, tolerance: float
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return parameters, cost and convergence of `problems`."""
    parameters, damping = start[problems], np.full(len(problems), _FIRST_DAMPING)
    active = np.arange(len(problems))
    values, jacobian = residuals(parameters, problems)
    cost = _sum_of_squares(values)
    active = active[np.isfinite(cost)]
    values, jacobian = values[active], jacobian[active]
    for _ in range(max_steps):
        if len(active) == 0:
            break
        trial = parameters[active] + _step(values, jacobian, damping[active])
        new_values, new_jacobian = residuals(trial, problems[active])
        new_cost = _sum_of_squares(new_values)
        better = new_cost < cost[active]
        gain = np.where(better, cost[active] - new_cost, np.inf)
        stopped = (gain <= tolerance * cost[active]) | (damping[active] >= _LARGEST_DAMPING)
        accepted = active[better]
        parameters[accepted], cost[accepted] = trial[better], new_cost[better]
        damping[active] = np.clip(
            damping[active] * np.where(better, 0.2, 4.0), _SMALLEST_DAMPING, _LARGEST_DAMPING
        )
        values = np.where(better[:, None], new_values, values)[~stopped]
        jacobian = np.where(better[:, None, None], new_jacobian, jacobian)[~stopped]
        active = active[~stopped]
    converged = np.isfinite(cost)
    converged[active] = False
    return parameters, cost, converged


def inverse_normal(jacobian: FloatArray) -> FloatArray:
    """Return the covariance `(b, p, p)` of parameters for unit noise, from `(b, r, p)`."""
    normal = jacobian.swapaxes(1, 2) @ jacobian
    return np.asarray(np.linalg.pinv(normal, hermitian=True), dtype=np.float64)


def _sum_of_squares(values: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        cost: FloatArray = np.sum(values**2, axis=-1)
    return np.where(np.isfinite(cost), cost, np.inf)


def _step(values: FloatArray, jacobian: FloatArray, damping: FloatArray) -> FloatArray:
    """Return the damped Gauss-Newton step, shape `(b, p)`."""
    transposed = jacobian.swapaxes(1, 2)
    normal = transposed @ jacobian  # (b, p, p)
    gradient = transposed @ values[:, :, None]  # (b, p, 1)
    diagonal = np.maximum(np.diagonal(normal, axis1=1, axis2=2), _SMALLEST_DIAGONAL)
    size = normal.shape[-1]
    normal[:, np.arange(size), np.arange(size)] += damping[:, None] * diagonal
    step = np.asarray(np.linalg.solve(normal, -gradient), dtype=np.float64)
    return step[:, :, 0]
