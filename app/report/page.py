"""The report: one HTML page with everything inside it, readable without a network."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from app.report import (
    calibration,
    constraints,
    fidelities,
    fidelity_pictures,
    headline,
    optimisation,
    slice_pictures,
    slices,
    tables,
    weights,
)
from app.report.documents import Document
from app.report.filling import fill
from app.report.numbers import sentence
from app.report.optimisation_section import Section, section
from app.report.runs import label, name, succeeded, weights_of
from app.report.sampling import SamplingSection, sampling_section, scalar_names
from app.studies.spaces import Points
from mixwright.arrays import IntArray
from mixwright.model import MixtureModel
from mixwright.study import Study


def render_report(
    study: Document,
    recommendation: Document,
    fit_report: Document,
    runs: Sequence[Document],
    model: MixtureModel,
    history: Document | None = None,
    implied: Document | None = None,
) -> str:
    """Return the report on a recommendation as one self-contained HTML page.

    The page loads nothing: style, scripts, data and pictures are inside it, and its content
    security policy forbids every connection and every script but the two it came with.

    Args:
        study: the study as `GET /v1/studies/{study}` answers it.
        recommendation: the recommendation as `GET /v1/recommendations/{rec}` answers it.
        fit_report: what the fit knows about itself (`FitReport.to_json()`).
        runs: runs of the study, each with `id`, `external_id`, `fidelity`, `weights`,
            `metrics` and `state`.
        model: the fitted model, from which the effect slices are computed.
        history: what Bayesian optimisation thought, as `GET /v1/studies/{study}/optimisations`
            answers it; without a step the page has no section on it.
        implied: what a sampling function made of the recommendation implies, as
            `GET /v1/sampling-functions/{id}` answers it; for recommended parameters of QuaDMix.
    """
    points = Points(study)
    core, recommendation = points.study, _as_weights(points, recommendation)
    counting = [_as_weights(points, run) for run in succeeded(runs)]
    recommendation = _without_negative_zeros(recommendation)
    labels, held_out = _labels(counting, fit_report["out_of_fold"]["run_ids"])
    sampling: SamplingSection | None = None
    if points.kind == "quadmix":
        fitted = [run for run in counting if run["fidelity"] == fit_report["fidelity"]]
        sampling = sampling_section(core, study, recommendation, fitted, implied)
    effects = _effects(core, recommendation, model) if sampling is None else NO_EFFECTS
    scales = _scales(core, recommendation, fit_report, counting, model)
    run_names = {run["id"]: name(run) for run in counting}
    comparisons = headline.compare(recommendation, fit_report["fidelity"], run_names)
    shown = optimisation.longest(core, history)
    optimised: Section | None = None
    if shown is not None and sampling is None:
        ordered = [row.domain for row in effects["rows"]]
        optimised = section(core, shown, recommendation, fit_report, counting, run_names, ordered)
    panels = [*effects["panels"], *scales["panels"], *scales["distribution"]]
    panels += optimised.panels if optimised else []
    panels += sampling.panels if sampling else []
    return fill(
        "report",
        {
            "study_name": study["name"],
            "target_fidelity": core.target_fidelity,
            "fit_report": fit_report,
            "space": points.kind,
            "sampling": sampling,
            "letters": scalar_names(),
            "summary": headline.summarise(recommendation["weights"]),
            "comparisons": comparisons,
            "promise": headline.promise(comparisons),
            "cautions": [
                *headline.changes(study, recommendation),
                *headline.cautions(core, recommendation, fit_report, counting),
                *optimisation.doubts(optimised.outliers if optimised else ()),
            ],
            "domains": weights.domain_table(core, recommendation),
            "effects": effects,
            "scales": scales,
            "optimisation": optimised,
            "validation": tables.validation_rows(core, fit_report),
            "transfer": tables.transfer_rows(fit_report, core.target_fidelity),
            "reason": sentence(fit_report["chosen"]["reason"]),
            "candidates": tables.candidate_rows(fit_report),
            "constraints": constraints.active_constraints(
                core, recommendation["active_constraints"]
            ),
            "provenance": tables.provenance_rows(core, recommendation, fit_report),
            "data": {
                "labels": labels,
                "calibration": calibration.panels(core.metric_names, fit_report, held_out),
                "pictures": {panel.id: panel.picture for panel in panels},
            },
        },
    )


NO_EFFECTS: dict[str, Any] = {"panels": [], "rows": [], "near": slices.NEAR}
"""Shares of coordinates of parameters are not what anybody thinks in."""


def _as_weights(points: Points, document: Document) -> Document:
    """Return a run or a recommendation with its coordinates as weights."""
    if points.is_mixture:
        return document
    return {**document, "weights": points.read(document["parameters"])}


def _without_negative_zeros(recommendation: Document) -> Document:
    """Return the recommendation with weights of at least 0: solvers miss that by 1e-17."""
    weights_now = {name: max(0.0, weight) for name, weight in recommendation["weights"].items()}
    return {**recommendation, "weights": weights_now}


def _labels(counting: Sequence[Document], held_out: Sequence[str]) -> tuple[list[str], IntArray]:
    """Return every label on the page, and the positions of those of the held-out runs.

    A run that was fitted on and retracted later is known by its identifier alone.
    """
    position = {run["id"]: index for index, run in enumerate(counting)}
    labels = [label(run) for run in counting]
    for run_id in held_out:
        if run_id not in position:
            position[run_id] = len(labels)
            labels.append(f"<b>{escape(run_id)}</b>")
    return labels, np.array([position[run_id] for run_id in held_out], dtype=np.int64)


def _effects(study: Study, recommendation: Document, model: MixtureModel) -> dict[str, Any]:
    recommended = weights_of(recommendation["weights"], study.domain_names)
    found = slices.effect_slices(study.domains, recommended, model)
    return {
        "panels": slice_pictures.slice_panels(found),
        "rows": slices.slice_rows(found),
        "near": slices.NEAR,
    }


def _scales(
    study: Study,
    recommendation: Document,
    fit_report: Document,
    counting: Sequence[Document],
    model: MixtureModel,
) -> dict[str, Any]:
    runs = fidelities.measured_runs(study, counting)
    names = fidelities.with_runs(study, runs)
    return {
        "names": names,
        "distribution": [
            fidelity_pictures.distribution_panel(
                names, runs, fit_report["fidelity"], recommendation["objective"]["mean"]
            )
        ]
        if names
        else [],
        "panels": [
            *fidelity_pictures.transfer_panels(names, runs, fit_report, model),
            *fidelity_pictures.pair_panels(names, runs),
        ],
    }
