"""Predicted against observed, on runs that the fit had not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.report.documents import Document
from app.report.figures import (
    ACCENT_POINT,
    ACCENT_RANGE,
    CONTRAST,
    CONTRAST_RANGE,
    MUTED,
    Picture,
    axis,
    common_range,
    picture,
)
from app.report.numbers import ABSENT, fixed, percent, plain, significant
from app.report.runs import evenly_by_rank
from mixwright.arrays import BoolArray, FloatArray, IntArray

MOST_POINTS = 2000
MOST_POINTS_IN_ALL = 100_000
CROWDED = 600  # points, beyond which intervals are drawn thinner so that points stay visible


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out predictions of one metric; all arrays have shape `(r,)`.

    Attributes:
        label: position of each run's label on the page.
        available: number of held-out runs, of which r are shown.
    """

    label: IntArray
    observed: FloatArray
    predicted: FloatArray
    lower: FloatArray
    upper: FloatArray
    available: int

    @property
    def is_inside(self) -> BoolArray:
        """Whether each observed value lies in its interval."""
        return (self.lower <= self.observed) & (self.observed <= self.upper)


def panels(metrics: Sequence[str], fit_report: Document, labels: IntArray) -> list[dict[str, Any]]:
    """Return one panel a metric, the objective first: its name, caption, note and picture.

    Args:
        metrics: the study's, in its order; those that were not fitted have no panel.
        fit_report: what the fit knows about itself.
        labels: shape `(r,)`, position of the label of each held-out run.
    """
    held_out = fit_report["out_of_fold"]
    entries = [("Objective", held_out["objective"], fit_report["objective"])]
    entries += [
        (name, held_out["metrics"][name], fit_report["metrics"][name])
        for name in metrics
        if name in held_out["metrics"]
    ]
    most = min(MOST_POINTS, MOST_POINTS_IN_ALL // len(entries))
    return [
        _panel(name, held_out_points(columns, labels, most), statistics)
        for name, columns, statistics in entries
    ]


def _panel(name: str, points: HeldOut, statistics: Document) -> dict[str, Any]:
    shown = len(points.label)
    note = f"{shown} of {points.available} runs shown, evenly spread over the observed ranks."
    return {
        "name": name,
        "caption": f"{name}: {caption(statistics)}",
        "note": note if shown < points.available else "",
        "shown": shown,
        "picture": _picture(points) if shown else None,
    }


def caption(statistics: Document) -> str:
    """Return a metric's held-out statistics as the title of its picture."""
    coverage = statistics["coverage"]
    return (
        f"Spearman {fixed(statistics['spearman'], 3)}, R² {fixed(statistics['r2'], 3)}, "
        f"mean absolute error {significant(statistics['mae'])}, 90 % intervals hold "
        f"{ABSENT if coverage is None else percent(coverage)} of {statistics['runs']} runs"
    )


def held_out_points(columns: Document, labels: IntArray, most: int) -> HeldOut:
    """Return the runs that have both values, thinned to `most`; `labels` has shape `(r,)`."""
    observed, predicted, lower, upper = (
        np.array(columns[name], dtype=np.float64)
        for name in ("observed", "predicted", "lower", "upper")
    )
    present = np.flatnonzero(np.isfinite(observed) & np.isfinite(predicted))
    kept = present[evenly_by_rank(observed[present], most)]
    return HeldOut(
        labels[kept],
        observed[kept],
        predicted[kept],
        lower[kept],
        upper[kept],
        available=len(present),
    )


def _picture(points: HeldOut) -> Picture:
    inside = points.is_inside
    ends = common_range(
        float(min(points.observed.min(), points.predicted.min())),
        float(max(points.observed.max(), points.predicted.max())),
    )
    traces = [
        _diagonal(ends),
        _scatter(points, inside, "observed value inside its interval", ACCENT_POINT, ACCENT_RANGE),
        _scatter(points, ~inside, "outside its interval", CONTRAST, CONTRAST_RANGE),
    ]
    return picture(
        traces,
        xaxis=axis("observed", range=ends),
        yaxis=axis("predicted, held out", range=ends),
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 60, "r": 12, "t": 36, "b": 48},
    )


def _diagonal(ends: Sequence[float]) -> Any:  # noqa: ANN401  - an object of the plotting library
    import plotly.graph_objects as go

    return go.Scatter(
        x=list(ends),
        y=list(ends),
        mode="lines",
        line={"color": MUTED, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )


def _scatter(points: HeldOut, kept: BoolArray, name: str, color: str, range_color: str) -> Any:  # noqa: ANN401
    import plotly.graph_objects as go

    lower, upper = points.lower[kept], points.upper[kept]
    predicted = points.predicted[kept]
    return go.Scatter(
        x=plain(points.observed[kept]),
        y=plain(predicted),
        error_y={
            "array": plain(upper - predicted, 3),
            "arrayminus": plain(predicted - lower, 3),
            "color": range_color,
            "thickness": 1 if len(points.label) <= CROWDED else 0.5,
            "width": 0,
        },
        customdata=[
            [int(label), *bounds]
            for label, *bounds in zip(points.label[kept], plain(lower), plain(upper), strict=True)
        ],
        mode="markers",
        marker={"color": color, "size": 5},
        name=f"{name} ({int(kept.sum())})",
        hovertemplate=(
            "%{text}<br>observed %{x:.5g}<br>predicted %{y:.5g}"
            "<br>90 % interval %{customdata[1]:.5g} to %{customdata[2]:.5g}<extra></extra>"
        ),
    )
