"""The canonical form of a mixture: the source of every other export, and what its digest covers.

Numbers are decided once, here: domains below `MIN_WEIGHT` are left out by name, the rest is
normalised and rounded to `DECIMALS` decimals by the largest remainder, so that the printed decimals
sum to exactly 1. (numpy's multinomial check, which Hugging Face's loader uses, refuses sums that
are off by 1.5e-8.) Every other unit is computed from these decimals.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.exports import units
from mixwright.exports.base import ExportedMixture
from mixwright.exports.units import UNITS, Unit

MIN_WEIGHT = 1e-6
DECIMALS = 12


@dataclass(frozen=True, slots=True)
class PreparedMixture:
    """A mixture whose numbers are final.

    Attributes:
        mixture: as given.
        unit: of `values`.
        shares: token share by kept domain, in registered order; decimals that sum to 1.
        values: the same in `unit`.
        dropped: domains whose share is below `MIN_WEIGHT`.
        epochs: expected passes over each domain, where they can be known.
        sha256: digest of the canonical JSON.
    """

    mixture: ExportedMixture
    unit: Unit
    shares: Mapping[str, Decimal]
    values: Mapping[str, Decimal]
    dropped: tuple[str, ...]
    epochs: Mapping[str, float]
    sha256: str

    @property
    def domains(self) -> tuple[str, ...]:
        """The kept domains in registered order."""
        return tuple(self.shares)

    def path(self, domain: str) -> str:
        """Return where the domain's data lies, or a placeholder."""
        return self.mixture.paths.get(domain, f"/path/to/{domain}")


def prepare(mixture: ExportedMixture, unit: Unit) -> PreparedMixture:
    """Return the mixture with final numbers in `unit`.

    Raises:
        InvalidInputError: the unit needs something that is not known of every kept domain, or a
            value is 0 at the precision that is printed.
    """
    shares, dropped = canonical_shares(mixture)
    epochs = expected_epochs(mixture, shares)
    return PreparedMixture(
        mixture=mixture,
        unit=unit,
        shares=shares,
        values=_in_unit(mixture, shares, unit),
        dropped=dropped,
        epochs=epochs,
        sha256=digest(_document(mixture, shares, epochs)),
    )


def canonical_shares(mixture: ExportedMixture) -> tuple[dict[str, Decimal], tuple[str, ...]]:
    """Return the token shares of the kept domains, and the names of the dropped ones."""
    weights = np.array([mixture.weights[domain] for domain in mixture.domains], dtype=np.float64)
    kept = weights / weights.sum() >= MIN_WEIGHT
    domains = [domain for domain, keep in zip(mixture.domains, kept, strict=True) if keep]
    dropped = tuple(domain for domain, keep in zip(mixture.domains, kept, strict=True) if not keep)
    return _decimals(domains, weights[kept]), dropped


def expected_epochs(mixture: ExportedMixture, shares: Mapping[str, Decimal]) -> dict[str, float]:
    """Return the passes over each domain whose tokens are known, if the budget is known."""
    if mixture.token_budget is None:
        return {}
    return {
        domain: float(share) * mixture.token_budget / mixture.tokens[domain]
        for domain, share in shares.items()
        if domain in mixture.tokens
    }


def digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a canonical document without its own `sha256`.

    The digest is over its JSON with sorted keys, no blanks and ASCII only.
    """
    content = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def as_count(amount: float | None) -> float | int | None:
    """Return a whole amount as an int, so that 1e12 and 1000000000000 are printed alike."""
    return int(amount) if amount is not None and float(amount).is_integer() else amount


def check(prepared: PreparedMixture) -> list[str]:
    """Return no warnings of its own: the canonical form has no loader."""
    return []


def render(prepared: PreparedMixture, warnings: Sequence[str]) -> str:
    """Return the canonical JSON."""
    document = _document(prepared.mixture, prepared.shares, prepared.epochs)
    return json.dumps({**document, "sha256": prepared.sha256}, indent=2) + "\n"


def _document(
    mixture: ExportedMixture, shares: Mapping[str, Decimal], epochs: Mapping[str, float]
) -> dict[str, Any]:
    # a fixed mixture is a schedule of one stage; more stages follow the same shape
    return {
        "mixture_id": mixture.mixture_id,
        "version": mixture.version,
        "unit": Unit.TOKEN_SHARE.value,
        "sum": float(sum(shares.values())),
        "domains": list(shares),
        "stages": [{"start_token": 0, "weights": {d: float(w) for d, w in shares.items()}}],
        "budget": {
            "tokens": as_count(mixture.token_budget),
            "sequence_length": mixture.sequence_length,
        },
        "expected_epochs": {domain: round(value, 6) for domain, value in epochs.items()},
        "max_epochs": None if mixture.max_epochs is None else float(mixture.max_epochs),
        "seed": mixture.seed,
    }


def _in_unit(
    mixture: ExportedMixture, shares: Mapping[str, Decimal], unit: Unit
) -> dict[str, Decimal]:
    _require(mixture, tuple(shares), unit)
    exact = _convert(mixture, tuple(shares), np.array([float(w) for w in shares.values()]), unit)
    if UNITS[unit].sums_to_one:
        values = _decimals(tuple(shares), exact)
    else:
        rounded = [Decimal(repr(round(float(value), DECIMALS))).normalize() for value in exact]
        values = dict(zip(shares, rounded, strict=True))
    for domain, value in values.items():
        if value == 0:
            raise InvalidInputError(
                f"weights: {domain!r} has 0 {unit.value} at the precision that is printed; leave "
                "the domain out of the mixture or give it more weight",
                "weights",
            )
    return values


def _convert(
    mixture: ExportedMixture, domains: Sequence[str], shares: FloatArray, unit: Unit
) -> FloatArray:
    # `_require` saw to it that what the unit needs is there
    budget, length = cast("float", mixture.token_budget), cast("int", mixture.sequence_length)
    match unit:
        case Unit.TOKEN_SHARE | Unit.SEQUENCE_SHARE:
            return shares
        case Unit.DOCUMENT_PROBABILITY | Unit.ROW_SHARE:
            return units.document_shares(shares, _column(mixture.mean_document_tokens, domains))
        case Unit.EPOCHS:
            return units.epochs(shares, _column(mixture.tokens, domains), budget)
        case Unit.KEPT_FRACTION:
            return units.kept_fractions(shares, _column(mixture.tokens, domains))
        case Unit.SAMPLES:
            return units.samples(shares, budget, length).astype(np.float64)


def _require(mixture: ExportedMixture, domains: Sequence[str], unit: Unit) -> None:
    """Raise if the unit's formula lacks an input."""
    for name in UNITS[unit].needs:
        known = getattr(mixture, name)
        if known is None:
            raise InvalidInputError(
                f"{name} is not known, and {unit.value} = {UNITS[unit].formula} needs it; give "
                f"{name}, or choose another unit",
                name,
            )
        missing = [d for d in domains if isinstance(known, Mapping) and d not in known]
        if missing:
            raise InvalidInputError(
                f"{name} is not known for {', '.join(map(repr, missing))}, and {unit.value} = "
                f"{UNITS[unit].formula} needs it of every domain; give {name} for each, or choose "
                "another unit",
                name,
            )


def _column(values: Mapping[str, float], domains: Sequence[str]) -> FloatArray:
    return np.array([values[domain] for domain in domains], dtype=np.float64)


def _decimals(domains: Sequence[str], shares: FloatArray) -> dict[str, Decimal]:
    """Return shares as decimals that sum to exactly 1."""
    counts = units.apportion(shares, 10**DECIMALS)
    return {
        domain: Decimal(int(count)).scaleb(-DECIMALS).normalize()
        for domain, count in zip(domains, counts, strict=True)
    }
