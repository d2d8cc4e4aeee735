"""How charts of an optimisation are drawn: lines over spend or steps, with words for all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from app.report.documents import Document
from app.report.figures import (
    ACCENT,
    PALETTE,
    Panel,
    Picture,
    axis,
    picture,
)
from app.report.numbers import significant
from app.report.optimisation import Optimisation

MOST_STEPS = 300
"""More are thinned evenly: a picture is a few hundred pixels wide."""

MOST_ENTRIES = 500  # of a front
MOST_MARKED = 60  # steps, beyond which a line has no markers
MOST_DOMAINS = 7  # with a line of their own
LOG_FROM = 10.0  # ratio of largest to smallest from which a logarithmic axis reads better
DECADES = 4.0  # that it shows at most
DASHES = ("solid", "dash", "dot")

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """A panel with what its colours stand for.

    Attributes:
        panel: picture, title and note.
        keys: colour and name of each line, where there are several.
        alt: what is told to somebody who does not see the picture.
    """

    panel: Panel
    keys: list[tuple[str, str]]
    alt: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart; None where it has no value."""

    name: str
    values: Values
    colour: str
    dash: str = "solid"


@dataclass(frozen=True, slots=True)
class Words:
    """What is written on and around a chart."""

    id: str
    title: str
    note: str


@dataclass(frozen=True, slots=True)
class Across:
    """Where steps lie on the horizontal axis, and how it is labelled."""

    values: list[float]
    layout: dict[str, Any]


def chart(
    words: Words, lines: Sequence[Line], across: Across, measure: str, *, is_share: bool = False
) -> Chart | None:
    """Return lines over spend or steps; None where no line has a value."""
    values = [value for line in lines for value in line.values if value is not None]
    if not values:
        return None
    vertical, note = scale(values), words.note
    if is_share:
        vertical = {"rangemode": "tozero", "tickformat": ".0%"}
    elif vertical.get("type") == "log" and min(values) <= 0:
        note += " Values of zero lie below the picture."
    shown = "%{y:.1%}" if is_share else "%{y:.3~g}"
    drawn = picture(
        [trace(line, across, shown) for line in lines],
        xaxis=across.layout,
        yaxis=axis(measure, nticks=6, **vertical),
    )
    panel = Panel(f"optimisation-{words.id}", words.title, note, drawn)
    return Chart(panel, keys(lines), told(words.title, lines, is_share=is_share))


def trace(line: Line, across: Across, shown: str) -> Any:  # noqa: ANN401  - of the plotting library
    """Return a line as the plotting library draws it."""
    import plotly.graph_objects as go

    return go.Scatter(
        x=across.values,
        y=line.values,
        name=escape(line.name),
        mode="lines+markers" if len(across.values) <= MOST_MARKED else "lines",
        line={"color": line.colour, "width": 2, "dash": line.dash},
        marker={"color": line.colour, "size": 5},
        hovertemplate=f"%{{fullData.name}}<br>at %{{x:.5~g}}: {shown}<extra></extra>",
    )


def dots(
    names: Sequence[str],
    middle: list[float],
    ends: tuple[list[float], list[float]] | None,
    horizontal: dict[str, Any],
) -> Picture:
    """Return a dot per fidelity, from top to bottom, with an interval where there are `ends`."""
    import plotly.graph_objects as go

    shown = "%{x:.3~g}"
    points = go.Scatter(
        x=middle,
        y=list(range(len(names))),
        mode="markers",
        marker={"color": ACCENT, "size": 9},
    )
    if ends is not None:
        lower, upper = ends
        shown += ", %{customdata[0]:.3~g} to %{customdata[1]:.3~g}"
        points.customdata = list(zip(lower, upper, strict=True))
        points.error_x = {
            "array": [max(0.0, high - at) for high, at in zip(upper, middle, strict=True)],
            "arrayminus": [max(0.0, at - low) for low, at in zip(lower, middle, strict=True)],
            "color": ACCENT,
            "thickness": 2,
            "width": 0,
        }
    points.hovertemplate = f"{shown}<extra></extra>"
    return picture(
        [points],
        xaxis=horizontal,
        yaxis=axis(
            tickvals=list(range(len(names))),
            ticktext=[
                escape(name if len(name) <= 24 else f"{name[:23]}\N{HORIZONTAL ELLIPSIS}")
                for name in names
            ],
            range=[len(names) - 0.5, -0.5],
            showgrid=False,
            automargin=True,
        ),
        height=90 + 40 * len(names),
    )


def by_fidelity(steps: Sequence[Document], column: str) -> list[Line]:
    """Return a line per fidelity of the latest step, with what each step says of it."""
    said = [{one["name"]: one[column] for one in step["fidelities"]} for step in steps]
    return [
        Line(
            name,
            [number(one.get(name)) for one in said],
            PALETTE[index % len(PALETTE)],
            DASHES[index // len(PALETTE) % len(DASHES)],
        )
        for index, name in enumerate(said[-1])
    ]


def over_spend(optimisation: Optimisation, steps: Sequence[Document]) -> Across:
    """Return what was spent at each of the steps, or runs where costs are not known."""
    what = "spent" if optimisation.has_costs else "runs"
    return Across(
        [float(step[what]) for step in steps],
        axis(unit(optimisation), rangemode="tozero", nticks=6),
    )


def over_steps(optimisation: Optimisation, steps: Sequence[Document]) -> Across:
    """Return the number of each of the steps."""
    place = {id(step): index for index, step in enumerate(optimisation.steps, 1)}
    whole = {"dtick": 1} if len(optimisation.steps) <= 6 else {"nticks": 6}
    return Across([float(place[id(step)]) for step in steps], axis("step", **whole))


def unit(optimisation: Optimisation) -> str:
    """Return what the axis of spend is called."""
    return "spent, in the study's unit of cost" if optimisation.has_costs else "runs that ended"


def scale(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis where values differ by much, else one from zero."""
    positive = [value for value in values if value > 0]
    if not positive or min(values) < 0 or max(positive) < LOG_FROM * min(positive):
        return {"rangemode": "tozero"}
    high = math.log10(max(positive))
    low = max(math.log10(min(positive)), high - DECADES)
    return {"type": "log", "range": [low - 0.1, high + 0.1], "exponentformat": "power"}


def keys(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Return colour and name of lines, where there are several."""
    return [(line.colour, line.name) for line in lines] if len(lines) > 1 else []


def told(title: str, lines: Sequence[Line], *, is_share: bool = False) -> str:
    """Return first and last value of each line in words."""
    parts = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        if known:
            first, last = (
                f"{100 * value:.1f} %" if is_share else significant(value)
                for value in (known[0], known[-1])
            )
            parts.append(f"{line.name} from {first} to {last}")
    return f"{title}: {'; '.join(parts)}"


def number(value: float | None) -> float | None:
    """Return a number that JSON can hold."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
