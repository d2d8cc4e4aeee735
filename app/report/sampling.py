"""What recommended parameters of QuaDMix do with documents: in words, numbers and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.report.documents import Document
from app.report.figures import ACCENT, CONTRAST, Panel, Picture, axis, picture
from app.report.numbers import fixed, percent, percentage_points, plain, significant, tokens
from app.report.runs import gist, name, objectives
from app.report.slice_pictures import MOST_SLICES
from mixwright.arrays import FloatArray
from mixwright.quality.function import expected_copies_at
from mixwright.quality.implied import expected_shares, implied_of, shares_of
from mixwright.quality.notation import parse
from mixwright.quality.parameters import PER_DOMAIN, Parameters
from mixwright.study import Study

MOST_RUNS = 10
_MOST_NAMED = 5
_POINTS = 120  # of a curve


@dataclass(frozen=True, slots=True)
class ThetaRow:
    """The parameters of a domain."""

    domain: str
    rater_weights: list[str]
    scalars: list[str]
    kept: str


@dataclass(frozen=True, slots=True)
class SelectedRow:
    """What is selected of a domain; positions are percentages of the bar's width."""

    domain: str
    share: str
    available_share: str
    change: str
    tokens: str
    available: str
    repetitions: str
    bar: float
    mark: float


@dataclass(frozen=True, slots=True)
class RunRow:
    """One of the best runs."""

    name: str
    objective: str
    keeps: str


@dataclass(frozen=True, slots=True)
class SamplingSection:
    """What the page says of a sampling function.

    Attributes:
        kept: domains with the share that is kept for sure, the largest first.
        others: how many domains are not named.
        expected: tokens in words, "" where those of the domains are not known.
        source: where the selected tokens come from.
    """

    kept: list[tuple[str, str]]
    others: int
    expected: str
    source: str
    raters: list[str]
    rows: list[ThetaRow]
    panels: list[Panel]
    selected: list[SelectedRow]
    runs: list[RunRow]


def sampling_section(
    study: Study,
    document: Document,
    recommendation: Document,
    runs: Sequence[Document],
    implied: Document | None,
) -> SamplingSection:
    """Return what the page says of recommended parameters.

    Args:
        study: the core's study, whose objective runs are ranked by.
        document: the study as the API answers it.
        recommendation: with `parameters`.
        runs: of the fidelity that was fitted, those that count.
        implied: what a sampling function made of the recommendation implies; without it selected
            tokens are computed from those of the domains, if the study knows them.
    """
    domains = [domain["name"] for domain in document["domains"]]
    raters = document["space"]["raters"]
    theta = parse(recommendation["parameters"], domains, raters)
    shares = expected_shares(*theta.scalars.values())
    selection = _selection(document["domains"], theta, implied)
    by = shares if selection is None else selection["tokens"]
    order = np.argsort(-by, kind="stable").tolist()
    named = [(domains[place], percent(theta.threshold[place])) for place in order[:_MOST_NAMED]]
    return SamplingSection(
        kept=named,
        others=len(domains) - len(named),
        expected="" if selection is None else _in_words(selection),
        source="" if selection is None else _source(implied),
        raters=list(raters),
        rows=[_theta_row(domains[place], theta, shares, place) for place in order],
        panels=_curves([domains[place] for place in order[:MOST_SLICES]], theta, order),
        selected=[] if selection is None else _selected(domains, selection, order),
        runs=_best_runs(study, runs),
    )


def _selection(
    domains: Sequence[Document], theta: Parameters, implied: Document | None
) -> Mapping[str, FloatArray] | None:
    """Return selected, distinct and available tokens, each `(k,)`, or None if nobody knows."""
    if implied is not None:
        return {
            field: np.array([implied[f"{of}tokens"][domain["name"]] for domain in domains])
            for field, of in (
                ("tokens", ""),
                ("distinct", "distinct_"),
                ("available", "available_"),
            )
        }
    if any(domain["tokens"] is None for domain in domains):
        return None
    available = np.array([domain["tokens"] for domain in domains], dtype=np.float64)
    found = implied_of(theta, available)
    return {"tokens": found.tokens, "distinct": found.distinct_tokens, "available": available}


