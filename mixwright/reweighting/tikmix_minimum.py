"""The mixture that TiKMiX-D looks for, by a primal-dual interior point.

The standard deviation is not smooth where all tasks gain the same, and that is often where the
minimum lies. So it is a variable `t` of its own, held up by a constraint that is smooth for t > 0:

    minimise  α t - β Σ P̂ - γ H(w)  such that  rows @ w ≥ limits,  t ≥ |C w|² / t,  Σ w = 1,

with `|C w|` the standard deviation of `P̂ = gains @ w` over tasks. Every step solves one linear
system of k + 2 unknowns: 50 tasks and 300 domains take about 20 steps.

Source:
    Nocedal and Wright, "Numerical Optimization", 2nd edition, chapter 19 [R]; the choice of the
    barrier from a trial step is Mehrotra's, SIAM Journal on Optimization 2(4), 1992 [R].

Departures:
    One step length for everything; products of slacks and multipliers stop at `_BARRIER`.
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray

SMALLEST_WEIGHT = 1e-9  # below it the entropy goes on along its tangent
_BARRIER = 3e-11
_DUAL_TOLERANCE, _SLACK_TOLERANCE = 1e-6, 1e-9
_MOST_STEPS = 100
_SMALLEST_ALPHA = 1e-8  # `t` needs a price


@dataclass(frozen=True, slots=True)
class Programme:
    """What is minimised, over `x = (w, t)` of shape `(k + 1,)`.

    Attributes:
        gains: P̂ of each domain alone, shape `(r, k)`.
        rows: shape `(c, k)`.
        limits: shape `(c,)`.
        alpha: of the standard deviation over tasks.
        beta: of the sum.
        gamma: of the entropy.
    """

    gains: FloatArray
    rows: FloatArray
    limits: FloatArray
    alpha: float
    beta: float
    gamma: float

    def centred(self) -> FloatArray:
        """Return C, shape `(r, k)`."""
        away: FloatArray = (self.gains - self.gains.mean(axis=0)) / np.sqrt(len(self.gains))
        return away

    def gradient(self, x: FloatArray) -> FloatArray:
        """Return the function's gradient, shape `(k + 1,)`."""
        slope = self.gamma * (np.log(np.maximum(x[:-1], SMALLEST_WEIGHT)) + 1.0)
        return np.append(slope - self.beta * self.gains.sum(axis=0), self.price)

    @property
    def price(self) -> float:
        """α, but never 0."""
        return max(self.alpha, _SMALLEST_ALPHA)

    def slacks(self, x: FloatArray, spread: FloatArray) -> FloatArray:
        """Return by how much each constraint holds, shape `(c + 1,)`; `spread` is `C w`."""
        return np.append(self.rows @ x[:-1] - self.limits, x[-1] - spread @ spread / x[-1])

    def jacobian(self, x: FloatArray, pull: FloatArray, square: float) -> FloatArray:
        """Return the gradients of the slacks, `(c + 1, k + 1)`; `pull` is `C'C w`, `(k,)`."""
        linear = np.hstack([self.rows, np.zeros((len(self.rows), 1))])
        return np.vstack([linear, np.append(-2 * pull / x[-1], 1 + square / x[-1] ** 2)])

    def curvature(
        self, x: FloatArray, gram: FloatArray, pull: FloatArray, multiplier: float
    ) -> FloatArray:
        """Return the Lagrangian's Hessian `(k + 1, k + 1)`; `gram` is `C'C`, `(k, k)`."""
        weights, t = x[:-1], x[-1]
        cross, corner = -pull[:, None] / t, np.array([[weights @ pull / t**2]])
        whole: FloatArray = np.block([[gram, cross], [cross.T, corner]]) * (2 * multiplier / t)
        bent = np.where(weights > SMALLEST_WEIGHT, self.gamma / weights, 0.0)
        whole[np.arange(len(bent)), np.arange(len(bent))] += bent
        return whole


@dataclass(frozen=True, slots=True)
class _Point:
    """Variables, slacks, the multipliers of both, and that of the sum; the first four are > 0."""

    x: FloatArray
    slacks: FloatArray
    of_slacks: FloatArray
    of_x: FloatArray
    of_sum: float

    def complementarity(self) -> float:
        """Return the mean product of what is positive with its multiplier."""
        total = self.slacks @ self.of_slacks + self.x @ self.of_x
        return float(total / (len(self.slacks) + len(self.x)))

    def moved(self, way: "_Point", length: float) -> "_Point":
        """Return the point so far along `way`."""
        return _Point(
            self.x + length * way.x,
            self.slacks + length * way.slacks,
            self.of_slacks + length * way.of_slacks,
            self.of_x + length * way.of_x,
            self.of_sum + length * way.of_sum,
        )

    def room(self, way: "_Point") -> float:
        """Return how far along `way` it may go before something turns 0; 1 at most."""
        pairs = (
            (self.x, way.x),
            (self.slacks, way.slacks),
            (self.of_slacks, way.of_slacks),
            (self.of_x, way.of_x),
        )
        return min(float((-at[d < 0] / d[d < 0]).min(initial=1.0)) for at, d in pairs)


