"""Fitting 13 targets on 512 runs, and scoring a million mixtures on all of them."""

import time

import numpy as np

from benchmarks.regmix_tables import load
from benchmarks.tables import Section, machine, versions
from mixwright.surrogates import build_surrogate

MIXTURES = 1_000_000
CHUNK = 10_000
PLANS = (("share_power", {}), ("share_power", {"terms": 2}), ("log_linear", {}), ("lightgbm", {}))


def measure(name, options, runs, scored):
    """Processor seconds of the fit, and of scoring `scored` mixtures."""
    began = time.process_time()
    fitted = build_surrogate(name, options).fit(runs.mixtures, runs.losses, 0)
    fit = time.process_time() - began
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.full(runs.mixtures.shape[1], 0.5), CHUNK)
    began = time.process_time()
    for _ in range(scored // CHUNK):
        fitted.predict_mean(mixtures)
    return fit, time.process_time() - began


def sections():
    """The section of docs/benchmarks.md."""
    runs = load().normalised().runs["train-1m"]
    rows = []
    for name, options in PLANS:
        scored = CHUNK if name == "lightgbm" else MIXTURES  # trees: one chunk, times 100
        fit, score = measure(name, options, runs, scored)
        terms = f", {options['terms']} terms" if options else ""
        rows.append((f"`{name}`{terms}", f"{fit:.2f}", f"{score * MIXTURES / scored:.2f}"))
    return [
        Section(
            "Speed of surrogates",
            "Processor seconds of one thread (`OMP_NUM_THREADS=1`). Goals for `share_power`: below "
            "0.5 and below 5. LightGBM with its own predictor, measured elsewhere: 6.0 and about "
            "900. The trees here are walked in NumPy, timed on 10,000 mixtures and scaled.",
            ("surrogate", "fit 13 targets on 512 runs", "score 1,000,000 mixtures on 13 targets"),
            rows,
            f"Machine: {machine()}; {versions('numpy', 'lightgbm')}.",
        )
    ]
