"""From a study's runs to a calibrated model and a report of how far to trust it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError, NotEnoughRunsError
from mixwright.fit_report import FitReport, OutOfFold, Series, Transfer
from mixwright.model import Intervals, MixtureModel, combine
from mixwright.spaces.implied_mixture import seen
from mixwright.study import CompletedRuns, Study
from mixwright.surrogates import FittedSurrogate, Prediction, Surrogate, build_surrogate
from mixwright.surrogates.auto import Auto
from mixwright.surrogates.base import (
    Candidate,
    Choice,
    Choosing,
    OtherRuns,
    UsesOtherFidelities,
    canonical_order,
)
from mixwright.surrogates.cross_validation import assign_folds, cross_fit
from mixwright.validation import Scores, fold_multipliers, interval_multiplier, score

_NO_OPTIONS: Mapping[str, Any] = {}


def _no_progress(_: float) -> None:
    pass


def fit_study(
    study: Study,
    runs: CompletedRuns,
    *,
    surrogate: str = "auto",
    fidelity: str | None = None,
    options: Mapping[str, Any] = _NO_OPTIONS,
    seed: int = 0,
    progress: Callable[[float], None] = _no_progress,
) -> tuple[MixtureModel, FitReport]:
    """Fit a surrogate to one fidelity's runs, cross-validate it and calibrate its intervals.

    Args:
        study: gives the metrics, their directions and the objective.
        runs: every ended run; their order does not matter, to the last bit.
        surrogate: a key of `SURROGATES`.
        fidelity: where to fit; by default the one with the most usable runs, of several such the
            one listed nearest to the target, or the target itself where the surrogate learns from
            all fidelities' runs. A run is usable when it has a metric of the objective.
        options: of the surrogate.
        seed: decides folds and every random choice of the fit.
        progress: called with the share of the work done.

    Raises:
        InvalidInputError: unknown surrogate, option or fidelity; a metric of the objective is
            constant or missing in every run.
        NotEnoughRunsError: fewer usable runs than the surrogate needs.
        FitDidNotConvergeError: the optimiser gave up on a metric.
    """
    if surrogate == "auto" and study.space.members:
        options = {"members": study.space.members, **options}
    recipe, features = build_surrogate(surrogate, options), study.space.features
    sample, warnings = _select(study, runs, recipe, surrogate, fidelity)
    if isinstance(recipe, Auto) and sample.fidelity == study.target_fidelity:
        recipe = build_surrogate(surrogate, {"stiff_share": 0.0, **options})
    others = _others(study, runs, recipe, sample)
    if isinstance(recipe, UsesOtherFidelities) and len(others.fidelity):
        recipe = recipe.beside(replace(others, mixtures=seen(features, others.mixtures)))
        warnings = (*warnings, _about(others))
    progress(0.02)
    folds = assign_folds(sample.values, seed)
    fitted, held_out = cross_fit(
        recipe,
        seen(features, sample.mixtures),
        sample.values,
        folds,
        seed,
        lambda done: progress(0.02 + 0.93 * done),
    )
    progress(0.95)
    model = _calibrate(study, sample, others, surrogate, fitted, held_out)
    report = _report(study, runs, sample, model, held_out, folds, warnings)
    progress(1.0)
    return model, report


def runs_digest(study: Study, runs: CompletedRuns) -> str:
    """Return the SHA-256 of what the runs say, whatever order they come in."""
    names = [study.domain_names, study.metric_names]
    rows = sorted(
        json.dumps([identity, str(fidelity), weights, values])
        for identity, fidelity, weights, values in zip(
            runs.ids,
            runs.fidelity,
            (runs.mixtures + 0.0).tolist(),  # + 0.0: minus zero is zero
            (runs.values + 0.0).tolist(),
            strict=True,
        )
    )
    return hashlib.sha256("\n".join([json.dumps(names), *rows]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Sample:
    """The runs and metrics that are fitted, sorted by content.

    Values are oriented (lower is better), shape `(n, f)`, of the study's columns `metrics` `(f,)`.
    """

    mixtures: FloatArray
    values: FloatArray
    ids: tuple[str, ...]
    metrics: IntArray
    fidelity: str


def _select(
    study: Study, runs: CompletedRuns, recipe: Surrogate, surrogate: str, fidelity: str | None
) -> tuple[_Sample, tuple[str, ...]]:
    """Return the runs and metrics to fit, and warnings about what was left out."""
    usable = np.isfinite(runs.values[:, study.objective != 0]).any(axis=1)
    chosen, chosen_because = _choose_fidelity(study, runs.fidelity[usable], recipe, fidelity)
    rows = np.flatnonzero(runs.fidelity == chosen)
    needed = recipe.min_runs(study.space.freedom(study))
    if len(rows) < needed:
        raise NotEnoughRunsError(
            f"'{surrogate}' needs {needed} runs and fidelity '{chosen}' has {len(rows)}; report "
            f"{needed - len(rows)} more, or choose a surrogate or fidelity that needs fewer"
        )
    oriented = runs.values[rows] * study.signs
    metrics, omitted = _fittable_metrics(study, oriented, needed, surrogate, chosen)
    measured = np.isfinite(oriented[:, metrics]).any(axis=1)
    rows, oriented = rows[measured], oriented[measured][:, metrics]
    by_id = np.argsort([runs.ids[row] for row in rows], kind="stable")
    order = by_id[canonical_order(runs.mixtures[rows[by_id]], oriented[by_id])]
    ids = tuple(runs.ids[row] for row in rows[order])
    sample = _Sample(runs.mixtures[rows[order]], oriented[order], ids, metrics, chosen)
    return sample, (*chosen_because, *omitted)


def _choose_fidelity(
    study: Study,
    usable: "np.ndarray[tuple[int], np.dtype[np.str_]]",
    recipe: Surrogate,
    fidelity: str | None,
) -> tuple[str, tuple[str, ...]]:
    """Return the fidelity to fit, and what to say of the choice, given those of usable runs."""
    known = [one.name for one in study.fidelities]
    if fidelity is not None:
        if fidelity not in known:
            raise InvalidInputError(
                f"no fidelity '{fidelity}'; known: {', '.join(known)}", field="fidelity"
            )
        return fidelity, ()
    counts = [int(np.sum(usable == name)) for name in known]
    target = known.index(study.target_fidelity)
    enough = counts[target] >= recipe.min_runs(study.space.freedom(study))
    if enough and isinstance(recipe, UsesOtherFidelities):
        return study.target_fidelity, ()
    best = max(range(len(known)), key=lambda i: (counts[i], -abs(i - target)))
    if sum(count > 0 for count in counts) < 2:
        return known[best], ()
    return known[best], (
        f"fitted at fidelity '{known[best]}', which has the most usable runs ({counts[best]})",
    )


def _others(study: Study, runs: CompletedRuns, recipe: Surrogate, sample: _Sample) -> OtherRuns:
    """Return the runs of other fidelities that the recipe learns from, sorted by content."""
    if not isinstance(recipe, UsesOtherFidelities):
        return OtherRuns.none(sample.mixtures, sample.values)
    oriented = (runs.values * study.signs)[:, sample.metrics]
    names = [one.name for one in study.fidelities]
    fidelity = np.array([names.index(name) for name in runs.fidelity], dtype=np.int64)
    elsewhere = fidelity != names.index(sample.fidelity)
    rows = np.flatnonzero(elsewhere & np.isfinite(oriented).any(axis=1))
    keys = np.column_stack([fidelity, oriented])[rows]
    rows = rows[canonical_order(runs.mixtures[rows], keys)]
    return OtherRuns(runs.mixtures[rows], oriented[rows], fidelity[rows])


def _about(others: OtherRuns) -> str:
    return (
        f"{len(others.fidelity)} runs of other fidelities were learned from too, so what is said "
        "of the transfer to them is not of runs that were held out"
    )


def _fittable_metrics(
    study: Study, values: FloatArray, needed: int, surrogate: str, fidelity: str
) -> tuple[IntArray, tuple[str, ...]]:
    """Return the columns that can be fitted, and warnings about those that cannot.

    Raises:
        InvalidInputError: a metric of the objective has no value or only one.
        NotEnoughRunsError: a metric of the objective has too few values.
    """
    kept, warnings = [], []
    for index, metric in enumerate(study.metrics):
        present = values[np.isfinite(values[:, index]), index]
        problem = _problem(metric.name, present, needed, surrogate, fidelity)
        if problem is None:
            kept.append(index)
        elif study.objective[index] == 0:
            warnings.append(f"{problem}; it is not in the objective and is not predicted")
        elif len(present) and np.ptp(present) > 0:
            raise NotEnoughRunsError(
                f"{problem}; report more runs, or take it out of the objective"
            )
        else:
            raise InvalidInputError(
                f"{problem}; there is nothing to learn: take it out of the objective",
                field=f"metrics/{metric.name}",
            )
    return np.array(kept, dtype=np.int64), tuple(warnings)


def _problem(
    name: str, present: FloatArray, needed: int, surrogate: str, fidelity: str
) -> str | None:
    """Return why a metric with the values `present` cannot be fitted, or None."""
    if len(present) == 0:
        return f"metric '{name}' is missing in every run at fidelity '{fidelity}'"
    if len(present) > 1 and np.ptp(present) == 0:
        return f"metric '{name}' is {abs(present[0])} in every run at fidelity '{fidelity}'"
    if len(present) < needed:
        return (
            f"metric '{name}' has {len(present)} values at fidelity '{fidelity}', and "
            f"'{surrogate}' needs {needed}"
        )
    return None


def _calibrate(
    study: Study,
    sample: _Sample,
    others: OtherRuns,
    kind: str,
    fitted: FittedSurrogate,
    held_out: Prediction,
) -> MixtureModel:
    """Return the model with intervals scaled to cover the out-of-fold errors."""
    columns = zip(sample.values.T, held_out.mean.T, held_out.std.T, strict=True)
    weights = study.objective[sample.metrics]
    mean, std = combine(held_out.mean, held_out.std, weights)
    observed = _objective_of(sample.values, weights)
    if not np.isfinite(observed).any():
        raise NotEnoughRunsError(
            f"no run at fidelity '{sample.fidelity}' has every metric of the objective; report one "
            "that has, or take the rarer metrics out of the objective"
        )
    return MixtureModel(
        kind=kind,
        fitted=fitted,
        fitted_metrics=sample.metrics,
        mixtures=np.vstack([sample.mixtures, others.mixtures]),
        objective=study.objective,
        signs=study.signs,
        multipliers=np.array([interval_multiplier(*column) for column in columns]),
        objective_multiplier=interval_multiplier(observed, mean, std),
        features=study.space.features,
    )


def _report(
    study: Study,
    runs: CompletedRuns,
    sample: _Sample,
    model: MixtureModel,
    held_out: Prediction,
    folds: IntArray,
    warnings: tuple[str, ...],
) -> FitReport:
    """Return how well the fit predicts, inside the sample and on other fidelities."""
    series, objective = _out_of_fold(study, sample, held_out, folds)
    return FitReport(
        surrogate=model.kind,
        chosen=_choice(model.kind, model.fitted, sample.values, held_out),
        fidelity=sample.fidelity,
        runs_used=len(sample.ids),
        runs_available=len(runs.ids),
        metrics={name: _score(one) for name, one in series.items()},
        objective=_score(objective),
        transfer=_transfer(study, runs, model, sample),
        out_of_fold=OutOfFold(sample.ids, series, objective),
        warnings=warnings,
    )


def _out_of_fold(
    study: Study, sample: _Sample, held_out: Prediction, folds: IntArray
) -> tuple[dict[str, Series], Series]:
    """Return out-of-fold series, as measured, of every fitted metric and of the objective.

    Each fold's intervals are calibrated on the other folds, so that their coverage is honest.
    """
    metrics = {}
    for column, index in enumerate(sample.metrics):
        observed, mean = sample.values[:, column], held_out.mean[:, column]
        std = held_out.std[:, column]
        half = std * fold_multipliers(observed, mean, std, folds)
        series = Series(observed, mean, mean - half, mean + half)
        metrics[study.metrics[index].name] = _as_measured(series, study.signs[index])
    weights = study.objective[sample.metrics]
    mean, std = combine(held_out.mean, held_out.std, weights)
    observed = _objective_of(sample.values, weights)
    half = std * fold_multipliers(observed, mean, std, folds)
    return metrics, Series(observed, mean, mean - half, mean + half)


def _as_measured(series: Series, sign: float) -> Series:
    if sign > 0:
        return series
    return Series(-series.observed, -series.predicted, -series.upper, -series.lower)


def _objective_of(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the objective `(n,)` of oriented values `(n, f)`; NaN where a metric is missing."""
    in_objective = weights != 0
    objective: FloatArray = values[:, in_objective] @ weights[in_objective]
    return objective


