"""A picture of QuaDMix's sampling function, as SVG: `python -m benchmarks.quadmix_plot`."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from mixwright.quality.function import expected_copies_at
from mixwright.quality.parameters import Parameters

mpl.use("Agg")
from matplotlib import pyplot as plt

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "quadmix_function.svg"
USUAL = {
    "λ": 100.0,
    "ω": 0.05,
    "η": 0.8,
    "ε": 0.02,
}  # ε is twenty times what is searched, to be seen
TRIED = {"λ": (20.0, 100.0, 1000.0), "ω": (0.025, 0.05, 0.09), "η": (0.2, 0.8, 1.0)}
COLOURS = ("#56B4E9", "k", "#D55E00")  # Okabe and Ito's
RANKS = np.linspace(0, 0.16, 1601)


def draw():
    """Draw copies by rank, a panel for each parameter that is varied."""
    mpl.rcParams.update({"svg.hashsalt": "quadmix", "font.size": 9, "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, len(TRIED), figsize=(8.4, 2.6), sharey=True)
    for axis, (name, values) in zip(axes, TRIED.items(), strict=True):
        for value, colour in zip(values, COLOURS, strict=True):
            axis.plot(
                RANKS, _copies({**USUAL, name: value}), color=colour, label=f"{name} = {value:g}"
            )
        axis.legend(frameon=False, loc="upper right")
        axis.set(
            xlabel="rank in the domain, best first",
            xlim=(0, RANKS[-1]),
            ylim=(0, 2.1),
            xticks=(0, 0.05, 0.1, 0.15),
        )
    axes[0].set_ylabel("expected copies")
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)


def _copies(numbers):
    values = (np.array([one]) for one in numbers.values())
    theta = Parameters(np.ones((1, 1)), *values)
    return expected_copies_at(RANKS, theta, np.zeros(len(RANKS), dtype=np.int64))


if __name__ == "__main__":
    draw()
