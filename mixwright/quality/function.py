"""The sampling function of QuaDMix: how many copies of a document to expect, by its scores.

Source:
    Liu et al., "QuaDMix: Quality-Diversity Balanced Data Selection for Efficient LLM Pretraining",
    arXiv:2504.16511, equations 1 to 3 [X].

Departures from the paper:
    * Scores are normalised by their z-scores or normal quantiles; the paper does not say how [I].
    * Whether the fraction of a copy is kept is decided by a uniform number that is a hash of the
      document's name (see `mixwright.quality.uniforms`) and not by a generator's state.

The arithmetic is the client's, `mixwright_client.sampling_function`: it is computed there and here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.quality.parameters import PER_DOMAIN, Parameters, check_parameters
from mixwright.quality.ranks import RankTable
from mixwright.quality.raters import Rater, check_scores
from mixwright_client import sampling_function
from mixwright_client.sampling_function import FORMAT, round_copies

__all__ = ["SamplingFunction", "check_index", "expected_copies_at", "merge_scores", "round_copies"]


def expected_copies_at(
    ranks: FloatArray, parameters: Parameters, domain_index: IntArray
) -> FloatArray:
    """Return S(r), the expected copies of documents at token-weighted ranks of their domains.

    S(r) = [2 / (1 + exp(-λ(ω - r)))]^η + ε where r <= ω, and ε elsewhere [X, equation 3]. It falls
    with the rank, from less than 2^η + ε to 1 + ε at ω, and there by exactly 1.

    Args:
        ranks: shape `(n,)`, in [0, 1]; 0 is best.
        parameters: of k domains.
        domain_index: shape `(n,)`, which domain each document is of.

    Returns:
        Shape `(n,)`.
    """
    numbers = (one[domain_index] for one in parameters.scalars.values())
    return sampling_function.expected_copies_at(ranks, *numbers)


def merge_scores(
    raters: Sequence[Rater], rater_weights: FloatArray, domain_index: IntArray, scores: FloatArray
) -> FloatArray:
    """Return merged scores `(n,)`, smaller is better [X, equation 1]: Σ α σ(score).

    A document's merged score does not depend on what else is in the batch, to the last bit.

    Args:
        raters: r of them.
        rater_weights: shape `(k, r)`, α.
        domain_index: shape `(n,)`.
        scores: shape `(n, r)`, raw.
    """
    penalties = [rater.penalty(scores[:, column]) for column, rater in enumerate(raters)]
    return sampling_function.merge(rater_weights[domain_index], penalties)


@dataclass(frozen=True, slots=True)
class SamplingFunction:
    """Everything that is needed to sample documents: a pure function of domain and scores.

    Attributes:
        raters: r of them, in the order of the columns of `scores`.
        domains: names, k of them.
        parameters: θ.
        ranks: k tables of the ranks that merged scores have inside a domain.

    Raises:
        InvalidInputError: the parts do not belong together.
    """

    raters: tuple[Rater, ...]
    domains: tuple[str, ...]
    parameters: Parameters
    ranks: tuple[RankTable, ...]

    def __post_init__(self) -> None:
        for what, names in (("raters", self.rater_names), ("domains", self.domains)):
            are_texts = all(isinstance(name, str) for name in names)
            if not names or not are_texts or len(set(names)) < len(names):
                raise InvalidInputError(f"{what} must be named, each once: {names}", field=what)
        for rater in self.raters:
            rater.check()
        if len(self.ranks) != len(self.domains):
            raise InvalidInputError(
                f"{len(self.ranks)} tables of ranks for {len(self.domains)} domains", field="ranks"
            )
        check_parameters(self.parameters, self.domains, len(self.raters))

    @property
    def rater_names(self) -> tuple[str, ...]:
        """Names of the raters, in the order of the columns of `scores`."""
        return tuple(rater.name for rater in self.raters)

    def index_of(self, domains: Sequence[str]) -> IntArray:
        """Return the places of named domains, `(n,)`.

        Raises:
            InvalidInputError: the function does not know a domain.
        """
        places = {name: place for place, name in enumerate(self.domains)}
        unknown = sorted({str(name) for name in domains if name not in places})
        if unknown:
            raise InvalidInputError(
                f"the sampling function knows no domain {', '.join(map(repr, unknown[:5]))}; it "
                f"knows {', '.join(self.domains)}",
                field="domain",
            )
        return np.array([places[name] for name in domains], dtype=np.int64)

    def merged(self, domain_index: IntArray, scores: FloatArray) -> FloatArray:
        """Return merged scores `(n,)`, smaller is better; see `merge_scores`.

        Raises:
            InvalidInputError: see `expected_copies`.
        """
        check_scores(scores, self.rater_names)
        check_index(domain_index, len(scores), len(self.domains))
        return merge_scores(self.raters, self.parameters.rater_weights, domain_index, scores)

    def rank(self, domain_index: IntArray, scores: FloatArray) -> FloatArray:
        """Return token-weighted ranks inside the domain, `(n,)` in [0, 1] [X, equation 2].

        Raises:
            InvalidInputError: see `expected_copies`.
        """
        merged = self.merged(domain_index, scores)
        ranks = np.empty(len(merged))
        for domain in np.unique(domain_index):
            rows = domain_index == domain
            ranks[rows] = self.ranks[domain].rank(merged[rows])
        return ranks

    def expected_copies(self, domain_index: IntArray, scores: FloatArray) -> FloatArray:
        """Return S of every document.

        Args:
            domain_index: shape `(n,)`, places in `domains`; see `index_of`.
            scores: shape `(n, r)`, raw, columns in the order of `raters`.

        Returns:
            Shape `(n,)`, from ε to 2^η + ε.

        Raises:
            InvalidInputError: a score is not finite, there are not r columns, or a domain index is
                not one of k.
        """
        return expected_copies_at(self.rank(domain_index, scores), self.parameters, domain_index)

    def copies(self, domain_index: IntArray, scores: FloatArray, uniforms: FloatArray) -> IntArray:
        """Return how many copies of each document to take: floor(S) + Bernoulli(S - floor(S)).

        Args:
            domain_index: shape `(n,)`.
            scores: shape `(n, r)`.
            uniforms: shape `(n,)`, in [0, 1); see `mixwright.quality.uniforms`. A document gets
                the further copy if its number is below the fraction.

        Returns:
            Shape `(n,)`, 0 to 3.

        Raises:
            InvalidInputError: see `expected_copies`; or `uniforms` is not one for each document.
        """
        if np.shape(uniforms) != (len(scores),):
            raise InvalidInputError(
                f"uniforms have shape {np.shape(uniforms)}; {len(scores)} documents need one each",
                field="uniforms",
            )
        return round_copies(self.expected_copies(domain_index, scores), uniforms)

    def to_json(self) -> str:
        """Return the function as canonical JSON: equal functions are equal texts."""
        document = {
            "format": FORMAT,
            "raters": [rater.to_json() for rater in self.raters],
            "domains": [self._domain(place) for place in range(len(self.domains))],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the function that `to_json` wrote, bit for bit.

        Raises:
            InvalidInputError: `text` is no sampling function, or one of another format.
        """
        document = _parse(text)
        try:
            raters = tuple(Rater.from_json(rater) for rater in document["raters"])
            domains = document["domains"]
            return cls(
                raters=raters,
                domains=tuple(one["name"] for one in domains),
                parameters=_parameters(domains, [rater.name for rater in raters]),
                ranks=tuple(RankTable(**_arrays(one["ranks"])) for one in domains),
            )
        except InvalidInputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InvalidInputError(f"the sampling function has a wrong part: {error!r}") from error

    def _domain(self, place: int) -> dict[str, Any]:
        weights = self.parameters.rater_weights[place].tolist()
        table = self.ranks[place]
        return {
            "name": self.domains[place],
            "rater_weights": dict(zip(self.rater_names, weights, strict=True)),
            **{name: float(one[place]) for name, one in self.parameters.scalars.items()},
            "ranks": {"values": table.values.tolist(), "ranks": table.ranks.tolist()},
        }


