"""RegMix-D on made-up curves with a best mixture that moves: regret against a static mixture."""

import numpy as np
import pytest
from scipy.stats import t

from mixwright.reweighting.base import Observation
from mixwright.reweighting.regmix_d import RegMixD, stages_of
from mixwright.schedules.trajectories import LossCurve

DOMAINS = ("a", "b", "c")
SEEDS, PROXIES, NOISE, ENDS = range(20), 128, 0.05, (0.25, 0.5, 1.0)


def progress_at(tokens):
    return np.clip(np.log(tokens) / np.log(16) + 1, 0, 1)


class World:
    """A loss that is lowest where the best mixture is, which moves from one to another."""

    def __init__(self, rng):
        self.ends = 0.05 + 0.85 * rng.dirichlet(np.ones(3), 2)

    def regret(self, mixture, progress):
        best = (1 - progress) * self.ends[0] + progress * self.ends[1]
        return float(((mixture - best) ** 2).sum())

    def loss(self, mixture, progress):
        return 3 - progress + self.regret(mixture, progress)


def proxies(world, rng):
    mixtures, tokens = rng.dirichlet(np.ones(3), PROXIES), np.geomspace(1 / 16, 1, 9)
    losses = np.array([[world.loss(w, progress_at(one)) for one in tokens] for w in mixtures])
    losses += NOISE * rng.normal(size=losses.shape)
    curves = [LossCurve(tokens, row[:, None]) for row in losses]
    return mixtures, curves


def planned(world, rng):
    """Mixtures of the stages, and losses predicted for them, by least squares."""
    drawn, curves = proxies(world, rng)
    design = np.column_stack([drawn, (drawn**2).sum(axis=1)])
    mixtures, predicted = [], []
    for end in ENDS:
        losses = [curve.at(end)[0] for curve in curves]
        *slope, curvature = np.linalg.lstsq(design, losses)[0]
        point = -np.array(slope) / (2 * curvature)
        point = np.clip(point + (1 - point.sum()) / 3, 0, None)
        mixtures.append(point / point.sum())
        predicted.append([mixtures[-1] @ slope + curvature * mixtures[-1] @ mixtures[-1]])
    return np.array(mixtures), np.array(predicted)


def followed(world, mixtures, predicted, pace, rng):
    """Mean regret of a training in progress: by losses, by tokens, and with the last mixture."""
    online = RegMixD(tuple(stages_of(DOMAINS, ["loss"], mixtures, predicted)))
    state, total, steps = online.init(DOMAINS, np.full(3, 1 / 3), 0), np.zeros(3), 100
    for step in range(1, steps + 1):
        progress = progress_at(pace * step / steps)
        loss = world.loss(state.weights, progress) + NOISE * rng.normal()
        state = online.update(state, Observation(step, scores={"loss": loss})).state
        by_tokens = mixtures[np.searchsorted(ENDS, step / steps)]
        total += [world.regret(one, progress) for one in (state.weights, by_tokens, mixtures[-1])]
    return total / steps


@pytest.fixture(scope="module")
def plans():
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        world = World(rng)
        found.append((world, *planned(world, rng), rng))
    return found


def lower_end(gains):
    """Of the 95 % interval of the mean."""
    gains = np.array(gains)
    return gains.mean() - t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))


@pytest.mark.parametrize("stage", [0, 1])
def test_a_mixture_for_each_stage_is_better_there_than_the_last_throughout(plans, stage):
    progress = progress_at(ENDS[stage])
    gains = [
        world.regret(mixtures[-1], progress) - world.regret(mixtures[stage], progress)
        for world, mixtures, _, _ in plans
    ]
    assert lower_end(gains) > 0


@pytest.mark.parametrize("pace", [0.5, 1.0])
def test_a_training_that_follows_losses_is_better_than_a_static_one(plans, pace):
    found = np.array([followed(*plan[:3], pace, plan[3]) for plan in plans])
    assert lower_end(found[:, 2] - found[:, 0]) > 0


def test_where_a_training_is_slower_than_its_proxies_losses_are_better_than_tokens(plans):
    found = np.array([followed(*plan[:3], 0.5, plan[3]) for plan in plans])
    assert lower_end(found[:, 1] - found[:, 0]) > 0
