"""Skill-It: more of the skills whose training lowers the losses that are still high.

A graph says how much training on one skill lowers the loss of another. The weights are a softmax
of the graph times the sum of the last few losses. Nothing accumulates: every update starts again
from the initial weights.

Source:
    Chen et al., "Skill-it! A Data-Driven Skills Framework for Understanding and Training Language
    Models", arXiv:2307.14430, and its code HazyResearch/skill-it, as run again in
    HazyResearch/aioli `trainer/skillit_trainer.py`. Grade of evidence: EXEC.

Departures:
    Initial weights multiply what comes out, a variant of the code; uniform ones give the paper's.
    An evaluation that has no loss of a domain uses the domain's last one. A domain that is not in
    the graph has the mean of its row or column, and the plan asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import by_names, option
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    remapped,
    seen,
)
from mixwright.reweighting.exponentiated import exponentiated_gradient

Graph = Mapping[str, Mapping[str, float]]
_FIELD: Final = "options/graph"


@dataclass(frozen=True, slots=True)
class SkillIt:
    """Options of Skill-It."""

    graph: Graph | None = by_names(  # noqa: RUF009  - it returns a field
        "How much training on a skill (row) lowers the loss of another (column), as a share of it."
    )
    step_size: float = option(0.2, "η, what graph times losses is multiplied by.", minimum=0.0)
    window: int = option(3, "How many evaluations are summed.", minimum=1)

    @property
    def requires(self) -> Requirements:
        """Losses on held-out text."""
        return Requirements(
            fields=("losses",),
            every_steps=500,
            cost="an evaluation of every domain, and once a short run on each domain for the graph",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before any evaluation, in which every loss counts as 1.

        Raises:
            InvalidInputError: there is no graph, it has a name that is no domain, or it lacks some
                pair of its rows and columns.
        """
        found = self._weights(domains, weights, np.ones(len(domains)))
        return State(domains, found, seed, vectors={"prior": weights}, memory={"window": []})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return the domains that the graph says nothing of; empty if there are none."""
        rows, columns = _names(_given(self.graph))
        lacking = sorted(set(state.domains) - set(rows).intersection(columns))
        return {"measure_graph_of": lacking} if lacking else {}

    def update(self, state: State, observation: Observation) -> Update:
        """Append the losses to the window and take the softmax again."""
        losses = seen(state, observation, "losses")
        if isinstance(losses, str):
            return Update(state, losses)
        window = state.memory["window"]
        reused = np.isnan(losses)
        if reused.any() and not window:
            unknown = np.array(state.domains)[reused][0]
            return Update(state, f"losses are missing for {unknown}, which has no earlier one")
        if reused.any():
            losses = np.where(reused, _ordered(window[-1], state.domains), losses)
        window = [*window, _named(state.domains, losses)][-self.window :]
        total = np.sum([_ordered(one, state.domains) for one in window], axis=0)
        weights = self._weights(state.domains, state.vectors["prior"], total)
        return Update(
            state.after(observation, weights, memory={"window": window}),
            diagnostics={
                "summed_losses": _named(state.domains, total),
                "reused": np.array(state.domains)[reused].tolist(),
            },
        )

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return prior and window by name; a new domain's are the mean of the others'."""
        window = [_moved(one, new.domains, origin) for one in state.memory["window"]]
        return replace(remapped(state, new, origin), memory={"window": window})

    def _weights(
        self, domains: tuple[str, ...], prior: FloatArray, total: FloatArray
    ) -> FloatArray:
        graph = graph_matrix(_given(self.graph), domains)
        return exponentiated_gradient(prior, self.step_size * (graph @ total), 0.0)


def graph_from_losses(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return a graph `(r, c)`: the share of its loss that each column loses in each row's run.

    In the normalised form of the Aioli study; the original code has edges of 0, ½ and 1.

    Args:
        before: losses, shape `(c,)` or `(r, c)`, positive.
        after: losses once trained on a row's skill only, shape `(r, c)`.

    Raises:
        InvalidInputError: shapes do not fit, a loss is not finite, or one before is not positive.
    """
    if after.ndim != 2 or before.shape not in (after.shape, after.shape[1:]):
        raise InvalidInputError(
            f"losses before are {before.shape} and after {after.shape}; expected (r, c) twice",
            field="before",
        )
    if not (np.isfinite(before).all() and np.isfinite(after).all() and (before > 0).all()):
        raise InvalidInputError("losses must be finite, and positive before", field="before")
    graph: FloatArray = (before - after) / before
    return graph


def graph_matrix(graph: Graph, domains: tuple[str, ...]) -> FloatArray:
    """Return a graph `(k, k)` in the order of the domains, row trained and column evaluated.

    A row that is not there is the mean of the rows; then a column that is not there is the mean of
    the columns.

    Raises:
        InvalidInputError: a name is no domain, or a pair of the graph's names has no number.
    """
    rows, columns = _names(graph)
    unknown = sorted({*rows, *columns} - set(domains))
    if unknown:
        raise InvalidInputError(f"option 'graph': no domain '{unknown[0]}'", field=_FIELD)
    for row, column in ((row, column) for row in rows for column in columns):
        if column not in graph[row]:
            raise InvalidInputError(
                f"option 'graph': nothing for column '{column}' of row '{row}'", field=_FIELD
            )
    values = np.array([[graph[row][column] for column in columns] for row in rows])
    return _widened(_widened(values, rows, domains).T, columns, domains).T


def _widened(values: FloatArray, names: Sequence[str], domains: tuple[str, ...]) -> FloatArray:
    place = {name: index for index, name in enumerate(names)}
    mean = values.mean(axis=0)
    return np.array([values[place[name]] if name in place else mean for name in domains])


def _given(graph: Graph | None) -> Graph:
    if not graph or not all(graph.values()):
        raise InvalidInputError(
            "option 'graph' is needed: a number for every pair of domains", field=_FIELD
        )
    return graph


def _names(graph: Graph) -> tuple[list[str], list[str]]:
    return sorted(graph), sorted({column for row in graph.values() for column in row})


def _named(domains: tuple[str, ...], values: FloatArray) -> dict[str, float]:
    return dict(zip(domains, values.tolist(), strict=True))


def _ordered(losses: Mapping[str, float], domains: tuple[str, ...]) -> FloatArray:
    return np.array([losses[name] for name in domains])


def _moved(
    losses: Mapping[str, float], domains: tuple[str, ...], origin: Mapping[str, str]
) -> dict[str, float]:
    mean = float(np.mean(list(losses.values())))
    return {name: losses.get(origin[name], mean) if name in origin else mean for name in domains}
