"""LFR and MATES: trainings whose batches come from blocks, as many of each domain.

A block is a run of a domain's rows. Visits go through the kept blocks in random order, each once
before any comes again, and each visit is the block's next row.
"""

import numpy as np

from benchmarks import online_measures as measured
from benchmarks.online_steering import ROUND, ROUNDS, STAGE, Steered
from benchmarks.online_trainer import BATCH, STEPS, Draws
from mixwright.reweighting.base import Blocks, Table

BLOCKS = STEPS * BATCH // 8  # LFR's whole schedule goes through all blocks as often as eight times
REPORT = 4  # steps between LFR's reports
MEASURED, MEASURED_ROWS = 96, 4  # blocks of a stage of MATES, rows of each
TOKEN_RANGES = 16  # whose shares MATES predicts from, beside the domain


class Pool:
    """The blocks of a training, and which are kept."""

    def __init__(self, training, seed):
        each = BLOCKS // len(training.domains.names)
        ends = np.cumsum([len(rows) for rows in training.domains.train])
        domains = np.split(np.arange(ends[-1]), ends[:-1])
        self.rows = [block for rows in domains for block in np.array_split(rows, each)]
        self.draws, self.rng = Draws(self.rows, seed), np.random.default_rng((seed, 23))
        self.kept, self.queue = None, np.empty(0, dtype=np.int64)

    def keep(self, message):
        """Visit these blocks only; a queue of the same blocks goes on."""
        if message["bitmap"] != self.kept:
            self.kept, self.ids = message["bitmap"], np.array(message["ids"])
            self.queue = np.empty(0, dtype=np.int64)

    def visit(self):
        """The blocks of a batch, and a row of each."""
        while len(self.queue) < BATCH:
            self.queue = np.concatenate([self.queue, self.rng.permutation(self.ids)])
        ids, self.queue = self.queue[:BATCH], self.queue[BATCH:]
        return ids, self.draws.of(ids)


def begun(domains, seeds, name):
    """Trainings on blocks, with their pools."""
    each = BLOCKS // len(domains.names)
    steered = Steered(domains, seeds, name, lambda _: {"blocks": each * len(domains.names)})
    return steered, [Pool(steered.training, seed) for seed in seeds]


def train(steered, pools, steps):
    """Train on the blocks that are kept now; return visited ids and their losses by seed."""
    for pool, plan in zip(pools, steered.plans(), strict=True):
        pool.keep(plan["blocks"])
    ids, losses = [], []
    for _ in range(steps):
        visits = [pool.visit() for pool in pools]
        ids.append([visited for visited, _ in visits])
        losses.append(steered.training.train([rows for _, rows in visits]))
    return [
        Blocks(*pair)
        for pair in zip(np.concatenate(ids, 1), np.concatenate(losses, 1), strict=True)
    ]


def lfr(domains, seeds):
    steered, pools = begun(domains, seeds, "lfr")
    for _ in range(STEPS // REPORT):
        steered.tell(blocks=train(steered, pools, REPORT))
    return steered.training, 0.0


def mates(domains, seeds):
    steered, pools = begun(domains, seeds, "mates")
    numbers = [features(steered.training, pool) for pool in pools]
    for stage in range(ROUNDS // STAGE):
        if stage:
            steered.tell(blocks=tried(steered.training, pools), tables={"probe_losses": numbers})
        train(steered, pools, STAGE * ROUND)
    return steered.training, 0.0


@measured.timed
def tried(training, pools):
    """The goal after a step on a block alone, for some blocks of each pool."""
    ids = np.array([pool.rng.permutation(len(pool.rows))[:MEASURED] for pool in pools])
    found = []
    for some in ids.T:
        rows = [pool.draws.of([one] * MEASURED_ROWS) for pool, one in zip(pools, some, strict=True)]
        with training.trial(np.array(rows)):
            found.append(measured.goal(training))
    return [Blocks(one, labels) for one, labels in zip(ids, np.array(found).T, strict=True)]


def features(training, pool):
    """What MATES predicts from: a block's domain and shares of ranges of tokens, standardised."""
    of_domain = np.eye(len(training.domains.names))
    tokens = training.rows.numpy()
    width = 128 // TOKEN_RANGES
    values = np.array(
        [
            [
                *of_domain[training.domain_of[rows[0]]],
                *np.bincount(tokens[rows].ravel() // width, minlength=TOKEN_RANGES)
                / tokens[rows].size,
            ]
            for rows in pool.rows
        ]
    )
    values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)
    columns = tuple(f"x{i}" for i in range(values.shape[1]))
    return Table(tuple(map(str, range(len(values)))), columns, values)
