"""What schedules do to tiny language models: every planner, and each abstract's claims.

    python -m benchmarks schedules

Every schedule is trained by the proxies' own worker. Cells are kept in `var/`, so that a
measurement that was cut off goes on where it was.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from rich.progress import Progress

from benchmarks.online_report import Difference
from benchmarks.tables import Section, machine, versions

os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(4 << 30))  # as workers have it
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(8 << 30))

WORLDS = ("python", "chains")
NONE = "not measured"


@dataclass(frozen=True)
class Claim:
    """That one schedule ends lower than another.

    Attributes:
        words: the claim.
        lower: title of the schedule that should end lower.
        than: title of the other.
        goal: what is compared: "goal", the good domains; "all", the mean over domains; "old", all
            but the good ones.
        of: "metrics", where averages are taken of what is averaged, or "last" for last models.
    """

    words: str
    lower: str
    than: str
    goal: str = "goal"
    of: tuple[str, str] = ("last", "last")


AVERAGE = ("metrics", "last")
BOTH_AVERAGED = ("metrics", "metrics")
CURRICULUM = Claim(
    "ascending beats random, constant rate", "ascending, averaging", "random, averaging"
)
DECAYED = Claim("ascending beats random, rate falls to 0", "ascending, decay", "random, decay")
LATE_CONSTANT = Claim(
    "late beats mixed in, constant rate", "late, constant", "late, constant, mixed"
)
ANNEAL = Claim("late beats mixed in, rate falls to 0", "anneal", "anneal, mixed")
NOISE = Claim(
    "batches of the planner beat one batch, noise limits",
    "drop_stable_rampup, noise",
    "late, constant",
)
SIGNAL = Claim(
    "batches of the planner beat one batch, signal limits",
    "drop_stable_rampup, signal",
    "one batch, signal",
)
CLAIMS = {
    "static": (
        Claim("a decay to 0 beats a constant rate", "random, decay", "random, averaging"),
        Claim("a decay to a third beats one to 0", "random, moderate", "random, decay"),
        Claim(
            "constant, an average of 6 checkpoints beats the last model",
            "random, averaging",
            "random, averaging",
            of=AVERAGE,
        ),
    ),
    "upsample_end": (
        Claim("good data late beats mixed in", "upsample_end", "upsample_end, mixed"),
        Claim("late, without harm to all domains", "upsample_end", "upsample_end, mixed", "all"),
    ),
    "anneal": (
        ANNEAL,
        LATE_CONSTANT,
        Claim("late, the decay to 0 beats a constant rate", "anneal", "late, constant"),
        Claim("late, without harm to all domains", "anneal", "anneal, mixed", "all"),
    ),
    "frames": (
        Claim("four stages beat random", "frames", "random, averaging", "all"),
        Claim("four stages beat their reverse", "frames", "frames, reversed", "all"),
        Claim("high PPL then low beats random", "high PPL, low PPL", "random, averaging", "all"),
        Claim("… and beats low PPL then high", "high PPL, low PPL", "low PPL, high PPL", "all"),
        Claim("low PD then high beats random", "low PD, high PD", "random, averaging", "all"),
        Claim("… and beats high PD then low", "low PD, high PD", "high PD, low PD", "all"),
    ),
    "drop_stable_rampup": (
        NOISE,
        SIGNAL,
        Claim(
            "late beats mixed in, one batch, signal limits",
            "one batch, signal",
            "one batch, signal, mixed",
        ),
        Claim(
            "all of it beats mixed in at one batch, noise limits",
            "drop_stable_rampup, noise",
            "late, constant, mixed",
        ),
    ),
    "quality_curriculum": (
        CURRICULUM,
        Claim(
            "ascending beats random, both averaged",
            "ascending, averaging",
            "random, averaging",
            of=BOTH_AVERAGED,
        ),
        Claim(
            "ascending beats random, decay to a third", "ascending, moderate", "random, moderate"
        ),
        DECAYED,
        Claim(
            "ascending, the average beats the last model",
            "ascending, averaging",
            "ascending, averaging",
            of=AVERAGE,
        ),
        Claim(
            "ascending, constant and average beat a decay to 0",
            "ascending, averaging",
            "ascending, decay",
            of=AVERAGE,
        ),
        Claim(
            "ascending, a decay to a third beats one to 0",
            "ascending, moderate",
            "ascending, decay",
        ),
        Claim(
            "ascending, without harm to all domains",
            "ascending, moderate",
            "random, moderate",
            "all",
        ),
    ),
    "continual": (
        Claim("half replay keeps the old", "continual, 50% new", "continual, 100% new", "old"),
        Claim("no replay is better for the new", "continual, 100% new", "continual, 50% new"),
    ),
}
GAINS = {  # that the first gains more than the second
    "anneal": (
        "late gains more at a constant rate than where it falls to 0",
        LATE_CONSTANT,
        ANNEAL,
    ),
    "drop_stable_rampup": ("the batches gain more where noise limits", NOISE, SIGNAL),
    "quality_curriculum": (
        "ascending gains more at a constant rate than where it falls to 0",
        CURRICULUM,
        DECAYED,
    ),
}


SOURCES = {
    "static": "One mixture throughout; what the rate does.",
    "upsample_end": "Blakeney et al., arXiv:2406.03476: small, valuable domains late.",
    "anneal": "OLMo 2, arXiv:2501.00656: better data late, as the rate falls.",
    "frames": "Zhang et al., arXiv:2502.05551: two findings, and four stages",
    "drop_stable_rampup": (
        "Zhu et al., arXiv:2605.25698. Noise is to limit at the usual rate, signal at a twentieth "
        "of it. In `python` it does: an average of checkpoints is well below the last model (see "
        "`static`). In `chains` it is not, so that signal may limit at either rate."
    ),
    "quality_curriculum": "Luo et al., arXiv:2511.18903: ascending quality, and the rate.",
    "continual": "Gu et al., arXiv:2407.17467: after half of the tokens on the other domains.",
}


def measure():
    """Cells by world and title, in two processes."""
    from benchmarks.schedule_trainings import SEEDS, cell, schedules

    jobs = [(name, title, SEEDS) for name in WORLDS for title in schedules(name)]
    found = {}
    spawn = multiprocessing.get_context("spawn")
    with Progress() as progress, ProcessPoolExecutor(2, spawn) as pool:
        task = progress.add_task("proxies under schedules", total=len(jobs))
        futures = {pool.submit(cell, job): job[:2] for job in jobs}
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            progress.advance(task)
    return found


def losses(cells, name, title, goal, of):
    """Mean loss over the domains that are compared, by seed."""
    from benchmarks.schedule_worlds import GOOD

    def is_meant(domain):
        return goal == "all" or (domain in GOOD[name]) == (goal == "goal")

    return np.array(
        [
            np.mean([v for m, v in run.items() if m[:5] == "loss/" and is_meant(m[5:])])
            for run in cells[name, title][of]
        ]
    )


def by_seed(cells, name, claim):
    """Differences of a claim's two schedules, by seed; None where one was not trained."""
    if any((name, title) not in cells for title in (claim.lower, claim.than)):
        return None
    pairs = zip((claim.lower, claim.than), claim.of, strict=True)
    first, second = (losses(cells, name, title, claim.goal, of) for title, of in pairs)
    return first - second


