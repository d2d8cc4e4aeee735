"""Aioli: weights that follow how much each domain was just measured to lower all losses.

A round begins with probes: short intervals of training on mixtures that lean towards one domain,
`one_hot_factor` of it and the rest spread evenly, every domain once per sweep in random order.
The falls of the losses give the matrix A of a law that is linear in the weights, A_ij the effect of
training on j upon the loss of i. It is shifted to be nonnegative, scaled to sum to 1, and its
column sums c move the weights, with which the rest of the round is trained:

    "exponentiated_gradient", the paper's: p ← p exp(η c), the first time from uniform weights;
    "ema", the reference code's: p = softmax(η C), C an exponential mean of c. No weight is ever
    more than e^η times another.

Source:
    Chen et al., "Aioli: A Unified Optimization Framework for Language Model Data Mixing",
    arXiv:2411.05735, and its code HazyResearch/aioli `trainer/aioli_trainer.py`. Grade of
    evidence: EXEC.

Departures:
    Probes are part of `round_steps`, as in the paper; the code takes steps from samples. A matrix
    of equal entries counts as uniform, where the code divides by zero. `ema` is the share of the
    new, one minus the code's. The initial weights hold until the first round is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.options import option
from mixwright.philox import philox, unit
from mixwright.reweighting.base import Json, Observation, Requirements, State, Update
from mixwright.reweighting.exponentiated import exponentiated_gradient, softmax

BEFORE = "before"
_LEAST_LEAN = 1e-6  # of one_hot_factor away from uniform, as a share of uniform


@dataclass(frozen=True, slots=True)
class Aioli:
    """Options of Aioli."""

    variant: str = option(
        "exponentiated_gradient",
        "The paper's exponentiated gradient, or the reference code's mean of recent rounds.",
        choices=("exponentiated_gradient", "ema"),
    )
    step_size: float = option(0.2, "η, what column sums are multiplied by.", minimum=0.0)
    ema: float = option(
        0.9, "The share of the new round in the mean of variant 'ema'.", minimum=0.0, maximum=1.0
    )
    one_hot_factor: float = option(
        0.625, "The weight of a probe's own domain.", minimum=0.0, maximum=1.0
    )
    sweeps: int = option(4, "How often a round probes every domain.", minimum=1)
    probe_steps: int = option(4, "Steps of the optimiser in a probe.", minimum=1)
    round_steps: int = option(250, "Steps of the optimiser in a round with its probes.", minimum=1)

    @property
    def requires(self) -> Requirements:
        """Losses before the probes and after each, on the same held-out text.

        Rows are named by the plan: "before", then "1:web" for a first probe that leans to web.
        """
        return Requirements(
            fields=("probe_losses",),
            cost="an evaluation before the probes of a round and after each: 1 + domains x sweeps",
            most_missing=0.0,
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before the first round.

        Raises:
            InvalidInputError: probes are all uniform, or do not fit into a round.
        """
        count = len(domains)
        if count > 1 and abs(self.one_hot_factor * count - 1.0) < _LEAST_LEAN:
            raise InvalidInputError(
                f"option 'one_hot_factor' is 1/{count}: probes would all be the same",
                field="options/one_hot_factor",
            )
        probing = count * self.sweeps * self.probe_steps
        if count > 1 and probing >= self.round_steps:
            raise InvalidInputError(
                f"option 'round_steps' is {self.round_steps}; the probes alone take {probing}",
                field="options/round_steps",
            )
        return State(domains, weights, seed, vectors={"effects": np.full(count, np.nan)})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return the next round.

        Evaluate all domains; for each of `intervals`, in this order, train `probe_steps` steps on
        the row of `mixtures` named by `probe` and evaluate again on the same text; send all as the
        rows `before` and `row` of `probe_losses`, columns the domains; then train
        `remaining_steps` with the weights that come back. A round that was interrupted begins
        again. A single domain has nothing to probe.
        """
        count = len(state.domains)
        if count == 1:
            return {}
        names = list(state.domains)
        mixtures = probe_mixtures(count, self.one_hot_factor)
        probes = [names[index] for index in probe_order(state, self.sweeps)]
        rows = row_names(probes)[1:]
        return {
            "round": state.updates,
            "before": BEFORE,
            "mixtures": {"rows": names, "columns": names, "values": mixtures.tolist()},
            "intervals": [
                {"row": row, "probe": probe} for row, probe in zip(rows, probes, strict=True)
            ],
            "probe_steps": self.probe_steps,
            "remaining_steps": self.round_steps - len(probes) * self.probe_steps,
        }

    def update(self, state: State, observation: Observation) -> Update:
        """Estimate the law of the round and move the weights by its column sums."""
        if len(state.domains) == 1:
            return Update(state.after(observation, np.ones(1)))
        order = probe_order(state, self.sweeps)
        losses = self._losses(state, observation, order)
        if isinstance(losses, str):
            return Update(state, losses)
        law = linear_law(measured_drops(losses, order, self.sweeps), self.one_hot_factor)
        names = list(state.domains)
        effects, weights = self._step(state, normalised(law).sum(axis=0))
        return Update(
            state.after(observation, weights, vectors={"effects": effects}),
            diagnostics={"law": {"rows": names, "columns": names, "values": law.tolist()}},
        )

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the new domains' state: estimation begins again, the weights go on."""
        return replace(new, updates=state.updates, step=state.step)

    def _step(self, state: State, effects: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the effects that are kept, and the weights, each `(k,)`."""
        if self.variant == "ema":
            old = state.vectors["effects"]
            mean = self.ema * effects + (1.0 - self.ema) * old
            effects = np.where(np.isnan(old), effects, mean)
            return effects, softmax(self.step_size * effects)
        start = state.weights if state.updates else np.full(len(effects), 1.0 / len(effects))
        return effects, exponentiated_gradient(start, self.step_size * effects, 0.0)

    def _losses(self, state: State, observation: Observation, order: IntArray) -> FloatArray | str:
        """Return the round's losses `(1 + n, k)`, or why they cannot be used."""
        table = observation.tables.get("probe_losses")
        if table is None:
            return "it has no probe_losses"
        rows = row_names([state.domains[index] for index in order])
        losses = table.arranged(rows, state.domains)
        missing = np.argwhere(~np.isfinite(losses))
        if len(missing):
            row, column = missing[0]
            where = f"row '{rows[row]}', column '{state.domains[column]}'"
            return f"probe_losses are missing or not finite at {where}"
        return losses


def probe_order(state: State, sweeps: int) -> IntArray:
    """Return the domain that each probe leans to, shape `(sweeps k,)`.

    A permutation per sweep, a function of the seed, the number of updates and the domains' names.
    """
    names = np.argsort(np.array(state.domains), kind="stable")
    key = (state.seed & 0xFFFFFFFF, (state.seed >> 32) & 0xFFFFFFFF)
    turns, places = np.arange(sweeps)[:, None], np.arange(len(names))[None, :]
    words = philox((state.updates, turns, places, 0), key)
    drawn = np.argsort(unit(words[..., 0], words[..., 1]), axis=1, kind="stable")
    return np.asarray(names[drawn].ravel(), dtype=np.int64)


def row_names(probes: list[str]) -> tuple[str, ...]:
    """Return the rows of `probe_losses`: "before", then each probe's place from 1 and its name."""
    return (BEFORE, *(f"{place}:{name}" for place, name in enumerate(probes, start=1)))


def probe_mixtures(count: int, one_hot_factor: float) -> FloatArray:
    """Return P, shape `(k, k)`: a row per probe, `count` at least 2."""
    mixtures = np.full((count, count), (1.0 - one_hot_factor) / (count - 1))
    np.fill_diagonal(mixtures, one_hot_factor)
    return mixtures


def measured_drops(losses: FloatArray, order: IntArray, sweeps: int) -> FloatArray:
    """Return β, shape `(k, k)`: the mean fall of the loss of each row in each column's probes.

    Args:
        losses: shape `(1 + n, k)`, before the probes and after each.
        order: the domain of each probe, shape `(n,)`.
        sweeps: how many probes each domain has.
    """
    total = np.zeros((losses.shape[1], losses.shape[1]))
    np.add.at(total, order, losses[:-1] - losses[1:])
    return np.asarray(total.T / sweeps)


def linear_law(drops: FloatArray, one_hot_factor: float) -> FloatArray:
    """Return A, shape `(k, k)`, with `A P = β`; P is symmetric and its inverse is known.

    Args:
        drops: β, shape `(k, k)`, row evaluated and column probed.
        one_hot_factor: of P, not 1/k.
    """
    spread = (1.0 - one_hot_factor) / (len(drops) - 1)
    law: FloatArray = (drops - spread * drops.sum(axis=1, keepdims=True)) / (
        one_hot_factor - spread
    )
    return law


def normalised(law: FloatArray) -> FloatArray:
    """Return a law `(k, k)` shifted to be nonnegative and scaled to sum to 1; uniform if zero."""
    shifted = law - min(float(law.min()), 0.0)
    total = float(shifted.sum())
    return shifted / total if total > 0 else np.full(law.shape, 1.0 / law.size)
