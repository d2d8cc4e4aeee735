"""What every reweighter is made of: what a trainer tells, what is remembered, what comes out.

A reweighter is a frozen dataclass of options with pure methods. All numbers of a domain go by the
domain's name at the edges and by its place in `state.domains` inside. Nothing reads a clock, and
randomness is a function of (seed, update): the same events give the same bits on any machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError

VECTORS: Final = (
    "losses",
    "excess_losses",
    "rewards",
    "alignment",
    "grad_norms",
    "grad_norms_squared",
    "grad_variances",
)
"""What may come as a number per domain; NaN where a domain was not seen."""
TABLES: Final = ("gram", "influence", "probe_losses")
"""What may come as a matrix with named rows and columns."""
NUMBERS: Final = ("learning_rate", "batch_size", "weights_version")
MOST_MISSING: Final = 0.5  # of the domains; more, and the observation is refused

Json: TypeAlias = Any
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Table:
    """A matrix whose axes have names.

    Attributes:
        rows: names, length r.
        columns: names, length c.
        values: shape `(r, c)`.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: FloatArray

    def arranged(self, rows: tuple[str, ...], columns: tuple[str, ...]) -> FloatArray:
        """Return the values `(r, c)` in the order of these names; NaN where there are none."""
        found = np.full((len(rows), len(columns)), np.nan)
        into = [rows.index(name) for name in self.rows if name in rows]
        across = [columns.index(name) for name in self.columns if name in columns]
        kept = [index for index, name in enumerate(self.rows) if name in rows]
        beside = [index for index, name in enumerate(self.columns) if name in columns]
        found[np.ix_(into, across)] = self.values[np.ix_(kept, beside)]
        return found


@dataclass(frozen=True, slots=True)
class Blocks:
    """Losses of blocks of documents, for algorithms that choose blocks.

    Attributes:
        ids: shape `(n,)`, from 0.
        losses: shape `(n,)`, nats per token.
    """

    ids: IntArray
    losses: FloatArray


@dataclass(frozen=True, slots=True)
class Observation:
    """What a trainer tells after a step.

    Attributes:
        step: of the optimiser.
        vectors: by the names of `VECTORS`, each `(k,)` in the order of the state's domains.
        tables: by the names of `TABLES`.
        numbers: by the names of `NUMBERS`.
        scores: of benchmarks, by name.
        blocks: losses of blocks.
        sampled: shape `(k,)`, the weights that the batch was drawn with; None if unknown.
    """

    step: int
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    blocks: Blocks | None = None
    sampled: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that a reweighter remembers of a training.

    Attributes:
        domains: names, length k.
        weights: shape `(k,)`, on the simplex: what the next update starts from.
        seed: of everything random.
        updates: how many observations have been applied.
        step: of the last one; None before any.
        vectors: numbers per domain, each `(k,)`.
        memory: anything else, as JSON with names for axes.
    """

    domains: tuple[str, ...]
    weights: FloatArray
    seed: int = 0
    updates: int = 0
    step: int | None = None
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    memory: Mapping[str, Json] = field(default_factory=dict)

    def after(
        self,
        observation: Observation,
        weights: FloatArray,
        *,
        vectors: Mapping[str, FloatArray] = _NOTHING,
        memory: Mapping[str, Json] = _NOTHING,
    ) -> "State":
        """Return the state once an observation is applied; what is not given stays as it is."""
        return replace(
            self,
            weights=weights,
            updates=self.updates + 1,
            step=observation.step,
            vectors={**self.vectors, **vectors},
            memory={**self.memory, **memory},
        )


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a trainer must send, and when.

    Attributes:
        fields: of an observation that must be there; of a tuple of names, one of them.
        optional: that are used where they are there.
        every_steps: how often; None where the plan says.
        cost: what it costs the trainer, in a sentence.
        acts_on: "domains", "blocks" or "samples".
        most_missing: the share of a field's numbers that may be missing; never all of them.
    """

    fields: tuple[str | tuple[str, ...], ...]
    optional: tuple[str, ...] = ()
    every_steps: int | None = None
    cost: str = "nothing"
    acts_on: str = "domains"
    most_missing: float = MOST_MISSING


