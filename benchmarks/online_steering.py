"""Reweighters beside trainings: told what was measured, their weights in force until the next."""

import numpy as np

from benchmarks.online_trainer import STEPS, Training
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation

ROUNDS = 20
ROUND = STEPS // ROUNDS
STAGE = 5  # rounds, of TiKMiX and MATES
FLOOR = 1e-4  # as the service mixes in on output


class Steered:
    """Trainings of several seeds with a reweighter each."""

    def __init__(self, domains, seeds, name, options=lambda slot: {}):
        self.training = Training(domains, seeds)
        with self.training.meter.measure():
            self.reweighters = [build_reweighter(name, options(k)) for k in range(len(seeds))]
            self.states = [
                one.init(domains.names, domains.even, seed)
                for one, seed in zip(self.reweighters, seeds, strict=True)
            ]

    def plans(self):
        with self.training.meter.measure():
            return [r.plan(s) for r, s in zip(self.reweighters, self.states, strict=True)]

    def tell(self, vectors=None, tables=None, numbers=None, scores=None, blocks=None):
        """Tell every reweighter its part, and put the weights that come back in force."""
        training = self.training
        with training.meter.measure():
            for slot, reweighter in enumerate(self.reweighters):
                told = Observation(
                    training.step,
                    vectors={name: values[slot] for name, values in (vectors or {}).items()},
                    tables={name: some[slot] for name, some in (tables or {}).items()},
                    numbers=numbers or {},
                    scores={} if scores is None else {"goal": float(scores[slot])},
                    blocks=None if blocks is None else blocks[slot],
                    sampled=training.weights[slot],
                )
                update = reweighter.update(self.states[slot], told)
                if update.reason is not None:
                    raise RuntimeError(f"{type(reweighter).__name__}: {update.reason}")
                self.states[slot] = update.state
            weights = np.array([state.weights for state in self.states])
            training.weights = (1.0 - FLOOR) * weights + FLOOR / weights.shape[1]

    def follow(self, observe, every=1):
        """Train to the end; every so many rounds tell what `observe` says of that turn."""
        for turn in range(ROUNDS):
            if turn and turn % every == 0:
                self.tell(**observe(self.training, turn))
                self.training.forget()
            self.training.run(ROUND)
        return self.training
