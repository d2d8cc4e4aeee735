"""Skill-It where evaluations and graphs are incomplete."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.reweighting.base import Observation
from mixwright.reweighting.skill_it import SkillIt, graph_from_losses, graph_matrix

DOMAINS = ("a", "b", "c")
EVEN = np.full(3, 1 / 3)
GRAPH = {
    "a": {"a": 0.8, "b": 0.1, "c": 0.0},
    "b": {"a": 0.4, "b": 0.6, "c": 0.2},
    "c": {"a": 0.0, "b": 0.2, "c": 0.1},
}
SKILL_IT = SkillIt(graph=GRAPH)


def told(*losses, step=0):
    return Observation(step, vectors={"losses": np.array(losses, dtype=float)})


def fold(state, *observations, reweighter=SKILL_IT):
    for one in observations:
        state = reweighter.update(state, one).state
    return state


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def test_rows_are_trained_and_columns_evaluated():
    state = fold(SKILL_IT.init(DOMAINS, EVEN, 0), told(1.0, 2.0, 4.0))
    gains = [0.8 * 1 + 0.1 * 2, 0.4 * 1 + 0.6 * 2 + 0.2 * 4, 0.2 * 2 + 0.1 * 4]
    np.testing.assert_allclose(state.weights, softmax(0.2 * np.array(gains)), atol=1e-12)


def test_what_left_the_window_left_no_trace():
    begun = SKILL_IT.init(DOMAINS, EVEN, 0)
    recent = [told(2.0, 3.0, 1.0), told(1.5, 2.0, 1.0), told(1.0, 1.0, 1.0)]
    state = fold(begun, told(9.0, 1.0, 5.0), *recent)
    np.testing.assert_array_equal(state.weights, fold(begun, *recent).weights)
    assert len(state.memory["window"]) == 3


def test_a_missing_loss_is_the_last_one_and_told():
    begun = SKILL_IT.init(DOMAINS, EVEN, 0)
    update = SKILL_IT.update(fold(begun, told(2.0, 3.0, 1.0)), told(1.0, np.nan, 1.0))
    assert update.diagnostics["reused"] == ["b"]
    whole = fold(begun, told(2.0, 3.0, 1.0), told(1.0, 3.0, 1.0))
    np.testing.assert_array_equal(update.state.weights, whole.weights)


def test_no_loss_is_made_up_for_a_domain_that_was_never_evaluated():
    begun = SKILL_IT.init(DOMAINS, EVEN, 0)
    update = SKILL_IT.update(begun, told(1.0, np.nan, 1.0))
    assert "missing for b" in update.reason
    assert update.state is begun


def test_initial_weights_multiply_and_zero_stays_zero():
    prior = np.array([0.5, 0.5, 0.0])
    state = fold(SKILL_IT.init(DOMAINS, prior, 0), told(1.0, 2.0, 4.0))
    even = fold(SKILL_IT.init(DOMAINS, EVEN, 0), told(1.0, 2.0, 4.0)).weights
    np.testing.assert_allclose(state.weights, prior * even / (prior * even).sum(), atol=1e-12)


def test_a_large_exponent_does_not_overflow():
    steep = SkillIt(graph=GRAPH, step_size=1e6)
    state = fold(steep.init(DOMAINS, EVEN, 0), told(1.0, 2.0, 4.0), reweighter=steep)
    np.testing.assert_allclose(state.weights, [0, 1, 0], atol=1e-12)


def test_a_domain_that_the_graph_lacks_has_means_and_is_asked_for():
    state = SKILL_IT.init((*DOMAINS, "d"), np.full(4, 0.25), 0)
    assert SKILL_IT.plan(state) == {"measure_graph_of": ["d"]}
    matrix = graph_matrix(GRAPH, (*DOMAINS, "d"))
    np.testing.assert_allclose(matrix[3], [0.4, 0.3, 0.1, 0.8 / 3], atol=1e-12)
    np.testing.assert_allclose(matrix[:, 3], [0.3, 0.4, 0.1, 0.8 / 3], atol=1e-12)
    assert SKILL_IT.plan(SKILL_IT.init(DOMAINS, EVEN, 0)) == {}
    narrow = SkillIt(graph={row: {"a": 0.1, "b": 0.2} for row in DOMAINS})
    assert narrow.plan(narrow.init(DOMAINS, EVEN, 0)) == {"measure_graph_of": ["c"]}


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (None, "is needed"),
        ({}, "is needed"),
        ({"a": {}}, "is needed"),
        ({**GRAPH, "z": GRAPH["a"]}, "no domain 'z'"),
        ({**GRAPH, "a": {"a": 1.0, "b": 0.0}}, "column 'c' of row 'a'"),
    ],
)
def test_graphs_that_do_not_fit_are_refused(graph, said):
    with pytest.raises(InvalidInputError, match=said):
        SkillIt(graph=graph).init(DOMAINS, EVEN, 0)


def test_the_window_moves_by_name():
    state = fold(SKILL_IT.init(DOMAINS, EVEN, 0), told(1.0, 2.0, 6.0))
    graph = {row: {"c": 0.1, "b": 0.2, "renamed": 0.3} for row in ("c", "b", "renamed")}
    other = SkillIt(graph=graph)
    new = other.init(("c", "b", "renamed"), EVEN, 0)
    moved = other.remap(state, new, {"c": "c", "renamed": "a"})
    assert moved.memory["window"] == [{"c": 6.0, "b": 3.0, "renamed": 1.0}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1.0, 1.0, 1.0], [[1.0, 1.0]]),
        ([1.0, 0.0], [[1.0, 1.0]]),
        ([1.0, 1.0], [[1.0, np.nan]]),
        ([1.0], [1.0]),
    ],
)
def test_losses_that_make_no_graph_are_refused(before, after):
    with pytest.raises(InvalidInputError):
        graph_from_losses(np.array(before), np.array(after))
