"""The page of a swarm that compares schedules: paired differences first, then what was compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from app.report.documents import Document
from app.report.figures import ACCENT, CONTRAST, MUTED, PALETTE, Panel, axis, common_range, picture
from app.report.filling import fill
from app.report.numbers import ABSENT, decimals_for, fixed, tokens
from mixwright.schedules import Schedule

_POINTS = 200  # of a curve over tokens


@dataclass(frozen=True, slots=True)
class Row:
    """A schedule in numbers."""

    name: str
    seeds: str
    objective: str
    interval: str
    difference: str
    difference_interval: str
    verdict: str


def render_comparison(
    study: Document, comparison: Document, schedules: Mapping[str, Schedule]
) -> str:
    """Return the page as one HTML file with everything inside it.

    Args:
        study: as `GET /v1/studies/{study}` answers it.
        comparison: as `GET /v1/swarms/{swarm}/comparison` answers it.
        schedules: by name, as the proxies trained under them.
    """
    panels = [*_differences(comparison), *_curves(schedules)]
    rows = [_row(one, comparison["baseline"]) for one in comparison["schedules"]]
    budget = next(iter(schedules.values())).budget
    context = {
        "study": study,
        "comparison": comparison,
        "rows": rows,
        "panels": panels,
        "total": tokens(budget.tokens),
        "data": {"pictures": {panel.id: panel.picture for panel in panels}},
    }
    return fill("comparison", context, script="schedule")


def _row(one: Document, baseline: str) -> Row:
    objective, difference = one["objective"], one["difference"]
    mean, interval = _words(objective, "")
    apart, its = _words(difference, "+")
    return Row(
        name=one["name"],
        seeds=f"{one['ended']} of {one['runs']}",
        objective=mean,
        interval=interval,
        difference=apart,
        difference_interval=its,
        verdict="compared with" if one["name"] == baseline else _verdict(difference),
    )


def _words(value: Document | None, sign: str) -> tuple[str, str]:
    """Return a mean and its interval, to the digits that the interval supports."""
    if value is None:
        return ABSENT, ABSENT
    if value["lower"] is None:
        return f"{value['mean']:{sign}.4f}", ABSENT
    places = decimals_for((value["upper"] - value["lower"]) / 2)
    low, high = fixed(value["lower"], places), fixed(value["upper"], places)
    return f"{value['mean']:{sign}.{places}f}", f"{low} to {high}"


def _verdict(difference: Document | None) -> str:
    if difference is None or difference["lower"] is None:
        return "too few seeds to tell"
    if difference["upper"] < 0:
        return "lower"
    return "higher" if difference["lower"] > 0 else "not told apart"


def _differences(comparison: Document) -> list[Panel]:
    """Return the paired differences with their intervals, where there are any."""
    import plotly.graph_objects as go

    shown = [one for one in comparison["schedules"] if one["difference"] is not None]
    if not shown:
        return []
    found = [one["difference"] for one in shown]
    ends = [(d["mean"] if d[end] is None else d[end]) for d in found for end in ("lower", "upper")]
    means = [d["mean"] for d in found]
    points = go.Scatter(
        x=means,
        y=[escape(one["name"]) for one in shown],
        mode="markers",
        marker={"size": 9, "color": [_colour(one) for one in found]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - mean for mean, high in zip(means, ends[1::2], strict=True)],
            "arrayminus": [mean - low for mean, low in zip(means, ends[::2], strict=True)],
            "color": MUTED,
            "thickness": 2,
        },
        hovertemplate="%{y}: %{x:+.4f}<extra></extra>",
    )
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    drawn = picture(
        [points],
        xaxis=axis(
            f"objective minus that of {escape(comparison['baseline'])}",
            range=common_range(min(0.0, *ends), max(0.0, *ends)),
            nticks=6,
        ),
        yaxis=axis(autorange="reversed", automargin=True),
        shapes=[{**zero, "line": {"color": MUTED, "width": 1, "dash": "dot"}}],
    )
    note = (
        "Means over pairs of runs with one seed, and 95 % intervals by Student's t. Left is better."
    )
    return [Panel("comparison-differences", "Paired differences", note, drawn)]


def _colour(difference: Document) -> str:
    return {"lower": ACCENT, "higher": CONTRAST}.get(_verdict(difference), MUTED)


def _curves(schedules: Mapping[str, Schedule]) -> list[Panel]:
    """Return batch size and learning rate of every schedule over tokens."""
    return [
        _curve(schedules, "batch", "Batch size", "tokens a step"),
        _curve(schedules, "rate", "Learning rate", "learning rate"),
    ]


def _curve(schedules: Mapping[str, Schedule], which: str, title: str, unit: str) -> Panel:
    import plotly.graph_objects as go

    lines = []
    for place, (name, schedule) in enumerate(schedules.items()):
        at = np.linspace(0, schedule.budget.tokens, _POINTS, endpoint=False).tolist()
        values = [getattr(schedule.stage_at(token), which).at(token) for token in at]
        line: dict[str, Any] = {"color": PALETTE[place % len(PALETTE)], "width": 2}
        lines.append(go.Scatter(x=at, y=values, mode="lines", name=escape(name), line=line))
    drawn = picture(
        lines,
        xaxis=axis("tokens", nticks=6),
        yaxis=axis(unit, rangemode="tozero", nticks=5),
        showlegend=True,
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 56, "r": 12, "t": 12, "b": 80},
    )
    return Panel(f"comparison-{which}", title, "", drawn)