def _in_words(selection: Mapping[str, FloatArray]) -> str:
    selected, available = selection["tokens"].sum(), selection["available"].sum()
    return f"{tokens(selected)} tokens of {tokens(available)}"


def _source(implied: Document | None) -> str:
    if implied is None:
        return (
            "Computed from the tokens of the study's domains, for scores without large ties; a "
            "sampling function made of a sample knows better."
        )
    return "Estimated from the study's sample of scored documents, for the " + (
        "whole domains." if implied["available_of"] == "study" else "sample alone."
    )


def _theta_row(domain: str, theta: Parameters, shares: FloatArray, place: int) -> ThetaRow:
    return ThetaRow(
        domain=domain,
        rater_weights=[percent(weight) for weight in theta.rater_weights[place]],
        scalars=[significant(float(values[place])) for values in theta.scalars.values()],
        kept=percent(shares[place], 2),
    )


def _curves(names: Sequence[str], theta: Parameters, order: Sequence[int]) -> list[Panel]:
    """Return S(r) of each domain, all on the same axes."""
    end = min(1.0, 1.6 * float(theta.threshold.max()) or 1.0)
    top = 1.05 * max(1.0, float((2**theta.exponent + theta.floor).max()))
    return [
        Panel(f"copies-{place}", domain, "", _curve(theta, order[place], end, top))
        for place, domain in enumerate(names)
    ]


def _curve(theta: Parameters, place: int, end: float, top: float) -> Picture:
    import plotly.graph_objects as go

    threshold = float(theta.threshold[place])
    kept, beyond = np.linspace(0, threshold, _POINTS), np.array([np.nextafter(threshold, 1), end])
    ranks = np.concatenate([kept, beyond[beyond >= threshold]])
    copies = expected_copies_at(ranks, theta, np.full(len(ranks), place))
    line = go.Scatter(
        x=plain(ranks),
        y=plain(copies),
        mode="lines",
        line={"color": ACCENT, "width": 2},
        hovertemplate="rank %{x:.4g}<br>%{y:.4g} copies<extra></extra>",
    )
    bar = {"type": "line", "xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    dashed = {"line": {"color": CONTRAST, "width": 1.5, "dash": "dash"}}
    return picture(
        [line],
        xaxis=axis(range=[0, end], nticks=4),
        yaxis=axis(range=[0, top], nticks=4),
        shapes=[bar | dashed | {"x0": plain([threshold])[0], "x1": plain([threshold])[0]}],
        margin={"l": 30, "r": 16, "t": 4, "b": 22},
    )


def _selected(
    domains: Sequence[str], selection: Mapping[str, FloatArray], order: Sequence[int]
) -> list[SelectedRow]:
    mixture, available = shares_of(selection["tokens"]), shares_of(selection["available"])
    longest = max(float(mixture.max()), float(available.max())) or 1.0
    distinct = selection["distinct"]
    seen = np.divide(selection["tokens"], distinct, out=np.zeros_like(distinct), where=distinct > 0)
    return [
        SelectedRow(
            domain=domains[place],
            share=percent(mixture[place], 2),
            available_share=percent(available[place], 2),
            change=percentage_points(mixture[place] - available[place]),
            tokens=tokens(selection["tokens"][place]),
            available=tokens(selection["available"][place]),
            repetitions=fixed(float(seen[place]), 2),
            bar=round(100 * mixture[place] / longest, 3),
            mark=round(100 * available[place] / longest, 3),
        )
        for place in order
    ]


def _best_runs(study: Study, runs: Sequence[Document]) -> list[RunRow]:
    values = objectives(runs, study.metric_names, study.objective * study.signs)
    best = [place for place in np.argsort(values, kind="stable") if np.isfinite(values[place])]
    return [
        RunRow(name(runs[place]), significant(float(values[place]), 5), gist(runs[place]))
        for place in best[:MOST_RUNS]
    ]


def scalar_names() -> tuple[str, ...]:
    """Return what the four numbers of a domain are called on the page."""
    letters: Mapping[str, Any] = {"lambda": "λ", "omega": "ω", "eta": "η", "epsilon": "ε"}
    return tuple(letters[one] for one in PER_DOMAIN)
