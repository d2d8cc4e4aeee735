"""Tiny language models trained side by side, one per seed, each on weights of its own.

The decoder is the proxies' (`workers.model`), stacked over seeds. Two trainings of a seed have the
same initialisation, the same order of rows within each domain and the same random numbers for
which domain fills which place of a batch, so that they differ by their weights alone.
"""

import time
from contextlib import contextmanager

import numpy as np
import torch

from benchmarks.online_sets import CONTEXT, VOCABULARY
from mixwright.proxies import ProxyModel
from mixwright_client.sampler import BatchPlan, drawn_domains
from workers.learning_rate import multiplier
from workers.model import initialise, losses, token_losses
from workers.order import OptimizerOrder

MODEL = ProxyModel(1, 32, 2, 48, CONTEXT, VOCABULARY)
BATCH, STEPS = 16, 200  # sequences, steps of a training
OPTIMIZER = OptimizerOrder(0.004, "linear", 0.1, 0.0, 0.1, 0.9, 0.95, 1.0, BATCH)
EVALUATED_AT_ONCE, TESTED = 128, 256  # rows; of each part of the goal


class Meter:
    """What is spent besides training: steps of a training, by tokens, and seconds.

    A forward pass counts a third of a step, a forward and backward pass a whole one.
    """

    def __init__(self):
        self.rows, self.seconds, self._depth = 0.0, 0.0, 0

    @contextmanager
    def measure(self):
        began = time.process_time()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.process_time() - began

    def forward(self, rows):
        self.rows += rows / 3

    def backward(self, rows):
        self.rows += rows

    @property
    def steps(self):
        return self.rows / BATCH


class Draws:
    """The next rows of sources, such as domains: each in its own random order, again and again."""

    def __init__(self, sources, seed):
        self.sources, self.seed = sources, seed
        rng = np.random.default_rng((seed, 3))
        self.order = [rng.permutation(rows) for rows in sources]
        self.taken = np.zeros(len(sources), dtype=np.int64)

    def of(self, chosen):
        """Return a row of each chosen source, in turn."""
        rows = np.empty(len(chosen), dtype=np.int64)
        for place, source in enumerate(chosen):
            order = self.order[source]
            rows[place] = order[self.taken[source] % len(order)]
            self.taken[source] += 1
        return rows

    def mixed(self, weights, step):
        """Return the rows of a batch by weights of the sources."""
        return self.of(drawn_domains(weights, BatchPlan(BATCH, self.seed), step))