def check_index(domain_index: IntArray, num_documents: int, num_domains: int) -> None:
    """Check that every document has the place of one of the domains.

    Raises:
        InvalidInputError: otherwise.
    """
    if domain_index.shape != (num_documents,):
        raise InvalidInputError(
            f"domain_index has shape {domain_index.shape}; {num_documents} documents need one each",
            field="domain_index",
        )
    wrong = (domain_index < 0) | (domain_index >= num_domains)
    if wrong.any():
        raise InvalidInputError(
            f"domain_index has {domain_index[wrong.argmax()]}; it must be 0 to {num_domains - 1}",
            field="domain_index",
        )


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"the sampling function is not JSON: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise InvalidInputError(
            f"the format of the sampling function is {found!r}; expected {FORMAT!r}", field="format"
        )
    return dict(document)


def _arrays(lists: dict[str, Any]) -> dict[str, FloatArray]:
    return {name: np.array(one, dtype=np.float64) for name, one in lists.items()}


def _parameters(domains: list[dict[str, Any]], raters: list[str]) -> Parameters:
    scalars = (np.array([one[name] for one in domains], dtype=np.float64) for name in PER_DOMAIN)
    rows = [[one["rater_weights"][name] for name in raters] for one in domains]
    return Parameters(np.array(rows, dtype=np.float64), *scalars)
