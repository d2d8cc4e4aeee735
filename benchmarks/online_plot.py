"""A picture of differences from even weights, by method and set, as SVG in docs/images."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "images"
COLOURS = ("#D55E00", "#E69F00", "#009E73", "#56B4E9", "#CC79A7")  # Okabe and Ito's
WIDEST = 0.1  # nats; what lies further out is drawn at the edge


def draw(name, outcomes):
    """Write a picture: a line for each entry, its mean over sets in black, best first."""
    mpl.rcParams.update({"svg.hashsalt": name, "font.size": 9, "svg.fonttype": "none"})
    entries = sorted(outcomes.entries, key=lambda one: outcomes.overall(one).mean, reverse=True)
    figure, axis = plt.subplots(figsize=(8.4, 0.42 * len(entries) + 1.4))
    places = np.arange(len(entries))
    shifts = np.linspace(0.3, -0.3, len(outcomes.sets) + 1)
    columns = {one: [outcomes.on(e, one) for e in entries] for one in outcomes.sets}
    for (label, found), colour, shift in zip(columns.items(), COLOURS, shifts[1:], strict=True):
        _points(axis, found, places + shift, label=label, color=colour, markersize=3, linewidth=1)
    overall = [outcomes.overall(e) for e in entries]
    _points(axis, overall, places + shifts[0], label="all sets", color="k", markersize=5)
    axis.axvline(0, color="0.6", linewidth=0.8)
    for place in places[:-1]:
        axis.axhline(place + 0.5, color="0.92", linewidth=0.8)
    axis.set(yticks=places, yticklabels=entries, xlim=(-WIDEST, WIDEST))
    axis.set_xlabel("difference from even weights, nats; less is better")
    figure.legend(loc="lower center", ncols=6, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def _points(axis, found, places, **style):
    means = np.clip([one.mean for one in found], -WIDEST, WIDEST)
    halves = [one.half for one in found]
    axis.errorbar(means, places, xerr=halves, fmt="o", **style)
