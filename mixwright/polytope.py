"""The set of mixtures that satisfy a study's constraints."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import BoolArray, FloatArray

FEASIBILITY_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Polytope:
    """`{w : sum(w) = 1, lower <= w <= upper, a_ub @ w <= b_ub}`.

    Attributes:
        lower: shape `(k,)`, at least 0.
        upper: shape `(k,)`: the tighter of a domain's upper bound and its repetition cap.
        a_ub: shape `(c, k)`.
        b_ub: shape `(c,)`.
        names: of every inequality: k of `lower`, then k of `upper`, then c of `a_ub`. A name is
            `lower:DOMAIN`, `upper:DOMAIN`, `repetition:DOMAIN` (an upper bound that repetition
            set), `linear:INDEX:lower` or `linear:INDEX:upper`.
    """

    lower: FloatArray
    upper: FloatArray
    a_ub: FloatArray
    b_ub: FloatArray
    names: tuple[str, ...]

    @property
    def num_domains(self) -> int:
        """Number of domains, k."""
        return len(self.lower)

    def rows(self) -> tuple[FloatArray, FloatArray]:
        """Return every inequality as `matrix @ w <= limits`, in the order of `names`.

        Returns:
            Shapes `(2k + c, k)` and `(2k + c,)`. Linear rows with coefficients above 1 are
            scaled to 1, so that a violation means the same in every row.
        """
        identity, scales = np.eye(self.num_domains), self.linear_scales()
        matrix = np.vstack([-identity, identity, self.a_ub / scales[:, None]])
        return matrix, np.concatenate([-self.lower, self.upper, self.b_ub / scales])

    def linear_scales(self) -> FloatArray:
        """Return what `rows` divides each linear constraint by, shape `(c,)`, at least 1."""
        scales: FloatArray = np.abs(self.a_ub).max(axis=1, initial=1.0)
        return scales

    def reorder(self, order: Sequence[int]) -> "Polytope":
        """Return the same set with domain `order[i]` in place i."""
        k, places = self.num_domains, np.asarray(order)
        rows = np.concatenate([places, k + places, np.arange(2 * k, len(self.names))])
        return Polytope(
            self.lower[places],
            self.upper[places],
            self.a_ub[:, places],
            self.b_ub,
            tuple(self.names[i] for i in rows),
        )


def is_feasible(
    polytope: Polytope, mixtures: FloatArray, tolerance: float = FEASIBILITY_TOLERANCE
) -> BoolArray:
    """Return, for each mixture, whether it satisfies every constraint.

    Args:
        polytope: the constraints.
        mixtures: shape `(q, k)`.
        tolerance: largest violation accepted, as a share; of a linear constraint with
            coefficients above 1, relative to the largest coefficient.

    Returns:
        Shape `(q,)`.
    """
    slack = tolerance * polytope.linear_scales()
    inside: BoolArray = (
        (np.abs(mixtures.sum(axis=1) - 1.0) <= tolerance)
        & (mixtures >= polytope.lower - tolerance).all(axis=1)
        & (mixtures <= polytope.upper + tolerance).all(axis=1)
        & (mixtures @ polytope.a_ub.T <= polytope.b_ub + slack).all(axis=1)
    )
    return inside
