"""The charts of a training: curves that the page's script draws, and what happened when.

A curve travels as its points alone; the script gives it the colour of its domain, which is the
reader's choice and stays when the page keeps up with the training.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np

from app.report.figures import ACCENT, CONTRAST, MUTED, UNSAMPLED, Panel, axis, picture
from app.report.numbers import plain
from app.report.thinning import kept
from app.report.training_curves import Curve, Past
from app.trainings.history import Version
from app.trainings.schemas import Fate

MOST_DRAWN: Final = 100
"""Domains with a curve: those that moved most."""
MOST_POINTS: Final = 64_000
"""Of all curves of the page together."""
MOST_MARKS: Final = 300
"""Of a kind of what happened: the latest."""


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of what happened: a mark for each time, and words for it."""

    name: str
    colour: str
    steps: list[int]
    words: list[str]


def charts(past: Past, warmup_steps: int) -> list[Panel]:
    """Return weights, then each thing that was measured, over steps."""
    drawn = past.domains[:MOST_DRAWN]
    spans, across = _spans(past), _across(past, warmup_steps)
    shares = {"yaxis": axis("share", rangemode="tozero", tickformat=".0%", nticks=6)}
    found = [
        Panel(
            "training-weights",
            "Weights in force",
            "",
            {
                "layout": picture([], **across, **shares)["layout"],
                "curves": _curves(past.weights(drawn), spans),
                # A point that is kept of many does not hold until the next one that is kept.
                "shape": "linear" if len(past.in_force) + 1 > 4 * spans else "hv",
                "shown": "%{y:.2%}",
            },
        )
    ]
    for measure in past.measures:
        title = measure.replace("_", " ")
        layout = picture([], **across, yaxis=axis(title, nticks=6))["layout"]
        curves = _curves(past.measured(measure, drawn), spans)
        drawing = {
            "layout": layout,
            "curves": curves,
            "shape": "linear",
            "shown": "%{y:.4g}",
        }
        found.append(Panel(f"training-{measure}", title.capitalize(), "", drawing))
    return found


def _across(past: Past, warmup_steps: int) -> dict[str, Any]:
    """Return the axis of steps, shaded where observations are not applied yet."""
    end = past.last_step
    shade = {"type": "rect", "xref": "x", "yref": "paper", "x0": 0, "x1": min(warmup_steps, end)}
    shade |= {"y0": 0, "y1": 1, "fillcolor": UNSAMPLED, "line": {"width": 0}, "layer": "below"}
    return {
        "xaxis": axis("step", range=[0, 1.01 * end], nticks=6),
        "shapes": [shade] if warmup_steps else [],
    }


def _curves(curves: Iterable[Curve], spans: int) -> list[dict[str, Any]]:
    return [_curve(one, spans) for one in curves]


def _curve(curve: Curve, spans: int) -> dict[str, Any]:
    some = kept(curve.x, np.nan_to_num(curve.y), spans)
    return {
        "domain": curve.domain,
        "x": curve.x[some].astype(int).tolist(),
        "y": [None if np.isnan(one) else one for one in plain(curve.y[some], 4)],
    }


def is_thinned(past: Past) -> bool:
    """Return whether a curve has more points than are surely all drawn."""
    return max(len(past.in_force) + 1, len(past.observations)) > 4 * _spans(past)


def _spans(past: Past) -> int:
    """Return into how many spans curves are thinned, of four points each at most."""
    curves = min(len(past.domains), MOST_DRAWN) * (1 + len(past.measures))
    return max(10, MOST_POINTS // (4 * curves))


def timeline(past: Past) -> Panel | None:
    """Return what happened besides observations that were applied; None if nothing did."""
    import plotly.graph_objects as go

    rows = [row for row in _rows(past) if row.steps]
    if not rows:
        return None
    marks = [
        go.Scatter(
            x=row.steps[-MOST_MARKS:],
            y=[index] * len(row.steps[-MOST_MARKS:]),
            text=[escape(one) for one in row.words[-MOST_MARKS:]],
            mode="markers",
            marker={"color": row.colour, "size": 9, "symbol": "line-ns-open"},
            hovertemplate="%{text}<extra></extra>",
        )
        for index, row in enumerate(rows)
    ]
    names = axis(
        tickvals=list(range(len(rows))),
        ticktext=[row.name for row in rows],
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
        automargin=True,
    )
    across = axis("step", range=[0, 1.01 * past.last_step], nticks=6)
    drawn = picture(marks, xaxis=across, yaxis=names, height=70 + 26 * len(rows))
    return Panel("training-timeline", "What happened", "", drawn)


def _rows(past: Past) -> list[Row]:
    versions, used = past.history.versions, past.history.applied.items()
    waiting = [one for one in versions if one.fate == Fate.PROPOSED]
    void = [one for one in versions if one.fate == Fate.VOID]
    left = [one for one in past.observations if one.applied is False]
    return [
        _decided(past, "resume", "resumed"),
        _decided(past, "rollback", "rolled back"),
        _decided(past, "remap", "other domains"),
        _versions("awaits approval", CONTRAST, waiting),
        _versions("void", MUTED, void),
        Row(
            "not applied",
            CONTRAST,
            [one.step or 0 for one in left],
            [f"step {one.step}: {one.reason}" for one in left],
        ),
        Row(
            "used from",
            ACCENT,
            [step for _, step in used],
            [f"version {version} from step {step}" for version, step in used],
        ),
    ]


def _decided(past: Past, kind: str, name: str) -> Row:
    found = [one for one in past.history.happenings if one.kind == kind]
    said = [json.dumps(one.content, ensure_ascii=False)[:200] for one in found]
    return Row(
        name, ACCENT, [one.position for one in found], [f"{name}: {words}" for words in said]
    )


def _versions(name: str, colour: str, found: Sequence[Version]) -> Row:
    return Row(
        name,
        colour,
        [one.effective_step for one in found],
        [f"version {one.version}" for one in found],
    )
