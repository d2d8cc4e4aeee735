"""Pictures of how the objective compares between fidelities."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from scipy.stats import rankdata

from app.report.documents import Document
from app.report.fidelities import FEWEST_TO_RANK, MeasuredRuns, Pair, pairs
from app.report.figures import (
    ACCENT,
    ACCENT_POINT,
    CONTRAST,
    MUTED,
    Panel,
    Picture,
    axis,
    picture,
)
from app.report.numbers import fixed, plain, significant
from app.report.runs import evenly_by_rank, fair_shares
from mixwright.arrays import FloatArray, IntArray
from mixwright.model import MixtureModel

MOST_POINTS = 2000
GOLDEN_RATIO = (5**0.5 - 1) / 2


def shown(fidelities: Sequence[str], runs: MeasuredRuns) -> list[MeasuredRuns]:
    """Return the runs of each fidelity that its strip shows, `MOST_POINTS` in all."""
    each = [runs.at(name) for name in fidelities]
    shares = fair_shares([len(one) for one in each], MOST_POINTS)
    return [one.some(share) for one, share in zip(each, shares, strict=True)]


def distribution_panel(
    fidelities: Sequence[str], runs: MeasuredRuns, fitted: str, recommended: float
) -> Panel:
    """Return every run's objective as a strip of points per fidelity, with its quartiles.

    Args:
        fidelities: those that have runs, from top to bottom.
        runs: every run.
        fitted: the fidelity that `recommended` is predicted for.
        recommended: the predicted objective of the recommendation.
    """
    strips = shown(fidelities, runs)
    traces = [_strip(row, strip) for row, strip in enumerate(strips)]
    traces += [
        trace
        for row, name in enumerate(fidelities)
        for trace in _quartiles(row, runs.at(name).objective)
    ]
    if fitted in fidelities:
        traces.append(_recommended(list(fidelities).index(fitted), recommended))
    drawn = picture(
        traces,
        xaxis=axis("objective, lower is better", nticks=8),
        yaxis=axis(
            tickvals=list(range(len(fidelities))),
            ticktext=[f"{escape(name)} ({len(runs.at(name))})" for name in fidelities],
            range=[len(fidelities) - 0.5, -0.5],
            showgrid=False,
            automargin=True,
        ),
        height=90 + 70 * len(fidelities),
    )
    count = sum(map(len, strips))
    note = f"{count} of {len(runs)} shown, evenly spread over the ranks of each fidelity."
    return Panel("fidelities", "", note if count < len(runs) else "", drawn)


def transfer_panels(
    fidelities: Sequence[str], runs: MeasuredRuns, fit_report: Document, model: MixtureModel
) -> list[Panel]:
    """Return the fit's predictions against the runs of each fidelity that was not fitted."""
    fitted = fit_report["fidelity"]
    panels = []
    for index, name in enumerate(fidelities):
        there = runs.at(name)
        if name == fitted or len(there) < FEWEST_TO_RANK:
            continue
        panels.append(
            Panel(
                f"transfer-{index}",
                f"Predicted at {fitted}, observed at {name}",
                f"Spearman {fixed(fit_report['transfer'][name]['objective']['spearman'], 3)}",
                _transfer_picture(model.objective_mean(there.mixtures), there, fitted),
            )
        )
    return panels


def pair_panels(fidelities: Sequence[str], runs: MeasuredRuns) -> list[Panel]:
    """Return rank against rank where the same mixtures were run at two fidelities."""
    return [
        Panel(
            f"pair-{index}",
            f"The same {len(pair.label)} mixtures at {pair.first} and {pair.second}",
            f"Spearman {fixed(pair.spearman, 3)}",
            _rank_picture(pair),
        )
        for index, pair in enumerate(pairs(fidelities, runs))
    ]


def _strip(row: int, runs: MeasuredRuns) -> Any:  # noqa: ANN401  - an object of the plotting library
    import plotly.graph_objects as go

    spread = (np.arange(len(runs)) * GOLDEN_RATIO) % 1 - 0.5  # even, and the same every time
    return go.Scatter(
        x=plain(runs.objective),
        y=plain(row + 0.6 * spread, 4),
        customdata=[[int(position)] for position in runs.label],
        mode="markers",
        marker={"color": ACCENT_POINT, "size": 4, "opacity": 0.6},
        hovertemplate="%{text}<br>objective %{x:.5g}<extra></extra>",
    )


def _quartiles(row: int, objective: FloatArray) -> list[Any]:
    import plotly.graph_objects as go

    low, middle, high = np.quantile(objective, [0.25, 0.5, 0.75])
    return [
        go.Scatter(
            x=plain([low, high]),
            y=[row, row],
            mode="lines",
            line={"color": MUTED, "width": 5},
            hoverinfo="skip",
        ),
        go.Scatter(
            x=plain([middle]),
            y=[row],
            mode="markers",
            marker={"symbol": "line-ns", "size": 16, "line": {"color": MUTED, "width": 4}},
            hovertemplate=(
                f"median {significant(float(middle), 5)}, middle half "
                f"{significant(float(low), 5)} to {significant(float(high), 5)}<extra></extra>"
            ),
        ),
    ]


def _recommended(row: int, objective: float) -> Any:  # noqa: ANN401
    import plotly.graph_objects as go

    return go.Scatter(
        x=plain([objective]),
        y=[row],
        mode="markers",
        marker={
            "symbol": "diamond",
            "size": 12,
            "color": CONTRAST,
            "line": {"color": "white", "width": 1.5},
        },
        hovertemplate="recommended mixture, predicted %{x:.5g}<extra></extra>",
    )


def _transfer_picture(predicted: FloatArray, runs: MeasuredRuns, fitted: str) -> Picture:
    """Return the fit's prediction, shape `(n,)`, against what runs of one other fidelity showed."""
    kept = evenly_by_rank(runs.objective, MOST_POINTS)
    return _comparison(
        runs.objective[kept],
        predicted[kept],
        runs.label[kept],
        (f"observed at {escape(str(runs.fidelity[0]))}", f"predicted at {escape(fitted)}"),
        "observed %{x:.5g}<br>predicted %{y:.5g}",
    )


def _rank_picture(pair: Pair) -> Picture:
    """Return rank against rank of the mixtures that were run at both fidelities."""
    kept = evenly_by_rank(pair.objective_first, MOST_POINTS)
    return _comparison(
        rankdata(pair.objective_first)[kept],
        rankdata(pair.objective_second)[kept],
        pair.label[kept],
        (f"rank at {escape(pair.first)}", f"rank at {escape(pair.second)}"),
        "ranks %{x} and %{y}",
    )


def _comparison(
    horizontal: FloatArray,
    vertical: FloatArray,
    label: IntArray,
    titles: tuple[str, str],
    hover: str,
) -> Picture:
    import plotly.graph_objects as go

    points = go.Scatter(
        x=plain(horizontal),
        y=plain(vertical),
        customdata=[[int(position)] for position in label],
        mode="markers",
        marker={"color": ACCENT, "size": 5, "opacity": 0.7},
        hovertemplate=f"%{{text}}<br>{hover}<extra></extra>",
    )
    return picture([points], xaxis=axis(titles[0], nticks=6), yaxis=axis(titles[1], nticks=6))
