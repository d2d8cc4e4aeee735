"""What a training's own thread pays for `step_end`, with the server there and with it away."""

import itertools
import tempfile
import time

import httpx
import numpy as np
import torch

from benchmarks.http import REDIS, own_database
from benchmarks.server_process import free_port, serving
from benchmarks.tables import Section, machine, versions
from mixwright_client.courier import Pace
from mixwright_client.domain_loss import DomainLoss
from mixwright_client.settings import Settings
from mixwright_client.training import Training

DOMAINS = [f"domain_number_{i:02d}" for i in range(24)]
STEPS, PAUSE = 250, 0.05  # and the seconds of a step, in which the courier works too
SEQUENCES, TOKENS = 32, 128


def by_name(step):
    losses = np.random.default_rng(step).uniform(2.0, 4.0, len(DOMAINS)).tolist()
    return dict(zip(DOMAINS, losses, strict=True))


def microseconds(training, losses_of):
    """Of each `step_end`; a step's losses are made before."""
    spent = []
    for step in range(STEPS):
        losses = losses_of(step)
        began = time.perf_counter()
        training.step_end(step, losses)
        spent.append(1e6 * (time.perf_counter() - began))
        time.sleep(PAUSE)
    training.finish(1)
    return np.quantile(spent, [0.5, 0.99]), float(np.mean(spent))


def added_up():
    """A `DomainLoss`, and what adds a step's tokens to it."""
    losses = DomainLoss(DOMAINS)
    generator = torch.Generator().manual_seed(0)

    def add(_):
        ids = torch.randint(len(DOMAINS), (SEQUENCES,), generator=generator)
        losses.add(torch.rand(SEQUENCES, TOKENS, generator=generator), ids)
        return losses

    return add


def trained(url, training, losses_of):
    """A training whose checkpoint knows its ledger: the server need not be there."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(rank=0, folder=folder, pace=Pace(poll=1.0))
        return microseconds(Training.from_state(url, training, settings), losses_of)


def begun(url, name):
    """The state of a new training."""
    options = {"target_losses": dict.fromkeys(DOMAINS, 2.0), "step_size": 0.01}
    body = {"name": name, "domains": DOMAINS, "algorithm": "shearing", "options": options}
    response = httpx.post(f"{url}/v1/trainings", json=body).raise_for_status().json()
    entry = {name: response[name] for name in ("version", "effective_step", "weights")}
    return {
        "training": response["id"],
        "domains": DOMAINS,
        "step": 0,
        "ledger": [entry],
        "sampler": None,
    }


def sections():
    """The section of docs/benchmarks.md."""
    torch.set_num_threads(1)
    rows = []
    told = (("mapping, every step", lambda: by_name), ("`DomainLoss`, every 10 steps", added_up))
    with own_database() as database, serving(database, REDIS) as server:
        places = (("there", server.url), ("away", f"http://127.0.0.1:{free_port()}"))
        for (what, losses), (where, url) in itertools.product(told, places):
            cuts, mean = trained(url, begun(server.url, what), losses())
            rows.append([what, where, *(f"{cut:.0f} µs" for cut in cuts), f"{mean / 1e4:.4f} %"])
    words = (
        f"{len(DOMAINS)} domains, {STEPS} steps on one rank, tensors on the processor. Between "
        f"steps the training's thread sleeps for {1e3 * PAUSE:.0f} ms; the courier's thread and "
        "the server work on the same two processors meanwhile. Goal: ≤ 200 µs, and less than "
        "0.1 % of a step of one second in the mean."
    )
    header = ["losses", "server", "median", "99 %", "of a step of one second"]
    notes = f"{machine()}; {versions('numpy', 'torch')}."
    return [Section("`step_end` on the training's thread", words, header, rows, notes)]
