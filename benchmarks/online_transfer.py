"""Whether alignment foretells transfer, on chains that share a known part of their transitions."""

import copy

import numpy as np
import torch

from benchmarks import online_measures as measured
from benchmarks.online_trainer import STEPS, Training
from mixwright_client.gradients import alignment, grad_norms

TRANSFER = "transfer"
AT, LONGER = STEPS // 2, STEPS // 20  # steps before it is measured, and of the trainings compared
TURNS = 4  # of gradients that are averaged


def transfer(domains, seeds):
    """By domain: the cosine with the first one's gradient, and the fall of its loss (K, m).

    The fall is that of a short training on the domain alone, from the same model.
    """
    training = Training(domains, seeds)
    training.run(AT)
    cosines = np.mean([_cosines(training, turn) for turn in range(TURNS)], 0)
    before, falls = _first(training), []
    for alone in np.eye(len(domains.names)):
        longer = copy.deepcopy(training)
        longer.run(LONGER, np.broadcast_to(alone, longer.weights.shape))
        falls.append(before - _first(longer))
    return {
        "names": domains.names,
        "cosines": cosines.tolist(),
        "falls": np.transpose(falls).tolist(),
    }


def _first(training):
    return training.losses_on([training.domains.probe[0]])[:, 0]


def _cosines(training, turn):
    found = []
    rows_of_slots = measured.gradients(training, turn, 32)
    for rows, aim in zip(rows_of_slots, measured.goal_gradients(training, turn, 32), strict=True):
        named = dict(zip(training.domains.names, rows, strict=True))
        norms = np.array(list(grad_norms(named).values())) * float(torch.linalg.norm(aim[0]))
        found.append(np.array(list(alignment(named, aim[0]).values())) / norms)
    return np.array(found)
