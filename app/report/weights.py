"""The recommended weights beside the prior, and what each domain's tokens have to bear."""

from dataclasses import dataclass

import numpy as np

from app.report.documents import Document
from app.report.numbers import ABSENT, fixed, percent, percentage_points, tokens
from mixwright.study import Domain, Study


@dataclass(frozen=True, slots=True)
class DomainTable:
    """Every domain, the largest recommended share first; columns that would be empty are left out.

    Attributes:
        limit: how often tokens may be repeated, in words, "" where the study sets no limit.
    """

    rows: "list[DomainRow]"
    has_bounds: bool
    has_tokens: bool
    has_epochs: bool
    limit: str


@dataclass(frozen=True, slots=True)
class DomainRow:
    """One domain; positions are percentages of the bar's width."""

    name: str
    weight: str
    prior: str
    change: str
    bounds: str
    tokens: str
    epochs: str
    at_cap: bool
    bar: float
    prior_mark: float


def domain_table(study: Study, recommendation: Document) -> DomainTable:
    """Return the recommended weights beside the prior."""
    weights, epochs = recommendation["weights"], recommendation["epochs"]
    ordered = sorted(study.domains, key=lambda domain: -weights[domain.name])
    longest = max(max(weights[domain.name], domain.prior) for domain in ordered)
    cap = np.inf if study.repetition is None else study.repetition.max_epochs
    rows = [
        _row(domain, weights[domain.name], epochs.get(domain.name), cap, longest)
        for domain in ordered
    ]
    return DomainTable(
        rows=rows,
        has_bounds=any(row.bounds for row in rows),
        has_tokens=any(domain.tokens is not None for domain in ordered),
        has_epochs=any(epochs.get(domain.name) is not None for domain in ordered),
        limit=_limit(study),
    )


def _limit(study: Study) -> str:
    if study.repetition is None:
        return ""
    epochs, target = study.repetition.max_epochs, tokens(study.repetition.target_tokens)
    return f"at most {epochs:g} epochs of any domain in {target} tokens"


def _row(
    domain: Domain, weight: float, epochs: float | None, cap: float, longest: float
) -> DomainRow:
    return DomainRow(
        name=domain.name,
        weight=percent(weight, 2),
        prior=percent(domain.prior, 2),
        change=percentage_points(weight - domain.prior),
        bounds=_bounds(domain),
        tokens=ABSENT if domain.tokens is None else tokens(domain.tokens),
        epochs=fixed(epochs, 2),
        at_cap=epochs is not None and epochs >= cap * (1 - 1e-6),
        bar=round(100 * weight / longest, 3),
        prior_mark=round(100 * domain.prior / longest, 3),
    )


def _bounds(domain: Domain) -> str:
    if (domain.lower, domain.upper) == (0.0, 1.0):
        return ""
    return f"{percent(domain.lower, 0)} to {percent(domain.upper, 0)}"
