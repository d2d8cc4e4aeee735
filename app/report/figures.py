"""What the page's pictures have in common: colours, axes, and the form they travel in.

Text, grid and background take their colours from the style sheet, so that one picture serves
light, dark and paper; the colours here are mid-tones that read on all three.
"""

from dataclasses import dataclass
from typing import Any

Picture = dict[str, Any]
"""A picture as the plotting library's JSON: `data` and `layout`."""

FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif"

ACCENT = "#2c7fb8"
ACCENT_BAND = "rgba(44,127,184,0.22)"
ACCENT_POINT = "rgba(44,127,184,0.75)"
ACCENT_RANGE = "rgba(44,127,184,0.35)"
CONTRAST = "#d9730d"
CONTRAST_RANGE = "rgba(217,115,13,0.5)"
MUTED = "#8a93a0"
UNSAMPLED = "rgba(138,147,160,0.20)"

PALETTE = (ACCENT, CONTRAST, "#3d9a50", "#8f63b8", "#c44e52", "#8c6d3f", "#c86aa6", "#3a9fa5")
"""Colours of lines that are told apart by name."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture with the words around it; `id` names its place on the page."""

    id: str
    title: str
    note: str
    picture: Picture


def picture(traces: list[Any], **layout: Any) -> Picture:  # noqa: ANN401  - the library's own terms
    """Return traces and layout as plain JSON, without the library's default template."""
    import plotly.graph_objects as go

    figure = go.Figure(
        data=traces,
        layout={
            "template": None,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 12, "family": FONT},
            "hovermode": "closest",
            "hoverlabel": {"align": "left", "font": {"size": 12, "family": FONT}},
            "dragmode": False,  # a drag on a phone scrolls the page
            "showlegend": False,
            "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
            **layout,
        },
    )
    plain: Picture = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return plain


def axis(title: str | None = None, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an axis with a light grid and no zero line."""
    return {
        "title": {"text": title, "standoff": 8},
        "showgrid": True,
        "gridcolor": MUTED,
        "gridwidth": 0.5,
        "zeroline": False,
        "ticks": "",
        "fixedrange": True,
        **options,
    }


def common_range(low: float, high: float, margin: float = 0.04) -> list[float]:
    """Return a range a little wider than the values, never empty."""
    pad = margin * (high - low) or max(1e-9, abs(high) * margin)
    return [low - pad, high + pad]
