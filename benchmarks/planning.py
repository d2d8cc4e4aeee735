"""Planning at size: ten million documents in four stages, and the scaling law's best batches."""

import multiprocessing
import resource
import time

import numpy as np

from benchmarks.tables import Section, machine, versions
from mixwright.schedules import Budget, Documents, Problem, build_planner
from mixwright.schedules.scaling_law import Law, best_schedule, noise_of, three_phases

DOCUMENTS, DOMAINS = 10_000_000, 26
BUDGET = Budget(
    tokens=1e12, sequence_length=4096, batch_tokens=4096 * 1024, peak_learning_rate=3e-4
)
PIECES, SHARE = 32, 0.2
WORLDS = ((100, 1.0, 0.3), (1000, 3.0, 0.3), (1000, 0.1, 0.03), (24_000, 1.0, 0.3))


def frames():
    """Seconds of processor and wall, peak memory, and the largest stage against the mean."""
    rng = np.random.default_rng(0)
    weak = np.exp(rng.normal(4.0, 0.6, DOCUMENTS))
    columns = {
        "perplexity_weak": weak,
        "perplexity_strong": weak * np.exp(-np.abs(rng.normal(0.3, 0.2, DOCUMENTS))),
    }
    names = tuple(f"domain {place}" for place in range(DOMAINS))
    tokens = np.exp(rng.normal(6.5, 1.0, DOCUMENTS))
    documents = Documents(names, rng.integers(0, DOMAINS, DOCUMENTS), tokens, columns)
    problem = Problem(BUDGET, dict.fromkeys(names, 1 / DOMAINS), {}, documents=documents)
    began, clock = time.process_time(), time.perf_counter()
    schedule = build_planner("frames", {}).plan(problem)
    taken, passed = time.process_time() - began, time.perf_counter() - clock
    sizes = [stage.tokens for stage in schedule.stages]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: kibibytes
    return taken, passed, peak, max(sizes) / np.mean(sizes) - 1


def optimum(total, base, good):
    """Seconds, and the law's loss of a constant batch, the three phases, and the optimum."""
    law, tokens = Law(), np.full(PIECES, total / PIECES)
    rule = three_phases(PIECES, 1 - SHARE, 0.25, 0.7, 2.0)
    late = np.clip((np.arange(1, PIECES + 1) / PIECES - 1 + SHARE) * PIECES, 0, 1)
    began = time.perf_counter()
    best = best_schedule(law, total, PIECES, SHARE, base, good, 1 / 16, 16.0, (rule,))
    taken = time.perf_counter() - began
    noise = noise_of(late, base, good)
    losses = [law.loss(batch, noise, tokens) for batch in (np.ones(PIECES), rule)]
    return taken, *losses, best.loss


def sections():
    """The sections of docs/benchmarks.md."""
    with multiprocessing.get_context("spawn").Pool(1) as process:  # its own peak memory
        taken, passed, peak, unequal = process.apply(frames)
    row = (f"{taken:.1f}", f"{passed:.1f}", f"{peak / 1e9:.2f}", f"{unequal:.3%}")
    found = [(world, optimum(*world)) for world in WORLDS]
    return [
        Section(
            "FRAMES on ten million documents",
            f"{DOMAINS} domains, two perplexities each. Goals: a minute, 2 GB with the documents "
            "in it (0.4 GB), stages equal within 1 %.",
            ("processor s", "wall s", "peak memory, GB", "largest stage above the mean"),
            [row],
        ),
        Section(
            "The best batches by the scaling law",
            f"{PIECES} pieces, a fifth of the tokens good. Tokens in constant batches; losses by "
            "the law, of a constant batch, the three phases and the optimum. Goal: 2 seconds, and "
            "never worse than the three phases.",
            ("tokens", "σ", "σ of good data", "s", "constant", "three phases", "optimum"),
            [
                (*world, f"{seconds:.2f}", *(f"{loss:.4f}" for loss in losses))
                for world, (seconds, *losses) in found
            ],
            f"Machine: {machine()}; {versions('numpy', 'scipy')}.",
        ),
    ]