def verdict(differences):
    """Whether differences show what is claimed."""
    if differences is None:
        return NONE
    found = Difference.of(differences)
    word = "shows" if found.is_better else "**the opposite**" if found.is_worse else "not clear"
    return f"{found.mean:+.4f} ± {found.half:.4f}, {word}"


def section(cells, planner):
    """What was claimed of a planner, and what came of it."""
    rows = [
        [claim.words, *(verdict(by_seed(cells, name, claim)) for name in WORLDS)]
        for claim in CLAIMS[planner]
    ]
    if planner in GAINS:
        title, *pair = GAINS[planner]
        both = [[by_seed(cells, name, one) for one in pair] for name in WORLDS]
        rows.append([title, *(verdict(None if a is None else a - b) for a, b in both)])
    goal = ", all domains" if planner == "frames" else ""
    return Section(f"`{planner}`", SOURCES[planner] + goal, ("claim", *WORLDS), rows)


def overview(cells):
    """The losses themselves."""
    titles = list(dict.fromkeys(title for _, title in cells))
    rows = [[title, *(_losses(cells, name, title) for name in WORLDS)] for title in titles]
    return Section("Schedules of tiny language models", words(), ("schedule", *WORLDS), rows)


def _losses(cells, name, title):
    if (name, title) not in cells:
        return NONE
    goal, every = (losses(cells, name, title, one, "last").mean() for one in ("goal", "all"))
    return f"{goal:.4f}, {every:.4f}"


def words():
    """What was done, for the head of the table."""
    from benchmarks.schedule_trainings import BUDGET, CONTEXT, LATE, LOW_PEAK, PEAK, SEEDS, STEPS
    from benchmarks.schedule_worlds import BATCH, MODEL, REFERENCE_TOKENS
    from mixwright.proxies import ProxyModel

    model = ProxyModel(**MODEL, vocabulary=256)
    comparisons = len(WORLDS) * (sum(map(len, CLAIMS.values())) + len(GAINS))
    text = f"""
        Proxies of {model.parameters:,} parameters over bytes ({model.layers} layer, width
        {model.width}, {CONTEXT} tokens a sequence), trained by the worker on {BUDGET.tokens:,}
        tokens: {STEPS} steps of {BATCH} sequences where the batch is constant, AdamW with a peak
        of {PEAK} ({LOW_PEAK} where signal limits) after a short warm-up. {len(SEEDS)} seeds,
        paired: the same initial weights and random words. This table has the losses of last
        models on held-out text, in nats a token: that of the goal, and the mean over all domains.
        The tables below have differences, first minus second. A claim *shows* where the 95 %
        interval over seeds, by Student's t, is below zero; *the opposite* shows where it is above.
        Of {comparisons} intervals about {comparisons / 20:.0f} would miss zero by chance. *Mixed*
        has in every stage the data of all stages, *random* all documents in random order, at the
        same rates. Rates were chosen on other seeds. What does not show here may hold for models
        that are thousands of times larger, and the other way round.

        `python`: six domains of Python's text, the goal documentation and docstrings; quality is
        how much likelier a document is to a proxy of the goal's domains than to one of all.
        `chains`: Markov chains, a fifth of them clean, which are the goal, and the rest with 10 to
        90 % of letters replaced at random; quality is the share that is not. Perplexities are
        those of two proxies (widths 64 and 16) trained on {REFERENCE_TOKENS:,} tokens of
        everything. Good data is the last {LATE:.0%} of the tokens, 5 buckets of quality ascend;
        otherwise defaults. {machine()}; {versions("torch", "numpy")}.
    """
    return " ".join(text.split())


def sections():
    """The sections of docs/benchmarks.md."""
    cells = measure()
    return [overview(cells), *(section(cells, planner) for planner in CLAIMS)]