def _score(series: Series) -> Scores:
    return score(series.observed, series.predicted, series.lower, series.upper)


def _transfer(
    study: Study, runs: CompletedRuns, model: MixtureModel, sample: _Sample
) -> dict[str, Transfer]:
    """Return the scores on every other fidelity that has runs."""
    scores = {}
    for other in study.fidelities:
        rows = np.flatnonzero(runs.fidelity == other.name)
        if other.name == sample.fidelity or len(rows) == 0:
            continue
        rows = rows[np.argsort([runs.ids[row] for row in rows], kind="stable")]
        scores[other.name] = _transfer_to(study, runs, model, rows)
    return scores


def _transfer_to(
    study: Study, runs: CompletedRuns, model: MixtureModel, rows: IntArray
) -> Transfer:
    values, mixtures = runs.values[rows], runs.mixtures[rows]
    metrics = model.predict(mixtures)
    objective = model.predict_objective(mixtures)
    fitted = model.fitted_metrics
    observed = _objective_of((values * study.signs)[:, fitted], study.objective[fitted])
    return Transfer(
        runs=len(rows),
        metrics={study.metrics[i].name: _score_intervals(values[:, i], metrics, i) for i in fitted},
        objective=score(observed, objective.mean, objective.lower, objective.upper),
    )


def _score_intervals(observed: FloatArray, predicted: Intervals, column: int) -> Scores:
    return score(
        observed,
        predicted.mean[:, column],
        predicted.lower[:, column],
        predicted.upper[:, column],
    )


def _choice(
    surrogate: str, fitted: FittedSurrogate, values: FloatArray, held_out: Prediction
) -> Choice:
    """Return what a surrogate that chooses says, or that the user named this one."""
    if isinstance(fitted, Choosing):
        return fitted.choice()
    errors = np.sqrt(np.nanmean((values - held_out.mean) ** 2, axis=0)) / np.nanstd(values, axis=0)
    return Choice(surrogate, "asked for by name", (Candidate(surrogate, float(errors.mean())),))


__all__ = ["FitReport", "fit_study", "runs_digest"]
