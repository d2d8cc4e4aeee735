"""Mixtures: the shares of a study's domains, within its constraints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.chains import run_chains
from mixwright.constraints import active_constraints
from mixwright.errors import NotOnSimplexError
from mixwright.polytope import Polytope, is_feasible
from mixwright.projection import project
from mixwright.sampling import sample_dirichlet, sample_polytope
from mixwright.simplex import normalise
from mixwright.spaces.base import Design, Field, Place
from mixwright.spaces.trades import trades
from mixwright.study import Domain, Study
from mixwright.swarm import STRENGTHS, SWARM_DESIGNS

_EXACT = 1e-12


@dataclass(frozen=True, slots=True)
class MixtureSpace:
    """Shares of domains; see `mixwright.spaces.base.Space`. What is computed is RegMix's [X]."""

    kind: ClassVar[str] = "mixture"
    field: ClassVar[Field] = "weights"
    is_simplex: ClassVar[bool] = True
    top_k: ClassVar[int] = 128
    members: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[None] = None

    @property
    def designs(self) -> Mapping[str, Design]:
        """RegMix's, and one that fills the space."""
        return SWARM_DESIGNS

    @classmethod
    def from_json(cls, document: Mapping[str, Any], domains: Sequence[Domain]) -> Self:
        """Return the space; nothing but its kind describes it."""
        return cls()

    def coordinates(self, domains: Sequence[Domain]) -> tuple[Domain, ...]:
        """Return the domains themselves."""
        return tuple(domains)

    def freedom(self, study: Study) -> int:
        """Return the number of domains."""
        return len(study.domains)

    def draw(
        self, study: Study, polytope: Polytope, count: int, rng: np.random.Generator
    ) -> FloatArray:
        """Return draws from Dirichlet(prior) within the constraints.

        They are drawn in the order of the domains' names, so that a study with its domains in
        another order gets the same.
        """
        order = np.argsort(np.array(study.domain_names), kind="stable")
        within = polytope.reorder(order.tolist())
        drawn = sample_dirichlet(within, study.prior[order], count, rng)
        return np.asarray(drawn[:, np.argsort(order)])

    def spread(self, polytope: Polytope, count: int, rng: np.random.Generator) -> FloatArray:
        """Return half of them even over the polytope, half from sparse to even as swarms are.

        The best mixture is often at an edge, where even draws hardly come.
        """
        half = count // 2
        strengths = rng.choice(STRENGTHS, (half, 1))
        sparse = run_chains(polytope, strengths * np.ones(polytope.num_domains), half, rng)
        return np.vstack([sample_polytope(polytope, count - half, rng), sparse])

    def steps(
        self,
        polytope: Polytope,
        best: FloatArray,
        others: FloatArray,
        longest: float,
        count: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return trades between two domains, as far as the constraints allow them."""
        moved = trades(best, longest, count, rng)
        return moved[is_feasible(polytope, moved)]

    def baselines(self, study: Study) -> dict[str, FloatArray]:
        """Return the prior and the uniform mixture; neither need be feasible."""
        k = len(study.domains)
        return {"prior": study.prior, "uniform": np.full(k, 1.0 / k)}

    def contains(self, polytope: Polytope, points: FloatArray) -> BoolArray:
        """Return which mixtures satisfy the constraints."""
        return is_feasible(polytope, points)

    def nearest(self, polytope: Polytope, point: FloatArray) -> FloatArray:
        """Return the projection on the polytope."""
        return project(polytope, point)

    def canonical(self, points: FloatArray) -> FloatArray:
        """Return the points: mixtures are written with all their digits."""
        return points

    def active(self, polytope: Polytope, point: FloatArray) -> list[dict[str, str | float]]:
        """Return the active constraints."""
        return active_constraints(polytope, point)

    def describe(self, study: Study, point: FloatArray) -> dict[str, Any]:
        """Return weights by domain."""
        return {name: float(w) for name, w in zip(study.domain_names, point, strict=True)}

    def wrong_parts(self, study: Study, document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        """Yield the names that are missing or none, else what keeps weights off the simplex."""
        names = study.domain_names
        differing = [(name, "is missing") for name in names if name not in document]
        differing += [(name, "is no domain") for name in document if name not in names]
        for name, why in differing:
            yield (name,), f"'{name}' {why}; the study's domains are {', '.join(names)}"
        if not differing:
            try:
                self.parse(study, document)
            except NotOnSimplexError as error:
                yield (), str(error)

    def parse(self, study: Study, document: Mapping[str, Any]) -> FloatArray:
        """Return the weights, divided by their sum unless that is 1 but for rounding."""
        weights = np.array([document[name] for name in study.domain_names], dtype=np.float64)
        divided = normalise(weights, study.domain_names)
        return weights if abs(weights.sum() - 1.0) <= _EXACT else divided


MIXTURE: Final = MixtureSpace()
