"""The first thing a reader sees: the mixture in a sentence, what it promises, and what to doubt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.report.documents import Document
from app.report.numbers import decimals_for, fixed, lower_or_higher, percent, sentence
from mixwright.study import Study

WEAK_SPEARMAN = 0.7
"""Below this cross-validated rank correlation a ranking of mixtures is not worth much [I]."""

NARROW_COVERAGE = 0.8
"""Intervals meant to hold 90 % of the runs that hold fewer than this are called too narrow [I]."""

BASELINES = {
    "prior": ("Prior", "the prior"),
    "uniform": ("Uniform", "uniform weights"),
    "sampler_mean": ("Mean of the sampler", "the mean of the sampler"),
    "best_observed": ("Best observed run", "the best observed run"),
}
"""Baselines in the order of the page: what each is called in a table and in a sentence."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The mixture in a sentence: its largest shares, and what is left."""

    leading: list[tuple[str, str]]
    other_count: int
    other_share: str
    unused_count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the comparison; positions are percentages of the strip's width.

    Attributes:
        phrase: what the row is called in a sentence.
        note: the run behind the row, if there is one.
        versus: how the recommendation compares with this row: "0.12 lower".
        observed: what the run measured, and at which fidelity if that is another one.
        observed_position: None where nothing was measured that the scale can show.
        overlaps: whether the interval overlaps that of the recommendation.
    """

    label: str
    phrase: str
    note: str
    caveat: str
    mean: str
    interval: str
    versus: str
    overlaps: bool
    observed: str
    position: float
    start: float
    end: float
    observed_position: float | None


def summarise(weights: Mapping[str, float], most: int = 5, enough: float = 0.9) -> Summary:
    """Return the largest shares, until they make up `enough` or there are `most` of them."""
    ordered = sorted(weights.items(), key=lambda item: -item[1])
    used = [(name, weight) for name, weight in ordered if weight >= 5e-4]
    leading: list[tuple[str, float]] = []
    for name, weight in used[:most]:
        if sum(share for _, share in leading) >= enough:
            break
        leading.append((name, weight))
    rest = used[len(leading) :]
    return Summary(
        leading=[(name, percent(weight)) for name, weight in leading],
        other_count=len(rest),
        other_share=percent(sum(weight for _, weight in rest)),
        unused_count=len(ordered) - len(used),
    )


def compare(
    recommendation: Document, fitted: str, run_names: Mapping[str, str]
) -> list[Comparison]:
    """Return the recommendation and its baselines on one scale, the recommendation first.

    Args:
        recommendation: the recommendation.
        fitted: the fidelity that predictions are for; what was measured at another one is told,
            but cannot share their scale.
        run_names: by run identifier, the name that people know a run by.
    """
    baselines = recommendation["baselines"]
    entries = {("Recommended", "the recommendation"): recommendation} | {
        titles: baselines[name] for name, titles in BASELINES.items() if baselines.get(name)
    }
    scale = _scale(list(entries.values()), fitted)
    rows = [
        _row(titles, entry, recommendation["objective"], scale, fitted)
        for titles, entry in entries.items()
    ]
    return [replace(row, note=run_names.get(row.note, row.note)) for row in rows]


def promise(comparisons: Sequence[Comparison]) -> str:
    """Return how the recommendation compares with the baselines, as part of a sentence."""
    parts = [_versus_in_words(row) for row in comparisons[1:]]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _versus_in_words(row: Comparison) -> str:
    preposition = "to" if row.versus == "equal" else "than"
    measured = f", which measured {row.observed}" if row.observed else ""
    return f"{row.versus} {preposition} {row.phrase}{measured}"


def _scale(entries: Sequence[Document], fitted: str) -> tuple[float, float]:
    """Return a scale that holds every interval and comparable value, with a margin."""
    values = [entry["objective"][end] for entry in entries for end in ("lower", "upper")]
    values += [entry["observed"] for entry in entries if entry.get("fidelity") == fitted]
    low, high = min(values), max(values)
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def _row(
    titles: tuple[str, str],
    entry: Document,
    best: Document,
    scale: tuple[float, float],
    fitted: str,
) -> Comparison:
    objective = entry["objective"]
    decimals = 1 + decimals_for(best["upper"] - best["lower"])
    low, high = scale

    def position(value: float) -> float:
        return round(100 * (value - low) / (high - low), 3)

    return Comparison(
        label=titles[0],
        phrase=titles[1],
        note=entry.get("run_id", ""),
        caveat=_caveat(entry),
        mean=fixed(objective["mean"], decimals),
        interval=f"{fixed(objective['lower'], decimals)} to {fixed(objective['upper'], decimals)}",
        versus=lower_or_higher(best["mean"] - objective["mean"], decimals),
        overlaps=objective["lower"] <= best["upper"] and best["lower"] <= objective["upper"],
        observed=_observed(entry, fitted, decimals),
        position=position(objective["mean"]),
        start=position(objective["lower"]),
        end=position(objective["upper"]),
        observed_position=position(entry["observed"]) if entry.get("fidelity") == fitted else None,
    )


def _observed(entry: Document, fitted: str, decimals: int) -> str:
    if entry.get("observed") is None:
        return ""
    elsewhere = "" if entry["fidelity"] == fitted else f" at {entry['fidelity']}"
    return fixed(entry["observed"], decimals) + elsewhere


def _caveat(entry: Document) -> str:
    caveats = []
    if not entry["feasible"]:
        caveats.append("breaks the constraints")
    if not entry["inside_hull"]:
        caveats.append("outside the sampled mixtures")
    return ", ".join(caveats)


def cautions(
    study: Study, recommendation: Document, fit_report: Document, succeeded: Sequence[Document]
) -> list[str]:
    """Return every reason to doubt the recommendation, in plain words, the gravest first.

    Args:
        study: the study.
        recommendation: the recommendation.
        fit_report: what the fit knows about itself.
        succeeded: the runs that count today.
    """
    found = [*_about_mixture(recommendation), *map(sentence, recommendation["warnings"])]
    found += [*_about_fit(fit_report), *_about_transfer(study, fit_report)]
    found += [*_about_age(fit_report, succeeded), *map(sentence, fit_report["warnings"])]
    return list(dict.fromkeys(found))


def changes(study: Document, recommendation: Document) -> list[str]:
    """Return a warning if the study was changed after the recommendation."""
    then, now = recommendation["provenance"]["study_version"], study["version"]
    if then == now:
        return []
    return [
        f"The study was changed after this recommendation (version {then}, now {now}): prior, "
        "bounds, constraints and observed objectives on this page are those of today."
    ]


def _about_mixture(recommendation: Document) -> list[str]:
    found = []
    if not recommendation["feasible"]:
        found.append("The recommended mixture breaks a constraint of the study.")
    prior = recommendation["baselines"].get("prior")
    if prior and not prior["feasible"]:
        found.append(
            "The prior breaks the constraints, so it is a yardstick here and not an alternative."
        )
    return found


def _about_age(fit_report: Document, succeeded: Sequence[Document]) -> list[str]:
    found = []
    counting = {run["id"] for run in succeeded}
    retracted = [run for run in fit_report["out_of_fold"]["run_ids"] if run not in counting]
    if retracted:
        found.append(
            f"{len(retracted)} of the runs behind this fit have been retracted since; fit again."
        )
    newer = len(counting) - fit_report["runs_available"]
    if newer > 0:
        found.append(f"{newer} runs have ended since this fit and are not in it.")
    return found


def _about_fit(fit_report: Document) -> list[str]:
    found = []
    spearman, coverage = (fit_report["objective"][name] for name in ("spearman", "coverage"))
    if spearman is None:
        found.append("Too few runs to say how well the fit ranks mixtures it has not seen.")
    elif spearman < WEAK_SPEARMAN:
        found.append(
            f"The fit is weak: on held-out runs its objective has a rank correlation of only "
            f"{spearman:.2f} with the truth."
        )
    if coverage is not None and coverage < NARROW_COVERAGE:
        found.append(
            f"The intervals are too narrow: they hold {percent(coverage, 0)} of the held-out "
            f"runs, and should hold {percent(0.9, 0)}."
        )
    return found


def _about_transfer(study: Study, fit_report: Document) -> list[str]:
    target, fitted = study.target_fidelity, fit_report["fidelity"]
    if fitted == target:
        return []
    statistics = fit_report["transfer"].get(target)
    spearman = statistics["objective"]["spearman"] if statistics else None
    if spearman is None:
        return [
            f"Fitted on runs at {fitted}; too few runs at the target fidelity {target} to say "
            "whether the ranking carries over."
        ]
    if spearman < WEAK_SPEARMAN:
        return [
            f"Fitted on runs at {fitted}; at the target fidelity {target} the fit ranks the "
            f"objective with a correlation of only {spearman:.2f}."
        ]
    return []
