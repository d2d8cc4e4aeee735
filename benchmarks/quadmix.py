"""The example of QuaDMix, measured: clean loss of ways to select documents, and what they select.

    python -m benchmarks quadmix

It runs `examples/quadmix.py` with more seeds, which takes a few minutes on two processors.
"""

import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.tables import Section, machine, versions

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDER = Path("var/quadmix")
OURS = "QuaDMix"
SEEDS = 9


def sections():
    """A table of the ways to select."""
    sys.path.insert(0, str(EXAMPLES))
    import quadmix as example

    size, start = example.Size(seeds=SEEDS), time.monotonic()
    domains, rows = example.experiment(FOLDER, size)
    minutes = (time.monotonic() - start) / 60
    ours = next(row["losses"] for row in rows if row["name"] == OURS)
    return [
        Section(
            title="QuaDMix on text with planted noise",
            words=(
                "Python's own text in three domains with noise among their pages, and a fourth, "
                f"`{domains[-1]}`, that is worthless; two raters that know of the noise with "
                f"errors (`examples/noisy_python.py`). {size.proxies} proxies of 65k on "
                f"{size.proxy_tokens:,} bytes for QuaDMix and as many for RegMix, the surrogate "
                f"`auto`; then {SEEDS} seeds that were not seen before on "
                f"{size.final_tokens:,} bytes of what each way selects. Loss: the mean over the "
                "three domains' clean validation text, nats per byte. `QuaDMix` searches under the "
                "budget of selected tokens that all have; the paper's search, the mean of the best "
                "10 of 100,000 draws, knows of no budget. Differences are of pairs of seeds, with "
                "95 % t-intervals."
            ),
            header=(
                "selected",
                "loss",
                "each seed's",
                "worse than QuaDMix by",
                "tokens",
                "noise",
                *domains,
            ),
            rows=[
                (
                    row["name"],
                    f"{np.mean(row['losses']):.4f}",
                    ", ".join(f"{loss:.3f}" for loss in row["losses"]),
                    "" if row["name"] == OURS else interval(row["losses"] - ours),
                    f"{row['tokens'].sum():,.0f}",
                    f"{row['noise']:.1%}",
                    *(f"{tokens:,.0f}" for tokens in row["tokens"]),
                )
                for row in rows
            ],
            notes=f"All of it took {minutes:.0f} minutes. {machine()}; {versions('torch')}.",
        )
    ]


def interval(gaps):
    """Mean and half the width of the 95 % interval of what three seeds or more show."""
    half = stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps)
    return f"{np.mean(gaps):+.4f} ± {half:.4f}"
