"""Tiny language models on five sets of domains: each reweighter's defaults against even weights.

A cell is a method on a set, all seeds side by side; it is kept in `var/` once it is measured, so
that a measurement that was cut off goes on where it was.
"""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from benchmarks.online_methods import METHODS, kept
from benchmarks.online_plot import draw
from benchmarks.online_report import BEST, EVEN, Outcomes, main_section, transfer_section
from benchmarks.online_sets import SETS, domain_set
from benchmarks.online_trainer import BATCH, MODEL, OPTIMIZER, STEPS
from benchmarks.online_transfer import TRANSFER, transfer

SEEDS = tuple(range(8))
TRIED, TRIED_MIXTURES = (100, 101), 8  # fixed mixtures, chosen on seeds of their own
FOLDER = Path(__file__).parents[1] / "var" / "benchmarks" / "online_real"
ENTRIES = (EVEN, *METHODS, BEST)
LONG = ("aioli, ema", "mates", "tikmix_m", "mixing_agent", BEST)  # last, if time should run out


def cell(job):
    """What came of a method on a set: final goals by seed, and what it cost; measured once."""
    entry, name = job
    place = FOLDER / f"{name} {entry.replace(',', '')}.json"
    if place.exists():
        return json.loads(place.read_text())
    torch.set_num_threads(1)
    found = transfer(domain_set(name), SEEDS) if entry == TRANSFER else _cell(entry, name)
    FOLDER.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found))
    return found


def _cell(entry, name):
    domains, began = domain_set(name), time.process_time()
    training, beforehand = trained(entry, domains)
    meter = training.meter
    return {
        "finals": training.final().tolist(),
        "weights": training.weights.mean(0).tolist(),
        "steps": meter.steps / STEPS,
        "seconds": meter.seconds / training.seconds,
        "beforehand": beforehand,
        "processor_seconds": time.process_time() - began,
    }


def trained(entry, domains):
    if entry == EVEN:
        return kept(domains, SEEDS, domains.even), 0.0
    if entry == BEST:
        return kept(domains, SEEDS, best_fixed(domains)), 0.0
    return METHODS[entry](domains, SEEDS)


def best_fixed(domains):
    """The best of a few random mixtures, on seeds that nothing else uses."""
    count = len(domains.names)
    drawn = np.random.default_rng(11).dirichlet(np.full(count, 3.0), TRIED_MIXTURES)
    finals = [kept(domains, [seed] * TRIED_MIXTURES, drawn).final() for seed in TRIED]
    return drawn[np.mean(finals, 0).argmin()]


def measure():
    """All cells by entry and set, in two processes."""
    order = sorted(ENTRIES, key=lambda one: LONG.index(one) if one in LONG else -1)
    jobs = [(TRANSFER, "sharing"), *((entry, name) for entry in order for name in SETS)]
    found = {}
    with Progress() as progress, ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        task = progress.add_task("tiny language models", total=len(jobs))
        futures = {pool.submit(cell, job): job for job in jobs}
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            progress.advance(task)
    return found


def words():
    """What was done, for the head of the table."""
    sets = "; ".join(
        f"`{name}` ({', '.join(domain_set(name).names)})"
        + (", whose goal is documentation, which is not trained on" if name == "target" else "")
        for name in SETS
    )
    return (
        f"The proxies' decoder with {MODEL.parameters:,} parameters and {MODEL.vocabulary} tokens "
        f"(1 layer, width {MODEL.width}, {MODEL.context} tokens a sequence), {STEPS} steps of "
        f"{BATCH} sequences, AdamW with a learning rate of {OPTIMIZER.learning_rate} that falls "
        f"to 0; {len(SEEDS)} seeds, paired: the same initialisation, the same rows of each domain "
        "in the same order, the same random numbers for which domain fills which place. Sets: "
        f"{sets}. In `sharing`, `same` has all transitions of `base`, `half` one half, `none` "
        "none. In `many`, documentation is scarce and docstrings come twice. A cell is the mean "
        "difference from even weights at the end, in nats on held-out text (the mean over domains, "
        "or the goal), and its 95 % interval over seeds by Student's t: **bold** is better, ▲ "
        "worse, clear of zero. *All sets* is the mean of the sets' means, its interval over seeds. "
        "Defaults everywhere, nothing tuned per set. Reweighters are told 19 times in a training, "
        "TiKMiX and MATES three times, LFR every fourth step; Aioli has four rounds, up to 56 % of "
        "each its probes, which count among the steps. Options that count steps are scaled to the "
        "training: the burn-in of `loss_reweighting` is a tenth of it. *Extra steps* are tokens "
        "measured on, in percent of the training's (a forward pass counts a third), *extra "
        "seconds* what measuring and updating took, in percent of the training's seconds, "
        "*beforehand* what has to be trained before, in trainings: a reference at even weights "
        "(its losses are `shearing`'s targets), a tenth of a training on each domain for "
        "`skill_it`, five at random mixtures for the agent. `tikmix` has AdamW's second moments, "
        "damped by their mean, for the Hessian; the agent's score is the goal; MATES predicts "
        "from a block's domain and the shares of its tokens. `doremi`, `shearing`, `skill_it`, "
        "`odm`, `pike`, `aioli` and `lfr` have no means of being told a goal that is no domain. "
        f"*{BEST}* is the best of {TRIED_MIXTURES} random ones, chosen on other seeds: what there "
        "is to gain, at least."
    )


def sections():
    """The sections of docs/benchmarks.md."""
    found = measure()
    known = found.pop((TRANSFER, "sharing"))
    cells = {(entry, name): found[entry, name] for entry in ENTRIES for name in SETS}
    outcomes = Outcomes(cells, tuple(SETS))
    draw("online_real", outcomes)
    return [main_section(outcomes, words()), transfer_section(known)]
