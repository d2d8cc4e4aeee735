"""Small pictures of the effect of each domain, all on one vertical scale."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.report.figures import (
    ACCENT,
    ACCENT_BAND,
    CONTRAST,
    UNSAMPLED,
    Panel,
    Picture,
    axis,
    common_range,
    picture,
)
from app.report.numbers import percent, plain
from app.report.slices import EffectSlice
from mixwright.arrays import FloatArray

MOST_SLICES = 24
"""Beyond this many small pictures a page is slow to draw and nobody compares them."""

TICKS = (0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
TICK_DISTANCE = 0.26  # of the axis, so that labels do not touch on a phone


def slice_panels(slices: Sequence[EffectSlice], prefix: str = "slice") -> list[Panel]:
    """Return a picture for each of the first `MOST_SLICES` slices that have room to move.

    Args:
        slices: the largest effect first.
        prefix: of the panels' identifiers.
    """
    drawn = [s for s in slices if s.share[0] < s.share[-1]][:MOST_SLICES]
    if not drawn:
        return []
    objective = objective_range(drawn)
    return [
        Panel(f"{prefix}-{index}", effect_slice.domain, "", _picture(effect_slice, objective))
        for index, effect_slice in enumerate(drawn)
    ]


def objective_range(slices: Sequence[EffectSlice]) -> list[float]:
    """Return one range for all: the means near the recommendation, and its own interval.

    Far from it every domain alone is a bad mixture, and would flatten what there is to compare.
    """
    near = np.concatenate([slices[0].at_recommended, *(s.mean[s.is_near] for s in slices)])
    return common_range(float(near.min()), float(near.max()))


def ticks(low: float, high: float) -> list[float]:
    """Return shares to label on a square-root axis from `low` to `high`, none too near another."""
    distance = TICK_DISTANCE * (high**0.5 - low**0.5)
    found: list[float] = []
    for share in TICKS:
        is_clear = not found or share**0.5 - found[-1] ** 0.5 >= distance
        if low <= share <= high and is_clear:
            found.append(share)
    return found if len(found) > 1 else [low, high]


def _picture(effect_slice: EffectSlice, objective: Sequence[float]) -> Picture:
    low, high = float(effect_slice.share[0]), float(effect_slice.share[-1])
    ends = common_range(low**0.5, high**0.5, 0.02)
    labelled = ticks(low, high)
    return picture(
        [*_curve(effect_slice), _marker(effect_slice)],
        xaxis=axis(
            range=ends,
            tickvals=plain(np.sqrt(labelled), 4),
            ticktext=[f"{100 * share:.3g}%" for share in labelled],
            tickangle=0,
            ticklabeloverflow="allow",
        ),
        yaxis=axis(range=list(objective), nticks=5),
        shapes=[*_unsampled(effect_slice), _prior_line(effect_slice)],
        margin={"l": 42, "r": 16, "t": 4, "b": 22},
    )


def _curve(effect_slice: EffectSlice) -> list[Any]:
    import plotly.graph_objects as go

    position = _positions(effect_slice.share)
    lower, mean, upper = (
        plain(values) for values in (effect_slice.lower, effect_slice.mean, effect_slice.upper)
    )
    band = go.Scatter(
        x=position + position[::-1],
        y=upper + lower[::-1],
        fill="toself",
        fillcolor=ACCENT_BAND,
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
    )
    line = go.Scatter(
        x=position,
        y=mean,
        customdata=list(zip(map(percent, effect_slice.share.tolist()), lower, upper, strict=True)),
        mode="lines",
        line={"color": ACCENT, "width": 2},
        hovertemplate=(
            "share %{customdata[0]}<br>objective %{y:.5g}"
            "<br>%{customdata[1]:.5g} to %{customdata[2]:.5g}<extra></extra>"
        ),
    )
    return [band, line]


def _marker(effect_slice: EffectSlice) -> Any:  # noqa: ANN401  - an object of the plotting library
    import plotly.graph_objects as go

    return go.Scatter(
        x=_positions([effect_slice.recommended]),
        y=plain([effect_slice.at_recommended[1]]),
        mode="markers",
        marker={"color": ACCENT, "size": 9, "line": {"color": "white", "width": 1.5}},
        hovertemplate=(
            f"recommended share {percent(effect_slice.recommended, 2)}"
            "<br>objective %{y:.5g}<extra></extra>"
        ),
    )


def _prior_line(effect_slice: EffectSlice) -> dict[str, Any]:
    (position,) = _positions([effect_slice.prior])
    return _full_height("line", position, position) | {
        "line": {"color": CONTRAST, "width": 1.5, "dash": "dash"}
    }


def _unsampled(effect_slice: EffectSlice) -> list[dict[str, Any]]:
    low, high = _positions([effect_slice.share[0], effect_slice.share[-1]])
    smallest, largest = _positions(effect_slice.sampled)
    spans = [(low, min(smallest, high)), (max(largest, low), high)]
    return [
        _full_height("rect", start, end)
        | {"fillcolor": UNSAMPLED, "line": {"width": 0}, "layer": "below"}
        for start, end in spans
        if end > start
    ]


def _full_height(kind: str, start: float, end: float) -> dict[str, Any]:
    return {
        "type": kind,
        "xref": "x",
        "yref": "paper",
        "x0": start,
        "x1": end,
        "y0": 0,
        "y1": 1,
    }


def _positions(shares: FloatArray | Sequence[float]) -> list[float]:
    """Return where shares lie on the square-root axis, which opens up the small ones."""
    return plain(np.sqrt(shares), 5)
