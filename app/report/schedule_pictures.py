"""The pictures of a schedule over tokens: mixture, batch size, rate, and what a planner found."""

from html import escape
from typing import Any, Final

import numpy as np

from app.report.documents import Document
from app.report.figures import ACCENT, CONTRAST, MUTED, PALETTE, Panel, axis, picture
from mixwright.schedules import Schedule

MOST_NAMED: Final = len(PALETTE) - 1
"""Domains with an area of their own, the largest; the others share one."""
_MOST_WRITTEN: Final = 6  # stages whose names find room in the picture
_POINTS: Final = 200  # of a curve that moves, in a stage


def pictures(schedule: Schedule) -> list[Panel]:
    """Return what a schedule looks like over its tokens."""
    panels = [
        _mixture(schedule),
        _curve(schedule, "batch", "Batch size", "tokens a step"),
        _curve(schedule, "rate", "Learning rate", "learning rate"),
    ]
    return [*panels, *_best_batch(schedule), *_critical_share(schedule)]


def _across(schedule: Schedule) -> dict[str, Any]:
    """Return the axis of tokens, with a line where each stage begins."""
    lines = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": stage.start_token,
            "x1": stage.start_token,
            "y0": 0,
            "y1": 1,
            "line": {"color": MUTED, "width": 1, "dash": "dot"},
        }
        for stage in schedule.stages[1:]
    ]
    return {
        "xaxis": axis("tokens", range=[0, schedule.budget.tokens], nticks=6),
        "shapes": lines,
    }


def _mixture(schedule: Schedule) -> Panel:
    import plotly.graph_objects as go

    rows = _shares(schedule)
    edges = [edge for stage in schedule.stages for edge in (stage.start_token, stage.end_token)]
    names = [name for stage in schedule.stages for name in (stage.name, stage.name)]
    areas = [
        go.Scatter(
            x=edges,
            y=[share for share in shares for _ in range(2)],
            text=[escape(name) for name in names],
            name=escape(domain),
            stackgroup="mixture",
            mode="lines",
            line={"width": 0.5, "color": colour},
            fillcolor=colour,
            hovertemplate="%{text}: %{fullData.name} %{y:.2%}<extra></extra>",
        )
        for (domain, shares), colour in zip(rows.items(), PALETTE, strict=False)
    ]
    drawn = picture(
        areas,
        **_across(schedule),
        annotations=_names(schedule),
        yaxis=axis("share", range=[0, 1], tickformat=".0%", nticks=6),
        showlegend=True,
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 56, "r": 12, "t": 28, "b": 80},
    )
    return Panel("schedule-mixture", "Mixture", "", drawn)


def _names(schedule: Schedule) -> list[dict[str, Any]]:
    """Return the names of stages, each above where it begins; of many stages none."""
    if len(schedule.stages) > _MOST_WRITTEN:
        return []
    place = {"y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": "left", "showarrow": False}
    return [
        {"x": stage.start_token, "text": escape(stage.name), **place} for stage in schedule.stages
    ]


def _shares(schedule: Schedule) -> dict[str, list[float]]:
    """Return the share of each domain in each stage, the largest domains first, then the rest."""
    stages = [stage.domain_tokens() for stage in schedule.stages]
    totals = [sum(tokens.values()) or 1.0 for tokens in stages]
    ordered = sorted(schedule.effective_weights.items(), key=lambda one: -one[1])
    rows = {
        name: [tokens.get(name, 0.0) / total for tokens, total in zip(stages, totals, strict=True)]
        for name, _ in ordered
    }
    if len(rows) <= len(PALETTE):
        return rows
    named = dict(list(rows.items())[:MOST_NAMED])
    rest = np.array(list(rows.values())[MOST_NAMED:]).sum(axis=0).tolist()
    return {**named, f"{len(rows) - MOST_NAMED} others": rest}


