"""Frozen groups: domains whose shares keep their ratios and move as one virtual domain.

When a corpus changes, the domains that did not change keep the ratios found before, and only
their total is searched again together with the new domains.

Source:
    Mixture reuse in olmix (github.com/allenai/olmix) [X]: `w_i = rho * v_i`.

Departures:
    A virtual domain's cap is the smallest `cap_i / v_i` [I]. The released configurations give it
    a large token count instead, so that the frozen domains can break their own caps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.feasibility import smallest_violation
from mixwright.polytope import FEASIBILITY_TOLERANCE, Polytope
from mixwright.simplex import normalise


@dataclass(frozen=True, slots=True)
class FrozenGroup:
    """Domains whose inner ratios are fixed.

    Attributes:
        members: positions of the domains, at least one.
        ratios: shape `(len(members),)`, sums to 1.
    """

    members: tuple[int, ...]
    ratios: FloatArray


@dataclass(frozen=True, slots=True)
class Reduction:
    """A polytope over free domains and virtual ones, and the way back.

    Attributes:
        polytope: the constraints on reduced mixtures: the free domains in their old order, then
            one virtual domain per group.
        expansion: shape `(k, r)`; column j says how domain j of the reduced problem is spread.
    """

    polytope: Polytope
    expansion: FloatArray

    def expand(self, reduced: FloatArray) -> FloatArray:
        """Return the full mixtures `(q, k)` or `(k,)` of reduced ones `(q, r)` or `(r,)`."""
        full: FloatArray = reduced @ self.expansion.T
        return full


def freeze(polytope: Polytope, groups: Sequence[FrozenGroup]) -> Reduction:
    """Return the problem that is left when each group moves as one.

    A reduced mixture is feasible exactly if its expansion is.

    Raises:
        InvalidInputError: a position is out of range or in two groups.
        NotOnSimplexError: a group's ratios are negative or do not sum to 1.
        InfeasibleError: no mixture keeps these ratios within the constraints.
    """
    expansion = _expansion(polytope.num_domains, groups)
    lower, lower_rows = _tightest(polytope.lower, expansion, largest=True)
    upper, upper_rows = _tightest(polytope.upper, expansion, largest=False)
    names, k = polytope.names, polytope.num_domains
    reduced = Polytope(
        lower,
        upper,
        polytope.a_ub @ expansion,
        polytope.b_ub,
        (
            *(names[i] for i in lower_rows),
            *(names[k + i] for i in upper_rows),
            *names[2 * k :],
        ),
    )
    unused = ~expansion.any(axis=1)  # frozen at a ratio of 0
    if (polytope.lower[unused] > 0).any() or smallest_violation(reduced) > FEASIBILITY_TOLERANCE:
        raise InfeasibleError("no mixture with the frozen ratios satisfies the constraints")
    return Reduction(reduced, expansion)


def _expansion(num_domains: int, groups: Sequence[FrozenGroup]) -> FloatArray:
    members = [i for group in groups for i in group.members]
    if len(set(members)) < len(members) or not set(members) <= set(range(num_domains)):
        raise InvalidInputError(
            f"frozen groups hold the positions {members}; each must be one of 0 to "
            f"{num_domains - 1} and in one group only",
            field="groups",
        )
    free = [i for i in range(num_domains) if i not in members]
    columns = [np.eye(num_domains)[:, free]]
    for group in groups:
        column = np.zeros((num_domains, 1))
        column[list(group.members), 0] = normalise(group.ratios)
        columns.append(column)
    return np.hstack(columns)


def _tightest(
    bounds: FloatArray, expansion: FloatArray, *, largest: bool
) -> tuple[FloatArray, IntArray]:
    """Return each reduced domain's tightest bound and the position of the domain that sets it."""
    loosest = np.full_like(expansion, -np.inf if largest else np.inf)
    per_unit = np.divide(bounds[:, None], expansion, out=loosest, where=expansion > 0)
    rows = per_unit.argmax(axis=0) if largest else per_unit.argmin(axis=0)
    return per_unit[rows, np.arange(expansion.shape[1])], rows