def minimum(programme: Programme, start: FloatArray) -> FloatArray:
    """Return the mixture `(k,)` of the minimum, to about 1e-9 in the function's value.

    Args:
        programme: whose constraints admit a mixture.
        start: shape `(k,)`, a mixture; it need not be feasible.
    """
    centred = programme.centred()
    gram, point = centred.T @ centred, _begun(programme, centred, start)
    for _ in range(_MOST_STEPS):
        system = _System.at(programme, centred, gram, point)
        if system.is_solved():
            break
        trial = system.way(_BARRIER / 3)
        before = point.complementarity()
        after = point.moved(trial, point.room(trial)).complementarity()
        share = min(max((after / before) ** 3, 0.02), 0.8)
        way = system.way(max(share * before, _BARRIER))
        point = point.moved(way, 0.99 * point.room(way))
    return np.asarray(point.x[:-1])


def _begun(programme: Programme, centred: FloatArray, start: FloatArray) -> _Point:
    weights = 0.5 * start + 0.5 / len(start)
    spread = centred @ weights
    x = np.append(weights, np.linalg.norm(spread) + 0.1)
    slacks = np.maximum(programme.slacks(x, spread), 0.01)
    return _Point(x, slacks, np.ones_like(slacks), np.ones_like(x), 0.0)


@dataclass(frozen=True, slots=True)
class _System:
    """The optimality conditions, linear about a point.

    Attributes:
        point: where.
        jacobian: of the slacks, shape `(c + 1, k + 1)`.
        matrix: of the steps of x and the sum's multiplier, shape `(k + 2, k + 2)`.
        dual: what the Lagrangian's gradient lacks to 0, shape `(k + 1,)`.
        slack: what the slacks lack to what they stand for, shape `(c + 1,)`.
    """

    point: _Point
    jacobian: FloatArray
    matrix: FloatArray
    dual: FloatArray
    slack: FloatArray

    @classmethod
    def at(
        cls, programme: Programme, centred: FloatArray, gram: FloatArray, point: _Point
    ) -> "_System":
        """Return the conditions about a point."""
        spread, size = centred @ point.x[:-1], len(point.x)
        pull, square = spread @ centred, float(spread @ spread)
        jacobian = programme.jacobian(point.x, pull, square)
        is_weight = np.append(np.ones(size - 1), 0.0)
        matrix = np.zeros((size + 1, size + 1))
        matrix[:size, :size] = (
            programme.curvature(point.x, gram, pull, point.of_slacks[-1])
            + jacobian.T @ ((point.of_slacks / point.slacks)[:, None] * jacobian)
            + np.diag(point.of_x / point.x)
        )
        matrix[:size, size] = matrix[size, :size] = is_weight
        dual = programme.gradient(point.x) - jacobian.T @ point.of_slacks - point.of_x
        dual += point.of_sum * is_weight
        slack = programme.slacks(point.x, spread) - point.slacks
        return cls(point, jacobian, matrix, dual, slack)

    def is_solved(self) -> bool:
        """Return whether the point is the minimum, to the tolerances above."""
        is_slack = np.abs(self.slack).max() < _SLACK_TOLERANCE
        is_dual = np.abs(self.dual).max() < _DUAL_TOLERANCE
        return bool(is_slack and is_dual and self.point.complementarity() < 3 * _BARRIER)

    def way(self, barrier: float) -> _Point:
        """Return the Newton step to where every product with a multiplier is `barrier`."""
        at = self.point
        stiffness = at.of_slacks / at.slacks
        lift, push = barrier / at.slacks - at.of_slacks, barrier / at.x - at.of_x
        rise = -self.dual + self.jacobian.T @ (lift - stiffness * self.slack) + push
        found = np.linalg.solve(self.matrix, np.append(rise, 1.0 - at.x[:-1].sum()))
        x, slacks = found[:-1], self.jacobian @ found[:-1] + self.slack
        return _Point(x, slacks, lift - stiffness * slacks, push - at.of_x / at.x * x, found[-1])
