"""Pictures of regret over cost, as SVG in docs/images."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.replay_measures import mean_and_half

mpl.use("Agg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "images"
GRID = 160
SHADED = ("ours", "random target runs", "RegMix, 512 cheapest runs")
# Colours of Okabe and Ito, told apart by most; dashes tell apart those of one colour.
STYLES = {
    "ours": ("#0072B2", "-", 2.4),
    "ours, batches of 8": ("#0072B2", "--", 1.4),
    "ADMIRE's recipe": ("#000000", "-", 1.4),
    "expected improvement per cost": ("#D55E00", "-", 1.2),
    "max-value entropy per cost": ("#E69F00", "-", 1.2),
    "knowledge gradient per cost": ("#CC79A7", "-", 1.2),
    "expected improvement, target runs only": ("#D55E00", ":", 1.4),
    "random target runs": ("#999999", ":", 1.4),
    "successive halving": ("#56B4E9", "--", 1.2),
    "RegMix, 128 cheapest runs": ("#009E73", "--", 1.2),
    "RegMix, 512 cheapest runs": ("#009E73", "-", 1.2),
}


def draw(name, panels):
    """Write a picture; `panels` has, by title, lists of traces (one list a seed) by method."""
    mpl.rcParams.update({"svg.hashsalt": name, "font.size": 9, "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 4.4), sharey=True)
    for axis, (title, methods) in zip(axes, panels.items(), strict=True):
        for method, style in STYLES.items():
            if method in methods:
                _line(axis, method, methods[method], style)
        axis.set(title=title, xscale="log", xlabel="cost, in target runs", ylim=(-0.03, 1.25))
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("regret of what is recommended")
    lines = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    figure.legend(lines.values(), lines, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.16, 1, 1))
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def _line(axis, method, seeds, style):
    """The mean over seeds, each the mean of its traces; for some with a 95 % interval."""
    colour, dashes, width = style
    one = seeds[0][0]
    ends = [trace.end for traces in seeds for trace in traces]
    grid = np.geomspace(one.cheapest, min(one.budget, min(ends)), GRID)
    by_seed = np.array([np.mean([trace.at(grid) for trace in traces], axis=0) for traces in seeds])
    mean = by_seed.mean(axis=0)
    axis.plot(grid, mean, color=colour, linestyle=dashes, linewidth=width, label=method)
    if len(seeds) > 1 and method in SHADED:
        half = np.array([mean_and_half(column)[1] for column in by_seed.T])
        axis.fill_between(grid, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
