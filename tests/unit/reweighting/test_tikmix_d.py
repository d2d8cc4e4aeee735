"""TiKMiX-D: no regret, tasks left out, and what is refused."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation, Table
from mixwright.reweighting.tikmix_d import StageObjective

DOMAINS, PRIOR = ("a", "b", "c"), np.array([0.2, 0.3, 0.5])
INFLUENCE = np.array([[0.8, 0.3, 0.1], [0.2, 0.5, 0.6]])


def update(values, *, tasks=("qa", "code"), columns=DOMAINS, prior=PRIOR):
    reweighter = build_reweighter("tikmix_d", {})
    state = reweighter.init(DOMAINS, prior, 0)
    told = Observation(1, tables={"influence": Table(tasks, columns, np.asarray(values))})
    return reweighter.update(state, told)


@pytest.mark.parametrize("seed", range(5))
def test_no_task_gains_less_than_with_the_prior(seed):
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(3, 0.3))
    found = update(rng.normal(0.5, 1.0, (2, 3)), prior=prior)
    slack = found.diagnostics["slack"]
    kept = [
        value for task, value in slack.items() if task not in found.diagnostics["dropped_tasks"]
    ]
    assert min(kept) > -1e-9


def test_a_task_that_no_domain_helps_is_left_out_and_named():
    harmed = np.vstack([INFLUENCE, [-0.1, -0.5, -0.2]])
    found = update(harmed, tasks=("qa", "code", "math"))
    np.testing.assert_allclose(found.state.weights, update(INFLUENCE).state.weights, atol=1e-12)
    assert found.diagnostics["dropped_tasks"] == ["math"]
    assert set(found.diagnostics["gain"]) == {"qa", "code", "math"}


def test_columns_go_by_name():
    found = update(INFLUENCE[:, [2, 0, 1]], columns=("c", "a", "b"))
    np.testing.assert_array_equal(found.state.weights, update(INFLUENCE).state.weights)


@pytest.mark.parametrize(
    ("values", "columns", "reason"),
    [
        (np.where(INFLUENCE == 0.6, np.nan, INFLUENCE), DOMAINS, "not finite for c"),
        (INFLUENCE[:, :2], ("a", "b"), "missing or not finite for c"),
        (-INFLUENCE, DOMAINS, "no domain helps any task"),
    ],
)
def test_influence_that_is_not_whole_is_refused(values, columns, reason):
    found = update(values, columns=columns)
    assert reason in found.reason
    np.testing.assert_array_equal(found.state.weights, PRIOR)


def test_later_stages_are_held_to_the_first_prior():
    reweighter = build_reweighter("tikmix_d", {})
    first = update(INFLUENCE).state
    told = Observation(2, tables={"influence": Table(("qa", "code"), DOMAINS, INFLUENCE)})
    second = reweighter.update(first, told).state
    np.testing.assert_array_equal(second.weights, first.weights)


def test_new_domains_are_not_part_of_the_prior():
    reweighter, state = build_reweighter("tikmix_d", {}), update(INFLUENCE).state
    new = reweighter.init(("c", "d"), np.array([0.5, 0.5]), 0)
    moved = reweighter.remap(state, new, {"c": "c"})
    np.testing.assert_array_equal(moved.vectors["prior"], [1.0, 0.0])
    strangers = reweighter.init(("d", "e"), np.array([0.5, 0.5]), 0)
    np.testing.assert_array_equal(
        reweighter.remap(state, strangers, {}).vectors["prior"], [0.5, 0.5]
    )


@pytest.mark.parametrize("mixture", [[0.2, 0.3, 0.5], [0.0, 0.4, 0.6], [-1e-3, 0.5, 0.5]])
def test_the_gradient_is_the_slope(mixture):
    objective = StageObjective(INFLUENCE / INFLUENCE.max(axis=1, keepdims=True), 1.3, 0.7, 0.4)
    error = check_grad(objective.value, objective.gradient, np.array(mixture), epsilon=1e-10)
    assert error < 1e-3 * np.linalg.norm(objective.gradient(np.array(mixture)))
