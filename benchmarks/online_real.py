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
from benchmarks.online_sets import SETS, domain_set
from benchmarks.online_trainer import STEPS
from benchmarks.online_transfer import TRANSFER, transfer

SEEDS = tuple(range(8))
TRIED, TRIED_MIXTURES = (100, 101), 8  # fixed mixtures, chosen on seeds of their own
FOLDER = Path(__file__).parents[1] / "var" / "benchmarks" / "online_real"
EVEN, BEST = "even", "best of fixed mixtures"
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


if __name__ == "__main__":
    measure()
