"""A stage of the algorithms that choose blocks, at ten million blocks."""

import multiprocessing
import resource
import time

import numpy as np

from benchmarks.tables import Section, machine, versions
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Blocks, Observation
from mixwright.reweighting.canonical import canonical, to_document

BLOCKS = 10_000_000
STAGES = 3


def measure(name):
    """Seconds of processor and wall a stage, seconds to write the state; bytes; peak memory."""
    reweighter = build_reweighter(name, {"blocks": BLOCKS})
    state = reweighter.init(("a", "b"), np.array([0.5, 0.5]), 0)
    rng, seconds, passed = np.random.default_rng(0), [], []
    for stage in range(STAGES):
        told = Blocks(np.arange(BLOCKS), rng.normal(3.0, 0.5, BLOCKS))
        began, clock = time.process_time(), time.perf_counter()
        found = reweighter.update(state, Observation(stage + 1, blocks=told))
        seconds.append(time.process_time() - began)
        passed.append(time.perf_counter() - clock)
        state = found.state
    bitmap = len(found.diagnostics["blocks"]["bitmap"])
    began = time.process_time()
    size = len(canonical(to_document(state)))
    writing = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: kibibytes
    return max(seconds), max(passed), writing, size, bitmap, peak


def sections():
    """The section of docs/benchmarks.md."""
    rows = []
    for name in ("lfr", "mates"):
        with multiprocessing.get_context("spawn").Pool(1) as process:  # its own peak memory
            taken, passed, writing, size, bitmap, peak = process.apply(measure, (name,))
        cells = (f"{taken:.2f}", f"{passed:.2f}", f"{writing:.2f}")
        weights = (f"{size / 1e6:.1f}", f"{bitmap / 1e6:.2f}", f"{peak / 1e9:.2f}")
        rows.append((f"`{name}`", *cells, *weights))
    return [
        Section(
            "A stage at ten million blocks",
            f"Every block's loss is told at once; the slowest of {STAGES} stages. Goals: below 2 "
            "seconds a stage and below 1 GB in all, the losses that were told included (0.16 GB).",
            (
                "algorithm",
                "processor s",
                "wall s",
                "writing the state, s",
                "state, MB",
                "bitmap, MB",
                "peak memory, GB",
            ),
            rows,
            f"Machine: {machine()}; {versions('numpy')}.",
        )
    ]


if __name__ == "__main__":
    print("\n".join(section.markdown() for section in sections()))
