"""The mixture that goes into an export, and what comes out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mixwright.errors import InvalidInputError, NotOnSimplexError
from mixwright.exports.units import Unit
from mixwright.simplex import SUM_TOLERANCE

SMALLEST_AMOUNT, LARGEST_AMOUNT = 1e-3, 1e21
"""Of tokens and epochs: wide enough for any, narrow enough that no quotient overflows."""


@dataclass(frozen=True, slots=True)
class ExportedMixture:
    """A mixture with what is known about its data.

    Attributes:
        mixture_id: what the exported text cites.
        version: of the mixture, so that a later one can be told apart.
        domains: in registered order, which positional formats keep.
        weights: token share by domain, sum 1 (normalised on export).
        tokens: available tokens by domain, where known.
        mean_document_tokens: by domain, where known.
        token_budget: tokens of the training, or None.
        sequence_length: tokens per sequence, or None.
        paths: where the data lies, by domain, where known.
        max_epochs: how often a domain may be repeated before a warning, or None.
        seed: for the loader, or None.

    Raises:
        InvalidInputError: a field is out of range, or names a domain that is not in `domains`.
        NotOnSimplexError: the weights are negative, not finite, or do not sum to 1.
    """

    mixture_id: str
    version: int
    domains: tuple[str, ...]
    weights: Mapping[str, float]
    tokens: Mapping[str, float] = field(default_factory=dict)
    mean_document_tokens: Mapping[str, float] = field(default_factory=dict)
    token_budget: float | None = None
    sequence_length: int | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    max_epochs: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        self._check_names()
        self._check_weights()
        self._check_amounts()

    def _check_names(self) -> None:
        domains = set(self.domains)
        if not domains or len(domains) < len(self.domains):
            raise InvalidInputError("domains: give at least one, each once", "domains")
        for name, values in (
            ("weights", self.weights),
            ("tokens", self.tokens),
            ("mean_document_tokens", self.mean_document_tokens),
            ("paths", self.paths),
        ):
            unknown = [domain for domain in values if domain not in domains]
            if unknown:
                raise InvalidInputError(
                    f"{name}: {unknown[0]!r} is not a domain of the mixture; there are "
                    f"{', '.join(map(repr, self.domains))}",
                    name,
                )

    def _check_weights(self) -> None:
        for domain in self.domains:
            weight = self.weights.get(domain)
            if weight is None or not math.isfinite(weight) or weight < 0:
                raise NotOnSimplexError(
                    f"weights: {domain!r} has {weight}; give a finite number of 0 or more",
                    "weights",
                )
        total = math.fsum(self.weights.values())
        if abs(total - 1) > SUM_TOLERANCE:
            raise NotOnSimplexError(f"weights: they sum to {total:.6g} instead of 1", "weights")

    def _check_amounts(self) -> None:
        amounts = [
            *((f"tokens of {domain!r}", n) for domain, n in self.tokens.items()),
            *((f"mean_document_tokens of {d!r}", n) for d, n in self.mean_document_tokens.items()),
            ("token_budget", self.token_budget),
            ("sequence_length", self.sequence_length),
            ("max_epochs", self.max_epochs),
        ]
        for name, amount in amounts:
            if amount is not None and not SMALLEST_AMOUNT <= amount <= LARGEST_AMOUNT:
                raise InvalidInputError(
                    f"{name} is {amount}; give a number from {SMALLEST_AMOUNT:g} to "
                    f"{LARGEST_AMOUNT:g}",
                    name.split()[0],
                )


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Text to paste into a trainer or save as a file.

    Attributes:
        unit: what a weight in it means.
        text: ends with a newline.
        warnings: what to check before training; also inside the text.
        media_type: of the text.
        filename: to save it as.
    """

    unit: Unit
    text: str
    warnings: tuple[str, ...]
    media_type: str
    filename: str