@dataclass(frozen=True, slots=True)
class Update:
    """What came of an observation.

    Attributes:
        state: the new one, or the old one where nothing was applied.
        reason: why nothing was applied; None if it was.
        diagnostics: numbers worth looking at, by name, as JSON.
    """

    state: State
    reason: str | None = None
    diagnostics: Mapping[str, Json] = field(default_factory=dict)


@runtime_checkable
class Reweighter(Protocol):
    """The methods of a reweighter; its fields are its options."""

    @property
    def requires(self) -> Requirements:
        """What a trainer must send."""
        ...

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed.

        Args:
            domains: names, length k.
            weights: shape `(k,)`, on the simplex.
            seed: of everything random.

        Raises:
            InvalidInputError: options do not fit the domains.
        """
        ...

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return what the trainer is to measure next besides its losses; empty if nothing."""
        ...

    def update(self, state: State, observation: Observation) -> Update:
        """Return what comes of an observation. Entries that are not finite are missing."""
        ...

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the state for another set of domains.

        Args:
            state: the old one.
            new: `init` of the new domains, with the weights that they begin with.
            origin: the old name of each new domain that has one.
        """
        ...


def carried(state: State, new: State, origin: Mapping[str, str]) -> dict[str, FloatArray]:
    """Return each vector of `state` for the domains of `new`: by name; new ones get the mean."""
    place = {name: index for index, name in enumerate(state.domains)}
    known = {name: place[old] for name, old in origin.items() if old in place}
    vectors = {}
    for key, old_values in state.vectors.items():
        finite = old_values[np.isfinite(old_values)]
        mean = float(finite.mean()) if len(finite) else 0.0
        vectors[key] = np.array(
            [old_values[known[name]] if name in known else mean for name in new.domains]
        )
    return vectors


def remapped(state: State, new: State, origin: Mapping[str, str]) -> State:
    """Return `new` with what `state` remembers of domains; memory of other kinds starts afresh."""
    vectors = {**new.vectors, **carried(state, new, origin)}
    return replace(new, updates=state.updates, step=state.step, vectors=vectors)


def seen(
    state: State, observation: Observation, name: str, *, whole: bool = False
) -> FloatArray | str:
    """Return a vector `(k,)` of an observation, NaN where missing, or why it cannot be used.

    Args:
        state: before it.
        observation: what was told.
        name: of the vector.
        whole: whether one missing entry is too many; else half of them are.
    """
    values = observation.vectors.get(name)
    if values is None:
        return f"it has no {name}"
    missing = ~np.isfinite(values)
    if missing.all() or (whole and missing.any()) or missing.mean() > MOST_MISSING:
        lacking = ", ".join(np.array(state.domains)[missing][:5])
        return f"{name} are missing or not finite for {lacking}"
    return np.where(missing, np.nan, values)


def number(observation: Observation, name: str, least: float) -> float | str:
    """Return a number of an observation, at least `least`, or why it cannot be used."""
    value = observation.numbers.get(name)
    if value is None:
        return f"it has no {name}"
    if not np.isfinite(value) or value < least:
        return f"{name} is {value}; expected a number of at least {least:g}"
    return float(value)


def as_vector(
    numbers: Mapping[str, float] | None, domains: tuple[str, ...], option: str
) -> FloatArray:
    """Return an option's numbers `(k,)` in the order of the domains.

    Raises:
        InvalidInputError: it is not there, or a domain is missing or unknown.
    """
    if numbers is None:
        raise InvalidInputError(
            f"option '{option}' is needed: a number per domain", field=f"options/{option}"
        )
    wrong = sorted(set(numbers) ^ set(domains))
    if wrong:
        what = "is unknown" if wrong[0] in numbers else "is missing"
        raise InvalidInputError(
            f"option '{option}': domain '{wrong[0]}' {what}", field=f"options/{option}"
        )
    return np.array([numbers[name] for name in domains])
