"""Loss-based reweighting of samples: samples of low loss count less in the batch's mean.

Each sample's loss is brought to [-δ, δ] between the batch's least and largest, h; a strategy turns
h into a score f, and the weights of the samples are `softmax(f / r)`. The weights need the batch
and are computed in the trainer, by `sample_weights`; the server owns strategy, δ, r and the
burn-in of uniform weights. Weights of domains stay as they are.

Source:
    Sow et al., "Dynamic Loss-Based Sample Reweighting for Improved Large Language Model
    Pretraining", arXiv:2502.06733, and its code
    sowmaster/Sample-Level-Loss-Reweighting-ICLR-2025 `src/trainer.py`. Grade of evidence: EXEC.

Departures:
    Losses that are not finite get no weight. "uniform" is uniform. r is constant in the code; its
    linear decay, off by default, is our interpretation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import option
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    remapped,
)
from mixwright.reweighting.exponentiated import softmax

STRATEGIES: Final = ("linupper", "quadratic", "extremes", "uniform")
_LEAST_RANGE = 1e-6  # nats per token


@dataclass(frozen=True, slots=True)
class LossReweighting:
    """Options of loss-based reweighting."""

    strategy: str = option(
        "linupper",
        "Less of low losses, more of middling ones, more of both ends, or all alike.",
        choices=STRATEGIES,
    )
    delta: float = option(1.0, "δ, what losses are scaled to.", minimum=1e-6)
    temperature: float = option(1.0, "r; the larger, the more uniform.", minimum=1e-6)
    initial_temperature: float = option(1.0, "r after the burn-in.", minimum=1e-6)
    decay_steps: int = option(0, "Steps from the initial r to the last, linearly.", minimum=0)
    burn_in_steps: int = option(1000, "Steps of uniform weights.", minimum=0)

    @property
    def requires(self) -> Requirements:
        """Nothing; losses are kept to be looked at."""
        return Requirements(
            fields=(),
            optional=("losses",),
            every_steps=500,
            cost="a loss per sample, gathered from all ranks, at every step",
            acts_on="samples",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed."""
        return State(domains, weights, seed)

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return the stages of the whole schedule, and what is in force after the last step.

        A stage holds from `start_step` until before `end_step`, null if it does not end; r goes
        linearly from `start` to `end` of its `temperature`.
        """
        stages = self._stages()
        now = state.step or 0
        begun = [stage for stage in stages if stage["start_step"] <= now]
        return {"in_force": _at(begun[-1], now), "stages": stages}

    def update(self, state: State, observation: Observation) -> Update:
        """Return the same weights of domains."""
        return Update(state.after(observation, state.weights))

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the new domains' weights."""
        return remapped(state, new, origin)

    def _stages(self) -> list[dict[str, Json]]:
        last = self.temperature
        decayed = self.burn_in_steps + self.decay_steps
        stages = [
            self._stage("uniform", (0, self.burn_in_steps), (last, last)),
            self._stage(
                self.strategy, (self.burn_in_steps, decayed), (self.initial_temperature, last)
            ),
            self._stage(self.strategy, (decayed, None), (last, last)),
        ]
        return [stage for stage in stages if stage["start_step"] != stage["end_step"]]

    def _stage(
        self, strategy: str, steps: tuple[int, int | None], temperatures: tuple[float, float]
    ) -> dict[str, Json]:
        return {
            "start_step": steps[0],
            "end_step": steps[1],
            "strategy": strategy,
            "delta": self.delta,
            "temperature": {"start": temperatures[0], "end": temperatures[1]},
        }


def sample_weights(
    losses: FloatArray, strategy: str, delta: float, temperature: float
) -> FloatArray:
    """Return weights of samples, shape `(b,)`, that sum to 1: the batch's loss is their sum.

    Args:
        losses: of all samples of a step on all ranks, shape `(b,)`, nats per token. Those that
            are not finite get no weight.
        strategy: one of `STRATEGIES`.
        delta: δ, positive.
        temperature: r, positive.

    Raises:
        InvalidInputError: no loss is finite, there is no such strategy, or δ or r is not positive.
    """
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise InvalidInputError(f"no strategy '{strategy}'; known: {known}", field="strategy")
    if not (delta > 0 and temperature > 0):
        raise InvalidInputError("delta and temperature must be positive", field="temperature")
    finite = np.isfinite(losses)
    if not finite.any():
        raise InvalidInputError("no loss is finite", field="losses")
    weights = np.zeros(len(losses))
    weights[finite] = softmax(_scores(losses[finite], strategy, delta) / temperature)
    return weights


def _scores(losses: FloatArray, strategy: str, delta: float) -> FloatArray:
    """Return f, shape `(b,)`, of finite losses."""
    least, largest = losses.min(), losses.max()
    scaled = delta * (2.0 * losses - largest - least) / max(largest - least, _LEAST_RANGE)
    scores = {
        "linupper": np.minimum(scaled + delta, delta),
        "quadratic": 1.0 - scaled**2 / delta**2,
        "extremes": np.abs(scaled),
        "uniform": np.zeros(len(losses)),
    }
    return np.asarray(scores[strategy])


def _at(stage: Mapping[str, Json], step: int) -> dict[str, Json]:
    """Return strategy, δ and r of a stage at a step."""
    start, end = stage["temperature"]["start"], stage["temperature"]["end"]
    length = (stage["end_step"] or step + 1) - stage["start_step"]
    temperature = start + (end - start) * (step - stage["start_step"]) / length
    return {"strategy": stage["strategy"], "delta": stage["delta"], "temperature": temperature}
