"""Whether constraints admit a mixture, and if not, which of them are to blame.

Every answer is a linear programme solved by HiGHS (through SciPy).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from mixwright.arrays import FloatArray
from mixwright.polytope import Polytope

_TOLERANCE = 1e-10  # the tightest HiGHS accepts
_OPTIMAL, _INFEASIBLE = 0, 2  # linprog's statuses
_NONZERO = 1e-9


@dataclass(frozen=True, slots=True)
class LinearOptimum:
    """A vertex at which a linear programme has its optimum.

    Attributes:
        point: shape `(x,)`.
        value: the smallest cost.
        multipliers: shape `(r,)`, at least 0: how much the smallest cost would fall for each
            unit by which the limit of a row is raised.
    """

    point: FloatArray
    value: float
    multipliers: FloatArray


def minimise_linear(
    costs: FloatArray,
    rows: FloatArray,
    limits: FloatArray,
    equations: FloatArray,
    totals: FloatArray,
    num_signed: int = 0,
) -> LinearOptimum | None:
    """Minimise `costs @ x` over `rows @ x <= limits, equations @ x = totals`.

    Args:
        costs: shape `(x,)`.
        rows: shape `(r, x)`.
        limits: shape `(r,)`.
        equations: shape `(e, x)`.
        totals: shape `(e,)`.
        num_signed: how many of the first variables may be negative; the rest are at least 0.

    Returns:
        An optimal vertex, found by the dual simplex method, or None if nothing satisfies the
        constraints.

    Raises:
        RuntimeError: the solver stopped for any other reason (a defect, not a user's mistake).
    """
    bounds = [(None if i < num_signed else 0.0, None) for i in range(len(costs))]
    result = linprog(
        costs,
        A_ub=rows,
        b_ub=limits,
        A_eq=equations,
        b_eq=totals,
        bounds=bounds,
        method="highs-ds",
        options={
            "primal_feasibility_tolerance": _TOLERANCE,
            "dual_feasibility_tolerance": _TOLERANCE,
        },
    )
    if result.status == _INFEASIBLE:
        return None
    if result.status != _OPTIMAL or result.x is None or result.fun is None:
        raise RuntimeError(f"linear programme failed: {result.message}")
    return LinearOptimum(result.x, float(result.fun), -result.ineqlin.marginals)


def smallest_violation(polytope: Polytope) -> float:
    """Return by how much the best mixture breaks its worst constraint; 0 if one breaks none.

    The unit is that of `Polytope.rows`: shares.
    """
    matrix, limits = polytope.rows()
    best = minimise_linear(
        np.append(np.zeros(polytope.num_domains), 1.0),
        np.hstack([matrix, -np.ones((len(limits), 1))]),
        limits,
        np.append(np.ones(polytope.num_domains), 0.0)[None, :],
        np.ones(1),
        num_signed=polytope.num_domains,
    )
    assert best is not None, "any mixture is feasible if it may violate enough"  # noqa: S101
    return best.value


def find_conflict(polytope: Polytope) -> tuple[int, ...]:
    """Return a smallest set of inequalities that no mixture satisfies together.

    "Smallest" means irreducible: without any one of them the rest have a solution. By Farkas'
    lemma `matrix @ w <= limits, sum(w) = 1` has no solution exactly if some `y >= 0` and `z` give
    `y @ matrix + z = 0` and `y @ limits + z = -1`; the supports of the vertices of that set are
    the irreducible conflicts, and the simplex method ends in a vertex.

    Args:
        polytope: constraints that admit no mixture.

    Returns:
        Positions in `polytope.names`, ascending; empty if the constraints are feasible.

    Source:
        Gleeson and Ryan, "Identifying minimally infeasible subsystems of inequalities",
        ORSA Journal on Computing 2(1), 1990 [R].
    """
    matrix, limits = polytope.rows()
    k, num_rows = polytope.num_domains, len(limits)
    proof = minimise_linear(
        np.append(0.0, np.ones(num_rows)),  # z comes first, as it may be negative
        np.empty((0, num_rows + 1)),
        np.empty(0),
        np.vstack([np.hstack([np.ones((k, 1)), matrix.T]), np.append(1.0, limits)]),
        np.append(np.zeros(k), -1.0),
        num_signed=1,
    )
    if proof is None:
        return ()
    weights = proof.point[1:]
    return tuple(int(i) for i in np.flatnonzero(weights > _NONZERO * weights.max()))


def smallest_cap_scale(uncapped: Polytope, caps: FloatArray) -> float | None:
    """Return the smallest factor on `caps` for which a mixture exists.

    Args:
        uncapped: the constraints without the caps.
        caps: shape `(k,)`, largest shares, infinite where there is no cap.

    Returns:
        The factor, or None if the constraints admit no mixture even without caps.
    """
    matrix, limits = uncapped.rows()
    k, capped = uncapped.num_domains, np.flatnonzero(np.isfinite(caps))
    unit = caps[capped].max(initial=0.0) or 1.0  # HiGHS takes coefficients below 1e-9 for 0
    best = minimise_linear(
        np.append(np.zeros(k), 1.0),
        np.vstack(
            [
                np.hstack([matrix, np.zeros((len(limits), 1))]),
                np.hstack([np.eye(k)[capped], -caps[capped, None] / unit]),
            ]
        ),
        np.append(limits, np.zeros(len(capped))),
        np.append(np.ones(k), 0.0)[None, :],
        np.ones(1),
        num_signed=k,
    )
    return None if best is None else best.value / unit
