"""The limits of the study that keep the recommended mixture where it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.report.documents import Document
from app.report.numbers import percent, significant
from mixwright.study import Study

OF_A_DOMAIN = {
    "lower": "Lower bound",
    "upper": "Upper bound",
    "repetition": "Repetition limit",
}


@dataclass(frozen=True, slots=True)
class ConstraintRow:
    """A constraint that the recommended mixture touches.

    Attributes:
        gain: how much lower the objective would be for each percentage point of loosening, ""
            where the method does not know.
    """

    subject: str
    kind: str
    value: str
    bound: str
    gain: str


@dataclass(frozen=True, slots=True)
class ActiveConstraints:
    """The constraints worth a row, and the domains that merely have no share."""

    rows: list[ConstraintRow]
    without_share: list[str]


def active_constraints(study: Study, active: Sequence[Document]) -> ActiveConstraints:
    """Return `active`, as the recommendation lists it, in words.

    That a share cannot be negative is a constraint like any other, but as a row for every unused
    domain it would hide the constraints that somebody chose.
    """
    without_share, rows = [], []
    for constraint in active:
        kind, _, subject = constraint["name"].partition(":")
        if kind == "lower" and constraint["bound"] == 0:
            without_share.append(subject)
        else:
            rows.append(_row(study, kind, subject, constraint))
    return ActiveConstraints(rows, without_share)


def _row(study: Study, kind: str, subject: str, constraint: Document) -> ConstraintRow:
    if kind in OF_A_DOMAIN:
        return ConstraintRow(
            subject=subject,
            kind=OF_A_DOMAIN[kind],
            value=percent(constraint["value"], 2),
            bound=percent(constraint["bound"], 2),
            gain=_gain(constraint),
        )
    return ConstraintRow(
        subject=_sum_of(study, subject) if kind == "linear" else constraint["name"],
        kind="Linear constraint" if kind == "linear" else constraint["kind"],
        value=significant(constraint["value"], 4),
        bound=significant(constraint["bound"], 4),
        gain=_gain(constraint),
    )


def _gain(constraint: Document) -> str:
    price = constraint.get("shadow_price")
    return "" if price is None else significant(price / 100)


def _sum_of(study: Study, subject: str, most: int = 8) -> str:
    """Return the left side of linear constraint `subject`, which is `index:side`."""
    index, _, side = subject.partition(":")
    if int(index) >= len(study.linear):  # the study has been changed since
        return subject
    coefficients = study.linear[int(index)].coefficients
    terms = [
        name if coefficient == 1 else f"{coefficient:g} {name}"
        for name, coefficient in zip(study.domain_names, coefficients, strict=True)
        if coefficient
    ]
    shown = " + ".join(terms[:most])
    more = f" + {len(terms) - most} more" if len(terms) > most else ""
    return f"{shown}{more}, {side} limit"
