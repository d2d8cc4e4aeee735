"""The tables about the fit: cross-validation, transfer, candidates, provenance."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.report.documents import Document
from app.report.numbers import ABSENT, fixed, significant
from mixwright.study import Study


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """Cross-validated statistics of one metric, and its rank correlation at other fidelities."""

    name: str
    objective_weight: str
    statistics: list[str]
    runs: str
    transfer: list[str]


@dataclass(frozen=True, slots=True)
class TransferRow:
    """How the fit ranks the runs of a fidelity that it was not fitted on."""

    fidelity: str
    is_target: bool
    runs: int
    objective: str
    mean: str
    worst: str
    worst_metric: str


def validation_rows(study: Study, fit_report: Document) -> list[ValidationRow]:
    """Return a row for the objective and one for each metric of the study.

    The columns of `transfer` are the fidelities of `fit_report["transfer"]`, in that order; a
    metric that could not be fitted has dashes.
    """
    elsewhere = fit_report["transfer"].values()
    rows = [
        _validation_row(
            "Objective", "", fit_report["objective"], [there["objective"] for there in elsewhere]
        )
    ]
    for metric, weight in zip(study.metrics, study.objective, strict=True):
        here = fit_report["metrics"].get(metric.name, {})
        there = [there["metrics"].get(metric.name, {}) for there in elsewhere]
        rows.append(_validation_row(metric.name, significant(float(weight)), here, there))
    return rows


def _validation_row(
    name: str, weight: str, here: Document, elsewhere: Sequence[Document]
) -> ValidationRow:
    return ValidationRow(
        name=name,
        objective_weight=weight,
        statistics=[
            fixed(here.get("spearman"), 3),
            fixed(here.get("r2"), 3),
            significant(here.get("mae")),
            fixed(here.get("coverage"), 3),
        ],
        runs=str(here.get("runs", 0)),
        transfer=[fixed(statistics.get("spearman"), 3) for statistics in elsewhere],
    )


def transfer_rows(fit_report: Document, target: str) -> list[TransferRow]:
    """Return a row for each fidelity that has runs but was not fitted."""
    return [
        _transfer_row(fidelity, there, target) for fidelity, there in fit_report["transfer"].items()
    ]


def _transfer_row(fidelity: str, there: Document, target: str) -> TransferRow:
    known = {
        name: statistics["spearman"]
        for name, statistics in there["metrics"].items()
        if statistics["spearman"] is not None
    }
    worst = min(known, key=lambda name: known[name]) if known else None
    return TransferRow(
        fidelity=fidelity,
        is_target=fidelity == target,
        runs=there["runs"],
        objective=fixed(there["objective"]["spearman"], 3),
        mean=fixed(sum(known.values()) / len(known), 3) if known else ABSENT,
        worst=ABSENT if worst is None else fixed(known[worst], 3),
        worst_metric=worst or "",
    )


def candidate_rows(fit_report: Document) -> list[tuple[str, str]]:
    """Return the surrogates that were compared, with their cross-validated error, best first."""
    ordered = sorted(fit_report["chosen"]["candidates"], key=lambda one: one["cv_error"])
    return [(candidate["surrogate"], significant(candidate["cv_error"])) for candidate in ordered]


def provenance_rows(
    study: Study, recommendation: Document, fit_report: Document
) -> list[tuple[str, str]]:
    """Return where the recommendation comes from, as terms and their values."""
    origin = recommendation.get("provenance", {})
    terms = {
        "Recommendation": recommendation.get("id"),
        "Created": recommendation.get("created_at"),
        "Method": recommendation.get("method"),
        "Fit": origin.get("fit"),
        "Surrogate": fit_report["chosen"]["surrogate"],
        "Fitted at fidelity": fit_report["fidelity"],
        "Target fidelity": study.target_fidelity,
        "Runs used": f"{fit_report['runs_used']} of {fit_report['runs_available']}",
        "Runs digest": origin.get("runs_digest"),
        "Seed": origin.get("seed"),
        "Mixwright version": origin.get("version"),
        "Digest of this recommendation": recommendation.get("digest"),
    }
    return [(term, str(value)) for term, value in terms.items() if value is not None]