class Training:
    """Trainings of several seeds, `weights` (K, m) in force; `steps` may be fewer than usual."""

    def __init__(self, domains, seeds, steps=STEPS):
        self.domains, self.seeds, self.steps = domains, tuple(seeds), steps
        self.rows = torch.from_numpy(np.concatenate(domains.train))
        ends = np.cumsum([len(rows) for rows in domains.train])
        self.domain_of = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        sources = np.split(np.arange(ends[-1]), ends[:-1])
        self.draws = [Draws(sources, seed) for seed in self.seeds]
        found = initialise(MODEL, self.seeds)
        self.parameters = {name: p.requires_grad_() for name, p in found.items()}
        groups = [
            {"params": [p for p in found.values() if p.ndim == 3], "weight_decay": 0.1},
            {"params": [p for p in found.values() if p.ndim == 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)
        self.step, self.meter, self.seconds = 0, Meter(), 0.0
        self.weights = np.tile(domains.even, (len(self.seeds), 1))
        self.reference, self.weigh = None, None
        self.forget()

    @property
    def rate(self):
        return OPTIMIZER.learning_rate * multiplier(OPTIMIZER, self.step, self.steps)

    def forget(self):
        """Begin new sums of training losses and of excess over the reference, by domain."""
        self.sums = np.zeros((3, len(self.seeds), len(self.domains.names)))

    def means(self, excess=False):
        """Mean training loss of each domain since `forget` (K, m), NaN where not seen."""
        with np.errstate(invalid="ignore"):
            return self.sums[1 if excess else 0] / self.sums[2]

    def run(self, steps, weights=None):
        """Train on the weights in force, or on these."""
        weights = self.weights if weights is None else weights
        for _ in range(steps):
            self.train([d.mixed(w, self.step) for d, w in zip(self.draws, weights, strict=True)])

    def train(self, rows):
        """One step on a batch of row numbers, K times `BATCH`; return each row's loss (K, B)."""
        began = time.process_time()
        rows = np.array(rows)
        windows = self.rows[torch.from_numpy(rows)].long()
        found = token_losses(self.parameters, MODEL, windows)
        per_row = found.mean(-1)
        shares = self._shares(per_row.detach())
        self._change((shares * per_row).sum())
        told = per_row.detach().numpy().astype(np.float64)
        self._note(rows, told, found.detach(), windows)
        self.step += 1
        self.seconds += time.process_time() - began
        return told

    def _shares(self, per_row):
        if self.weigh is None:
            return torch.full_like(per_row, 1.0 / per_row.shape[1])
        with self.meter.measure():
            return torch.stack([self.weigh(one, self.step) for one in per_row])

    def _change(self, loss):
        """A step of AdamW, each slot's gradient clipped to a norm of 1."""
        self.optimizer.zero_grad()
        loss.backward()
        gradients = [p.grad for p in self.parameters.values()]
        norm = sum(g.flatten(1).square().sum(1) for g in gradients).sqrt()
        clip = (OPTIMIZER.clip / (norm + 1e-6)).clamp(max=1.0)
        for g in gradients:
            g.mul_(clip.view(-1, *[1] * (g.ndim - 1)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.optimizer.step()

    def _note(self, rows, told, found, windows):
        excess = self._excess(found, windows)
        domain = self.domain_of[rows]
        for slot, here in enumerate(domain):
            for part, values in zip(self.sums, (told, excess, np.ones_like(told)), strict=True):
                np.add.at(part[slot], here, values[slot])

    def _excess(self, found, windows):
        """Mean over tokens of what the loss is above the reference's, (K, B)."""
        if self.reference is None:
            return np.zeros(found.shape[:2])
        with self.meter.measure(), torch.no_grad():
            known = token_losses(self.reference, MODEL, windows)
            self.meter.forward(windows.shape[1])
            return (found - known).clamp(min=0).mean(-1).numpy().astype(np.float64)

    @torch.no_grad()
    def losses_on(self, parts):
        """Mean losses (K, parts) on windows of each part (n, T + 1)."""
        found = []
        for rows in parts:
            windows = torch.from_numpy(rows.astype(np.int64)).expand(len(self.seeds), -1, -1)
            some = [
                losses(self.parameters, MODEL, one)
                for one in torch.split(windows, EVALUATED_AT_ONCE, 1)
            ]
            found.append(torch.cat(some, 1).double().mean(1).numpy())
        return np.stack(found, 1)

    def gradients_on(self, windows):
        """Each slot's gradient (K, P) of the mean loss on windows (n, T + 1) or (K, n, T + 1)."""
        windows = torch.as_tensor(windows).long()
        if windows.ndim == 2:
            windows = windows.expand(len(self.seeds), -1, -1)
        loss = losses(self.parameters, MODEL, windows).mean(1).sum()
        self.meter.backward(windows.shape[1])
        found = torch.autograd.grad(loss, list(self.parameters.values()))
        return torch.cat([g.flatten(1) for g in found], 1)

    def fisher(self):
        """Diagonal of the empirical Fisher matrix (K, P): AdamW's second moments."""
        moments = [self.optimizer.state[p]["exp_avg_sq"] for p in self.parameters.values()]
        return torch.cat([one.flatten(1) for one in moments], 1) / (1 - 0.95**self.step)

    @contextmanager
    def trial(self, rows):
        """Models after one step on these rows (K, n) alone; then it is taken back."""
        state = [s for p in self.parameters.values() for s in self.optimizer.state[p].values()]
        before = [(t, t.detach().clone()) for t in (*self.parameters.values(), *state)]
        windows = self.rows[torch.from_numpy(rows)].long()
        self._change(losses(self.parameters, MODEL, windows).mean(1).sum())
        self.meter.backward(windows.shape[1])
        yield
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)

    def final(self):
        """The goal at the end: mean loss on its test text, by seed (K,)."""
        return self.losses_on([rows[:TESTED] for rows in self.domains.goal_test]).mean(1)
