"""What reweighters ask of a training, measured on text that is neither trained on nor tested.

Each function takes trainings side by side and returns numbers per domain, `(K, m)`, K seeds.
Losses are taken on the same windows every time; gradients on other windows at every turn, those of
the target never on the windows of a domain.
"""

import functools

import numpy as np
import torch

from mixwright_client.gradients import alignment, clipped, grad_norms, norm_and_variance

LOSS_WINDOWS = 16  # of a domain
GRADIENT_WINDOWS = 8
MICRO_BATCHES = 4  # of GRADIENT_WINDOWS / 2 windows, for PiKE
CLIP = 5.0  # of a domain's gradient, DoGE's


def timed(function):
    """Count the seconds of a measurement as spent besides training."""

    @functools.wraps(function)
    def inner(training, *arguments):
        with training.meter.measure():
            return function(training, *arguments)

    return inner


@timed
def losses(training):
    """Losses of the domains (K, m)."""
    return _losses(training, training.domains.probe)


@timed
def goal(training):
    """The goal as it is estimated in training (K,)."""
    return _losses(training, training.domains.goal_probe).mean(1)


def _losses(training, parts):
    training.meter.forward(LOSS_WINDOWS * len(parts))
    return training.losses_on([rows[:LOSS_WINDOWS] for rows in parts])


def windows(rows, turn, count, offset=0):
    """`count` windows of a turn; the first half of the rows, or another part of them."""
    first = offset + turn * count
    return rows[np.arange(first, first + count) % len(rows)]


@timed
def gradients(training, turn, count=GRADIENT_WINDOWS):
    """Gradients of the domains (K, m, P)."""
    parts = [windows(rows, turn, count) for rows in training.domains.probe]
    return torch.stack([training.gradients_on(one) for one in parts], 1)


@timed
def goal_gradients(training, turn, count=GRADIENT_WINDOWS):
    """Gradients of the parts of the goal (K, parts, P), on windows that `gradients` has not."""
    half = len(training.domains.probe[0]) // 2
    parts = [windows(rows, turn, count, half) for rows in training.domains.goal_probe]
    return torch.stack([training.gradients_on(one) for one in parts], 1)


@timed
def doge(training, turn):
    """Alignment and norms of clipped gradients; domains are their own targets if there is none."""
    found = gradients(training, turn)
    aims = goal_gradients(training, turn) if training.domains.has_target else [None] * len(found)
    told = {"alignment": [], "grad_norms": []}
    for rows, aim in zip(found, aims, strict=True):
        named = {name: clipped(row, CLIP) for name, row in _named(training, rows)}
        target = None if aim is None else clipped(aim[0], CLIP)
        told["alignment"].append(list(alignment(named, target).values()))
        told["grad_norms"].append(list(grad_norms(named).values()))
    return {name: np.array(values) for name, values in told.items()}


@timed
def dga(training, turn):
    """Alignment with the gradient of the goal."""
    found, aims = gradients(training, turn), goal_gradients(training, turn).mean(1)
    told = [
        list(alignment(dict(_named(training, rows)), aim).values())
        for rows, aim in zip(found, aims, strict=True)
    ]
    return {"alignment": np.array(told)}


@timed
def pike(training, turn):
    """Squared norms and variances of gradients, from micro-batches."""
    size = GRADIENT_WINDOWS // 2
    micro = [gradients(training, MICRO_BATCHES * turn + i, size) for i in range(MICRO_BATCHES)]
    stacked = torch.stack(micro, 2)  # (K, m, micro-batches, P)
    found = np.array([[norm_and_variance(rows, size) for rows in one] for one in stacked])
    return {"grad_norms_squared": found[..., 0], "grad_variances": found[..., 1]}


@timed
def preconditioned(training, turn):
    """Gradients of the goal's parts times an inverse Hessian (K, parts, P): a damped Fisher's."""
    fisher = training.fisher()
    damped = fisher + fisher.mean(1, keepdim=True)
    return goal_gradients(training, turn, 2 * GRADIENT_WINDOWS) / damped[:, None]


@timed
def influence(training, turn):
    """Influence of domains on the goal's parts (K, parts, m), and what influence is measured by."""
    aims = preconditioned(training, turn)
    found = gradients(training, turn, 2 * GRADIENT_WINDOWS)
    return torch.bmm(aims, found.transpose(1, 2)).numpy().astype(np.float64), aims


@timed
def influence_of_mixtures(training, aims, mixtures, seed):
    """Influence (K, parts, n) of mixtures (K, n, m), each by the gradient of a batch drawn so."""
    rng, rows = np.random.default_rng(seed), training.domains.probe
    half, size = len(rows[0]) // 2, 2 * GRADIENT_WINDOWS
    pool, found = np.stack([part[:half] for part in rows]), []
    for at in range(mixtures.shape[1]):
        drawn = [rng.choice(len(rows), size, p=one[at] / one[at].sum()) for one in mixtures]
        batch = pool[np.array(drawn), rng.integers(half, size=(len(mixtures), size))]
        found.append(torch.bmm(aims, training.gradients_on(batch)[:, :, None])[..., 0])
    return torch.stack(found, 2).numpy().astype(np.float64)


def _named(training, rows):
    return zip(training.domains.names, rows, strict=True)
