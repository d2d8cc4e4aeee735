"""The space of QuaDMix's parameters: how θ is drawn, written as a vector, checked and described.

Source:
    Liu et al., "QuaDMix: Quality-Diversity Balanced Data Selection for Efficient LLM Pretraining",
    arXiv:2504.16511, algorithm 1 [X]. For 26 domains and 3 raters a vector has 182 numbers.

The paper's text reads "103 u" for λ. Linear, 10^3 u, is the default, as an independent public
implementation reads it; log, 10^(3u), is the other reading [I].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.implied import expected_shares
from mixwright.quality.parameters import PER_DOMAIN, Parameters, check_parameters

Reading = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest numbers that are drawn; the paper's by default [X], which keep a tenth at most.

    A corpus too small to keep so little of needs larger thresholds and floors [I].

    Attributes:
        steepness: λ, above 1.
        threshold: ω, up to 1.
        exponent: η, up to 1.
        floor: ε, up to 1.
    """

    steepness: float = 1000.0
    threshold: float = 0.1
    exponent: float = 1.0
    floor: float = 0.001

    def __post_init__(self) -> None:
        for name, value in zip(PER_DOMAIN, self.numbers, strict=True):
            largest = np.inf if name == "lambda" else 1.0
            if not (np.isfinite(value) and 0.0 < value <= largest):
                raise InvalidInputError(
                    f"the limit of {name} is {value}; it must be above 0 and at most {largest:g}",
                    field=name,
                )
        if self.steepness <= 1.0:
            raise InvalidInputError(
                f"the limit of lambda is {self.steepness:g}; it must be above 1", field="lambda"
            )

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """In the order of `PER_DOMAIN`."""
        return (self.steepness, self.threshold, self.exponent, self.floor)


PAPER = Limits()


@dataclass(frozen=True, slots=True)
class QuadmixSpace:
    """Vectors of k (r + 4) numbers, domain after domain: α of every rater, λ, ω, η, ε.

    Attributes:
        domains: names, k of them.
        raters: names, r of them.
        steepness: how λ is drawn: "linear" (uniform up to its limit) or "log" (log-uniform from 1).
        limits: the largest numbers that are drawn.
    """

    domains: tuple[str, ...]
    raters: tuple[str, ...]
    steepness: Reading = "linear"
    limits: Limits = PAPER

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        return len(self.domains) * self.block

    @property
    def block(self) -> int:
        """How many of them are one domain's."""
        return len(self.raters) + len(PER_DOMAIN)

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers of a vector are, as in "web/alpha/edu" or "web/omega"."""
        parts = (*(f"alpha/{rater}" for rater in self.raters), *PER_DOMAIN)
        return tuple(f"{domain}/{part}" for domain in self.domains for part in parts)

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return vectors `(count, k (r + 4))` drawn as the paper draws them; see `parameters_at`.

        The same generator gives the same vectors, drawn at once or in parts.
        """
        k, r = len(self.domains), len(self.raters)
        uniforms = rng.random((count, r + self.size))
        trust, rest = uniforms[:, :r], uniforms[:, r:].reshape(count, k, self.block)
        drawn = parameters_at(trust, rest[..., :r], rest[..., r:], self.steepness, self.limits)
        scalars = np.stack(list(drawn.scalars.values()), axis=-1)
        return np.concatenate([drawn.rater_weights, scalars], axis=-1).reshape(count, self.size)

    def encode(self, parameters: Parameters) -> FloatArray:
        """Return parameters as a vector `(k (r + 4),)`."""
        scalars = np.column_stack(list(parameters.scalars.values()))
        return np.concatenate([parameters.rater_weights, scalars], axis=1).ravel()

    def decode(self, vector: FloatArray) -> Parameters:
        """Return the parameters that a vector describes.

        Rater weights are divided by their sum: averages of vectors are off by rounding.

        Raises:
            InvalidInputError: it has another length, or describes no parameters.
        """
        if np.shape(vector) != (self.size,):
            raise InvalidInputError(
                f"a vector of {np.shape(vector)} numbers; {len(self.domains)} domains and "
                f"{len(self.raters)} raters need {self.size}",
                field="parameters",
            )
        rows = np.asarray(vector, dtype=np.float64).reshape(len(self.domains), self.block)
        weights, scalars = rows[:, : len(self.raters)], rows[:, len(self.raters) :]
        check_parameters(Parameters(weights, *scalars.T), self.domains, len(self.raters))
        return Parameters(weights / weights.sum(axis=1, keepdims=True), *scalars.T.copy())

    def check(self, vector: FloatArray) -> None:
        """Check that the sampler can draw a vector: the region that proxies can know of.

        Raises:
            InvalidInputError: it describes no parameters, or lies outside.
        """
        for domain, name, detail in self.outside(self.decode(vector)):
            raise InvalidInputError(f"{name} of domain '{domain}' {detail}", f"{domain}/{name}")

    def outside(self, parameters: Parameters) -> Iterator[tuple[str, str, str]]:
        """Yield domain, number and why, for every number that the sampler cannot draw."""
        lowest = 1.0 if self.steepness == "log" else 0.0
        ranges = zip((lowest, 0.0, 0.0, 0.0), self.limits.numbers, strict=True)
        for (name, values), (low, high) in zip(parameters.scalars.items(), ranges, strict=True):
            for place in np.flatnonzero((values < low) | (values > high)):
                detail = f"is {values[place]:g}; searched is {low:g} to {high:g}"
                yield self.domains[place], name, detail

    def describe(self, vector: FloatArray) -> dict[str, float]:
        """Return the numbers of a vector by their names."""
        return dict(zip(self.names, np.asarray(vector).tolist(), strict=True))

    def expected_tokens(self, vectors: FloatArray, available_tokens: FloatArray) -> FloatArray:
        """Return the tokens that vectors `(q, k (r + 4))` select of each domain, `(q, k)`.

        See `expected_shares`: no sample is needed, but ties are taken as broken.

        Args:
            vectors: shape `(q, k (r + 4))`.
            available_tokens: shape `(k,)`.
        """
        rows = vectors.reshape(len(vectors), len(self.domains), self.block)
        scalars = np.moveaxis(rows[..., len(self.raters) :], -1, 0)
        return expected_shares(*scalars) * available_tokens


