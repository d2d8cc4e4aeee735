"""RegMix-D online: the mixture of the stage that the observed losses say a training is in.

Proxies' curves give a mixture for each stage, and the losses that it has at the stage's end
(`mixwright.schedules.regmix_d`). Here observed losses are smoothed, and the stage is the one whose
predicted losses are nearest, in the mean of squares: a training that learns faster than the
proxies gets to later mixtures sooner, and a slower one later, than its tokens say.

Source:
    Zhao et al., "RegMix-D: Dynamic Data Mixing via Proxy Training Trajectories", arXiv:2606.18663.
    Grade of evidence: the abstract, which has "an online variant that adapts the mixture during
    training using observed loss"; everything else is our interpretation.

Departures:
    How the paper chooses from losses was not found. A training never goes back to an earlier
    stage, so that a bad batch does not undo what was learned. After a change of domains the next
    losses choose among all stages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import option, records
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    as_vector,
    remapped,
)
from mixwright.simplex import normalise


@dataclass(frozen=True, slots=True)
class RegMixD:
    """Options of RegMix-D."""

    stages: Sequence[Mapping[str, Mapping[str, float]]] = records(
        "Needed, in their order: `weights` by domain, and the `losses` predicted at the stage's "
        "end, by domain or by the name of a score.",
        keys=("losses", "weights"),
    )
    ema: float = option(
        0.2, "Share of a new loss in the smoothed one; 1 for no smoothing.", minimum=1e-6, maximum=1
    )

    @property
    def requires(self) -> Requirements:
        """The losses that stages have."""
        return Requirements(
            fields=(("losses", "scores"),),
            every_steps=100,
            cost="no more computation: training losses, or evaluations that are there anyway",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed, with the weights that were given.

        Raises:
            InvalidInputError: there are no stages, their losses have different names, or their
                weights are of other domains.
            NotOnSimplexError: their weights are no mixture.
        """
        if not self.stages:
            raise _refusal("it is needed: `losses` and `weights` of each, in their order")
        for stage in self.stages:
            if not stage["losses"] or set(stage["losses"]) != set(self.stages[0]["losses"]):
                raise _refusal("all need losses of the same names, one at least")
            self._mixture(stage, domains)
        return State(domains, weights, seed, memory={"stage": 0, "smoothed": {}})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Choose the stage by the losses so far."""
        observed = self._observed(state, observation)
        if not observed:
            names = ", ".join(sorted(self.stages[0]["losses"])[:5])
            return Update(state, f"it has no finite loss of those that stages have: {names}")
        smoothed = self._smoothed(state.memory["smoothed"], observed)
        distances = [distance(smoothed, stage["losses"]) for stage in self.stages]
        chosen = max(state.memory["stage"], int(np.argmin(distances)))
        return Update(
            state.after(
                observation,
                self._mixture(self.stages[chosen], state.domains),
                memory={"stage": chosen, "smoothed": smoothed},
            ),
            diagnostics={"stage": chosen + 1, "distances": distances, "smoothed": smoothed},
        )

    def _observed(self, state: State, observation: Observation) -> dict[str, float]:
        """Return the finite numbers that stages have a prediction of."""
        told: dict[str, float | None] = dict(observation.scores)
        if "losses" in observation.vectors:
            losses = observation.vectors["losses"].tolist()
            told |= dict(zip(state.domains, losses, strict=True))
        found = {name: told.get(name) for name in sorted(self.stages[0]["losses"])}
        return {name: one for name, one in found.items() if one is not None and np.isfinite(one)}

    def _smoothed(
        self, before: Mapping[str, float], observed: Mapping[str, float]
    ) -> dict[str, float]:
        """Return moving averages; those of what was not observed stay."""
        after = dict(before)
        for name, value in observed.items():
            after[name] = value + (1 - self.ema) * (before.get(name, value) - value)
        return after

    def _mixture(
        self, stage: Mapping[str, Mapping[str, float]], domains: tuple[str, ...]
    ) -> FloatArray:
        """Return a stage's weights `(k,)`."""
        return normalise(as_vector(stage["weights"], domains, "stages"), domains)

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the new domains' weights; the next losses choose the stage afresh."""
        return remapped(state, new, origin)


def stages_of(
    domains: Sequence[str], metrics: Sequence[str], mixtures: FloatArray, losses: FloatArray
) -> list[dict[str, dict[str, float]]]:
    """Return the option `stages` of what was planned from proxies' curves.

    Args:
        domains: names, length k.
        metrics: names, length m: of domains whose losses a trainer reports, or of its scores.
        mixtures: shape `(s, k)`, of the stages.
        losses: shape `(s, m)`, predicted for each stage's mixture at the stage's end.
    """
    return [
        {
            "losses": dict(zip(metrics, predicted, strict=True)),
            "weights": dict(zip(domains, mixture, strict=True)),
        }
        for predicted, mixture in zip(losses.tolist(), mixtures.tolist(), strict=True)
    ]


def distance(smoothed: Mapping[str, float], predicted: Mapping[str, float]) -> float:
    """Return the root of the mean squared difference over the names that were observed."""
    gaps = [value - predicted[name] for name, value in sorted(smoothed.items())]
    return float(np.sqrt(np.mean(np.square(gaps))))


def _refusal(detail: str) -> InvalidInputError:
    return InvalidInputError(f"option 'stages': {detail}", field="options/stages")
