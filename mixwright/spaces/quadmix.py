"""QuaDMix's parameters as points of one simplex.

A vector of k domains and r raters is k simplices of rater weights and 4 k numbers between 0 and
their limits. A number that is the share u of its limit (of the limit's logarithm, where λ is drawn
so) is the simplex (u, 1 - u). A point is these 5 k simplices side by side, each divided by 5 k: it
has k (r + 8) coordinates, at least 0, with sum 1, and blends of points are points. [I]

Source:
    Liu et al., "QuaDMix: Quality-Diversity Balanced Data Selection for Efficient LLM Pretraining",
    arXiv:2504.16511 [X]: runs and candidates come from algorithm 1, and the 10 with the lowest
    predictions are averaged. See `mixwright.quality.quadmix`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.polytope import FEASIBILITY_TOLERANCE, Polytope
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import Implied, Sample, fit_function, implied_of
from mixwright.quality.notation import describe, parse, wrong_parts
from mixwright.quality.parameters import PER_DOMAIN, Parameters
from mixwright.quality.quadmix import PAPER, Limits, QuadmixSpace, space_of
from mixwright.quality.ranks import POINTS
from mixwright.quality.raters import Rater
from mixwright.quality.rating import Rating
from mixwright.spaces.base import Design, Field, Place
from mixwright.spaces.implied_mixture import ImpliedMixture, numbers_at
from mixwright.spaces.significant import significant, significant_shares
from mixwright.spaces.trades import trades
from mixwright.study import Domain, Study
from mixwright.swarm import CANDIDATES_PER_POINT, STRENGTHS, farthest_first

_PARTS = 1 + len(PER_DOMAIN)  # simplices of a domain
_TO_AN_END = 0.3  # of the moves of a number go all the way


@dataclass(frozen=True, slots=True)
class QuadmixPoints:
    """θ of QuaDMix; see `mixwright.spaces.base.DocumentSpace`.

    Attributes:
        vectors: the same space as the paper writes it.
        available: tokens of every domain, None where unknown.
        rating: of documents.
    """

    vectors: QuadmixSpace
    available: tuple[float | None, ...]
    rating: Rating

    kind: ClassVar[str] = "quadmix"
    field: ClassVar[Field] = "parameters"
    is_simplex: ClassVar[bool] = False
    top_k: ClassVar[int] = 10
    members: ClassVar[tuple[str, ...]] = ("linear", "gp")  # power laws of shares take minutes
    has_budget: ClassVar[bool] = False

    @property
    def designs(self) -> Mapping[str, Design]:
        """Algorithm 1, and a design that fills the space."""
        return {"sampler": self._design, "space_filling": self._fill}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], domains: Sequence[Domain]) -> Self:
        """Return the space of a study's `raters`, `steepness`, `limits` and domains.

        Raises:
            InvalidInputError: names what is wrong, as in "limits/omega".
        """
        names, given = tuple(domain.name for domain in domains), document.get("limits") or {}
        numbers = dict(zip(PER_DOMAIN, PAPER.numbers, strict=True))
        unknown = sorted(set(given) - set(numbers))
        if unknown:
            raise InvalidInputError(
                f"no number '{unknown[0]}'; there are {', '.join(numbers)}",
                field=f"limits/{unknown[0]}",
            )
        try:
            limits = Limits(*{**numbers, **given}.values())
        except InvalidInputError as error:
            raise InvalidInputError(str(error), field=f"limits/{error.field}") from error
        reading = document.get("steepness") or "linear"
        rating = Rating.from_json(document, "tokens")
        space = space_of(names, rating.raters, reading, limits)
        return cls(space, tuple(domain.tokens for domain in domains), rating)

    def coordinates(self, domains: Sequence[Domain]) -> tuple[Domain, ...]:
        """Return all coordinates, with the mean of the sampler as prior."""
        raters = [(f"alpha/{_escape(name)}", 1.0 / self._r) for name in self.vectors.raters]
        halves = [(part, 0.5) for name in PER_DOMAIN for part in (name, f"{name}/rest")]
        whole = _PARTS * self._k
        return tuple(
            Domain(f"{_escape(domain)}/{part}", None, middle / whole, upper=1.0 / whole)
            for domain in self.vectors.domains
            for part, middle in (*raters, *halves)
        )

    def freedom(self, study: Study) -> int:
        """Return one more than a point and what it implies have free numbers."""
        features = self.features
        implied = 0 if features is None else features.count
        return self._k * (self._r - 1 + len(PER_DOMAIN)) + implied + 1

    @property
    def features(self) -> ImpliedMixture | None:
        """The mixture that θ implies, where all tokens are known."""
        known = [tokens for tokens in self.available if tokens is not None]
        if len(known) < self._k:
            return None
        is_log = np.array(float(self.vectors.steepness == "log"))
        return ImpliedMixture(np.array(known), np.array(self._limits), is_log)

    def draw(
        self, study: Study, polytope: Polytope, count: int, rng: np.random.Generator
    ) -> FloatArray:
        """Return draws of algorithm 1."""
        return self.encode(self.vectors.sample(count, rng))

    def spread(self, polytope: Polytope, count: int, rng: np.random.Generator) -> FloatArray:
        """Return half of them from algorithm 1, half from all numbers at an end to all at random.

        The best number is often at an end, where the sampler hardly comes.
        """
        strengths = rng.choice(STRENGTHS, (count // 2, 1, 1))
        sampled = self.encode(self.vectors.sample(count - count // 2, rng))
        return np.vstack([sampled, self._drawn(strengths, count // 2, rng)])

    def steps(
        self,
        polytope: Polytope,
        best: FloatArray,
        others: FloatArray,
        longest: float,
        count: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return points that differ in one domain: another's numbers, or one of its own moved."""
        rows = np.tile(self._blocks(best[None]), (count, 1, 1))
        each, place = np.arange(count), rng.integers(0, self._k, count)
        donors = self._blocks(others[rng.integers(0, len(others), count)])[each, place]
        moved = np.stack([self._move(row, longest, rng) for row in rows[each, place]])
        rows[each, place] = np.where(rng.random((count, 1)) < 0.5, donors, moved)
        return np.asarray(rows.reshape(count, -1) / (_PARTS * self._k))

    def baselines(self, study: Study) -> dict[str, FloatArray]:
        """Return the mean of the sampler."""
        return {"sampler_mean": study.prior}

    def contains(self, polytope: Polytope, points: FloatArray) -> BoolArray:
        """Return which points consist of simplices."""
        rows, tolerance = self._blocks(points), FEASIBILITY_TOLERANCE * _PARTS * self._k
        raters, pairs = rows[..., : self._r], _pairs(rows, self._r)
        sums = np.concatenate([raters.sum(axis=-1, keepdims=True), pairs.sum(axis=-1)], axis=-1)
        is_whole = (np.abs(sums - 1.0) <= tolerance).all(axis=(1, 2))
        return np.asarray(is_whole & (rows >= -tolerance).all(axis=(1, 2)))

    def nearest(self, polytope: Polytope, point: FloatArray) -> FloatArray:
        """Return the point that the numbers of `point` describe."""
        return np.asarray(self.encode(self.decode(point[None]))[0])

    def canonical(self, points: FloatArray) -> FloatArray:
        """Return points whose numbers have twelve digits."""
        return self.encode(self._rounded(self.decode(points)))

    def active(self, polytope: Polytope, point: FloatArray) -> list[dict[str, str | float]]:
        """Return the numbers that are as large as they are searched."""
        scalars = self._parameters(point).scalars
        limits = dict(zip(PER_DOMAIN, significant(np.array(self._limits)).tolist(), strict=True))
        return [
            {
                "name": f"limit:{domain}/{name}",
                "kind": "limit",
                "bound": limits[name],
                "value": value,
            }
            for name, values in scalars.items()
            for domain, value in zip(self.vectors.domains, values.tolist(), strict=True)
            if value >= limits[name]
        ]

    def describe(self, study: Study, point: FloatArray) -> dict[str, Any]:
        """Return θ by domain; see `mixwright.quality.notation`."""
        return describe(self._parameters(point), self.vectors.domains, self.vectors.raters)

    def wrong_parts(self, study: Study, document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        """Yield what keeps the document from being θ, and numbers beyond what is searched."""
        wrong = list(self.wrong_choice(document))
        yield from wrong
        if not wrong:
            yield from self._beyond(document)

    def wrong_choice(self, document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        """Yield what keeps the document from being θ of these domains and raters."""
        yield from wrong_parts(document, self.vectors.domains, self.vectors.raters)

    def function(
        self,
        raters: Sequence[Rater],
        document: Mapping[str, Any],
        documents: Sample,
        budget: float | None = None,
        available_tokens: FloatArray | None = None,
        points: int | None = None,
    ) -> SamplingFunction:
        """Return the function of θ, which itself says how much is chosen: there is no budget."""
        domains = self.vectors.domains
        theta = parse(document, domains, self.vectors.raters)
        return fit_function(raters, domains, theta, documents, points or POINTS)

    def parse(self, study: Study, document: Mapping[str, Any]) -> FloatArray:
        """Return the point; rater weights that do not sum to 1 are divided by their sum."""
        rows = [
            [*(part["rater_weights"][rater] for rater in self.vectors.raters)]
            + [part[name] for name in PER_DOMAIN]
            for part in (document[domain] for domain in self.vectors.domains)
        ]
        vectors = np.array(rows, dtype=np.float64).reshape(1, -1)
        return np.asarray(self.encode(self._rounded(vectors))[0])

    def implied(self, point: FloatArray) -> Implied | None:
        """Return what a point `(c,)` is expected to select; None if a domain's tokens are unknown.

        See `mixwright.quality.implied.implied_of`.
        """
        if None in self.available:
            return None
        return implied_of(self._parameters(point), np.array(self.available, dtype=np.float64))

    def encode(self, vectors: FloatArray) -> FloatArray:
        """Return vectors `(q, k (r + 4))` as points `(q, k (r + 8))`."""
        rows = vectors.reshape(len(vectors), self._k, self.vectors.block)
        shares = np.minimum(rows[..., self._r :] / self._limits, 1.0)
        if self.vectors.steepness == "log":
            steepness = np.log(rows[..., self._r]) / np.log(self._limits[0])
            shares[..., 0] = np.clip(steepness, 0.0, 1.0)
        pairs = np.stack([shares, 1.0 - shares], axis=-1).reshape(*shares.shape[:2], -1)
        points = np.concatenate([rows[..., : self._r], pairs], axis=-1)
        return np.asarray(points.reshape(len(vectors), -1) / (_PARTS * self._k))

    def decode(self, points: FloatArray) -> FloatArray:
        """Return points `(q, k (r + 8))` as vectors `(q, k (r + 4))`."""
        rows = self._blocks(points)
        shares = np.clip(_pairs(rows, self._r)[..., 0], 0.0, 1.0)
        is_log = self.vectors.steepness == "log"
        numbers = numbers_at(shares, np.array(self._limits), is_log=is_log)
        vectors = np.concatenate([rows[..., : self._r], numbers], axis=-1)
        return vectors.reshape(len(points), -1)

    @property
    def _k(self) -> int:
        return len(self.vectors.domains)

    @property
    def _r(self) -> int:
        return len(self.vectors.raters)

    @property
    def _limits(self) -> tuple[float, float, float, float]:
        return self.vectors.limits.numbers

    def _blocks(self, points: FloatArray) -> FloatArray:
        """Return simplices of sum 1 side by side, `(q, k, r + 8)`."""
        return points.reshape(len(points), self._k, -1) * (_PARTS * self._k)

    def _rounded(self, vectors: FloatArray) -> FloatArray:
        rows = vectors.reshape(len(vectors), self._k, self.vectors.block)
        parts = [significant_shares(rows[..., : self._r]), significant(rows[..., self._r :])]
        return np.concatenate(parts, axis=-1).reshape(vectors.shape)

    def _parameters(self, point: FloatArray) -> Parameters:
        rows = self._rounded(self.decode(point[None])).reshape(self._k, self.vectors.block)
        return Parameters(rows[:, : self._r], *rows[:, self._r :].T)

    def _drawn(
        self, strengths: FloatArray | float, count: int, rng: np.random.Generator
    ) -> FloatArray:
        """Return points whose simplices are all Dirichlet of one strength, `(count, k (r + 8))`."""
        shape = (count, self._k)
        simplices = [(*shape, self._r), *[(*shape, 2)] * len(PER_DOMAIN)]
        return np.concatenate([_dirichlet(strengths, one, rng) for one in simplices], -1).reshape(
            count, -1
        ) / (_PARTS * self._k)

    def _move(self, block: FloatArray, longest: float, rng: np.random.Generator) -> FloatArray:
        """Return a domain's block with one of its simplices moved."""
        moved, part = block.copy(), rng.integers(_PARTS)
        if part == 0:
            moved[: self._r] = trades(block[: self._r], longest, 1, rng)[0]
            return moved
        place = self._r + 2 * (part - 1)
        to_an_end = rng.random() < _TO_AN_END
        share = rng.integers(2) if to_an_end else block[place] + rng.uniform(-longest, longest)
        share = min(max(float(share), 0.0), 1.0)
        moved[place : place + 2] = share, 1.0 - share
        return moved

    def _design(self, study: Study, polytope: Polytope, count: int, seed: int) -> FloatArray:
        return self.canonical(self.draw(study, polytope, count, np.random.default_rng(seed)))

    def _fill(self, study: Study, polytope: Polytope, count: int, seed: int) -> FloatArray:
        candidates = self._drawn(1.0, CANDIDATES_PER_POINT * count, np.random.default_rng(seed))
        return self.canonical(farthest_first(candidates, count))

    def _beyond(self, document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        lowest = (1.0 if self.vectors.steepness == "log" else 0.0, 0.0, 0.0, 0.0)
        ranges = zip(PER_DOMAIN, lowest, significant(np.array(self._limits)).tolist(), strict=True)
        for name, low, high in ranges:
            for domain in self.vectors.domains:
                value = float(significant(np.array(document[domain][name])))
                if not low <= value <= high:
                    yield (domain, name), _why_beyond(name, value, low, high)


def _why_beyond(name: str, value: float, low: float, high: float) -> str:
    if value < low:
        return f"{value:g} is below {low:g}, where a log-uniform lambda begins"
    return (
        f"{value:g} is above {high:g}, the largest {name} of this study; a study whose "
        f"space.limits.{name} is {value:g} or more can hold it"
    )


def _escape(name: str) -> str:
    """Return a name without slashes, as JSON pointers write it."""
    return name.replace("~", "~0").replace("/", "~1")


def _pairs(blocks: FloatArray, num_raters: int) -> FloatArray:
    """Return the shares of numbers and what is left of 1, `(q, k, 4, 2)`."""
    pairs = blocks[..., num_raters:]
    return pairs.reshape(*pairs.shape[:-1], len(PER_DOMAIN), 2)


def _dirichlet(
    strength: FloatArray | float, shape: tuple[int, ...], rng: np.random.Generator
) -> FloatArray:
    gammas = np.maximum(rng.standard_gamma(strength, shape), np.finfo(float).tiny)
    return np.asarray(gammas / gammas.sum(axis=-1, keepdims=True))