def parameters_at(
    trust: FloatArray,
    own: FloatArray,
    scalars: FloatArray,
    steepness: Reading = "linear",
    limits: Limits = PAPER,
) -> Parameters:
    """Return the parameters that uniform numbers stand for [X, algorithm 1].

    α is in proportion to a b: how much a rater is trusted everywhere times how much in the domain.

    Args:
        trust: shape `(..., r)`, a, in (0, 1).
        own: shape `(..., k, r)`, b.
        scalars: shape `(..., k, 4)`, the u of λ, ω, η and ε.
        steepness: "linear" (λ = 10^3 u) or "log" (λ = 10^(3u)).
        limits: the largest numbers; 10^3, .1, 1 and 10^-3 in the paper.
    """
    products = trust[..., None, :] * own
    u = np.moveaxis(scalars, -1, 0)
    is_log = steepness == "log"
    return Parameters(
        rater_weights=products / products.sum(axis=-1, keepdims=True),
        steepness=limits.steepness ** u[0] if is_log else limits.steepness * u[0],
        threshold=limits.threshold * u[1],
        exponent=limits.exponent * u[2],
        floor=limits.floor * u[3],
    )


def space_of(
    domains: Sequence[str],
    raters: Sequence[str],
    steepness: str = "linear",
    limits: Limits = PAPER,
) -> QuadmixSpace:
    """Return the space of named domains and raters.

    Raises:
        InvalidInputError: none are named, one twice, or the reading of λ is unknown.
    """
    for what, names in (("domains", domains), ("raters", raters)):
        if not names or len(set(names)) < len(names):
            raise InvalidInputError(f"name {what}, each once; got {list(names)}", field=what)
    if steepness not in ("linear", "log"):
        raise InvalidInputError(
            f"steepness is '{steepness}'; it must be linear or log", field="steepness"
        )
    reading: Reading = "log" if steepness == "log" else "linear"
    return QuadmixSpace(tuple(domains), tuple(raters), reading, limits)