def _curve(schedule: Schedule, which: str, title: str, unit: str) -> Panel:
    import plotly.graph_objects as go

    tokens: list[float] = []
    values: list[float] = []
    for stage in schedule.stages:
        curve = getattr(stage, which)
        count = 2 if curve.shape == "constant" else _POINTS
        points = np.linspace(stage.start_token, stage.end_token, count).tolist()
        tokens += points
        values += [curve.at(point) for point in points]
    line = go.Scatter(
        x=tokens,
        y=values,
        mode="lines",
        line={"color": ACCENT, "width": 2},
        hovertemplate="token %{x:.4g}: %{y:.4g}<extra></extra>",
    )
    drawn = picture([line], **_across(schedule), yaxis=axis(unit, rangemode="tozero", nticks=5))
    return Panel(f"schedule-{which}", title, "", drawn)


def _best_batch(schedule: Schedule) -> list[Panel]:
    """Return the law's best batches beside the schedule's, where a planner computed them."""
    import plotly.graph_objects as go

    found: Document | None = schedule.evidence.get("optimum")
    if found is None:
        return []
    batch = schedule.budget.batch_tokens
    pieces = len(found["batch"])
    edges = np.linspace(0, schedule.budget.tokens, pieces + 1)
    ours = [schedule.stage_at(one).batch.at(one) / batch for one in (edges[:-1] + edges[1:]) / 2]
    shown = {"hovertemplate": "token %{x:.4g}: %{y:.3g} of the batch before<extra></extra>"}
    lines = [
        go.Scatter(
            x=edges.tolist(),
            y=[*values, values[-1]],
            name=name,
            mode="lines",
            line={"color": colour, "width": 2, "shape": "hv"},
            **shown,
        )
        for name, colour, values in (
            ("three phases", ACCENT, ours),
            ("optimum of the law", CONTRAST, found["batch"]),
        )
    ]
    drawn = picture(
        lines,
        **_across(schedule),
        yaxis=axis("against the batch before", type="log", nticks=5),
        showlegend=True,
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 56, "r": 12, "t": 12, "b": 80},
    )
    note = (
        "The law is ours, and its optimum also places the good data anew; how much the three "
        "phases lose against it is in the table of the evidence."
    )
    return [Panel("schedule-optimum", "Batch size, and the best one by the law", note, drawn)]


def _critical_share(schedule: Schedule) -> list[Panel]:
    """Return the largest share of new data over tokens, where a planner found it from runs."""
    import plotly.graph_objects as go

    found = schedule.evidence
    if "critical" not in found:
        return []
    runs = go.Scatter(
        x=found["tokens"],
        y=found["critical"],
        name="runs",
        mode="markers",
        marker={"size": 9, "color": MUTED},
    )
    drawn = picture(
        [runs, *_planned_shares(found, schedule.budget.tokens)],
        xaxis=axis("tokens", type="log", nticks=6),
        yaxis=axis("share of the new domains", rangemode="tozero", tickformat=".0%", nticks=5),
        showlegend=True,
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 56, "r": 12, "t": 12, "b": 80},
    )
    note = (
        "The share depends strongly on the tolerance. Its interval is that of the law's fit alone."
    )
    return [Panel("schedule-critical", "The largest share of new data", note, drawn)]


def _planned_shares(found: Document, tokens: float) -> list[Any]:
    """Return the share that was planned with its interval, and those at other tolerances."""
    import plotly.graph_objects as go

    share, (low, high) = found["share"], found["interval"] or (found["share"], found["share"])
    spread = {"type": "data", "array": [high - share], "arrayminus": [share - low]}
    points = (
        (1.0, share, "circle", ACCENT),
        (0.5, found["share_at_half_the_tolerance"], "triangle-down", CONTRAST),
        (2.0, found["share_at_twice_the_tolerance"], "triangle-up", CONTRAST),
    )
    return [
        go.Scatter(
            x=[tokens],
            y=[value],
            name=f"tolerance {part * found['tolerance']:g}" + (", planned" if part == 1 else ""),
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": symbol},
            error_y={**spread, "symmetric": False, "visible": part == 1},
        )
        for part, value, symbol, colour in points
        if value is not None
    ]
