"""TiKMiX-D: no regret, tasks left out, and what is refused."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.minimum import certify, minimise
from mixwright.polytope import is_feasible
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation, Table
from mixwright.reweighting.tikmix_d import Influence, StageObjective, TiKMiXD, no_regret
from mixwright.reweighting.tikmix_minimum import SMALLEST_WEIGHT

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


class Smooth(StageObjective):
    """With a gradient, for SLSQP; where all tasks gain the same, with one of its subgradients."""

    def gradient(self, mixture):
        gain = self.gains @ mixture
        deviation = gain.std()
        spread = (gain - gain.mean()) / (len(gain) * deviation) if deviation > 0 else 0 * gain
        slope = np.log(np.maximum(mixture, SMALLEST_WEIGHT)) + 1.0
        return (self.alpha * spread - self.beta) @ self.gains + self.gamma * slope


@pytest.mark.parametrize("seed", range(40))
def test_the_minimum_is_that_of_slsqp(seed):
    """Also where all tasks gain the same, where weights are 0, and where terms are switched off."""
    rng = np.random.default_rng(seed)
    tasks, domains = rng.integers(1, 8), rng.integers(2, 20)
    values = rng.normal(rng.choice([0.0, 0.3, 1.0]), 1.0, (tasks, domains))
    prior = rng.dirichlet(np.full(domains, rng.choice([0.2, 1.0, 5.0])))
    influence = Influence(tuple(map(str, range(tasks))), values).helped()
    if not influence.tasks:
        return
    alpha, beta, gamma = rng.choice([0, 1, 5]), rng.choice([0, 1]), rng.choice([0, 0.01, 1])
    function = Smooth(influence.values / influence.divisors(), alpha, beta, gamma)
    polytope = no_regret(influence, prior)
    starts = (np.full(domains, 1.0 / domains), prior)
    expected = min(minimise(polytope, function, start).value for start in starts)
    found = TiKMiXD(alpha, beta, gamma).solve(influence, prior)
    assert is_feasible(polytope, found[None]).all()
    assert function.value(found) < expected + 1e-8


def test_a_stage_of_many_tasks_and_domains_is_a_minimum():
    rng = np.random.default_rng(0)
    values, prior = rng.normal(0.3, 1.0, (50, 300)), rng.dirichlet(np.ones(300))
    influence = Influence(tuple(map(str, range(50))), values)
    found = TiKMiXD().solve(influence, prior)
    function = Smooth(values / influence.divisors(), 1.0, 1.0, 1.0)
    assert certify(no_regret(influence, prior), function, found).gap < 1e-6


def test_more_domains_than_can_be_solved_for_are_refused():
    names = tuple(map(str, range(1001)))
    with pytest.raises(InvalidInputError, match="up to 1,000 domains, not 1,001"):
        build_reweighter("tikmix_d", {}).init(names, np.full(1001, 1 / 1001), 0)


def test_the_client_s_influence_of_gradients_is_taken_as_it_comes():
    """Domain c's gradient is that of both tasks, a's is against them: c gains, a loses."""
    torch = pytest.importorskip("torch")
    from mixwright_client.gradients import influence

    qa, code = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    rows = {"a": -(qa + code), "b": qa, "c": qa + code}
    table = influence(rows, {"qa": qa, "code": code}, torch.tensor([1.0, 1.0, 4.0]))
    found = update(table["values"], tasks=table["rows"], columns=tuple(table["columns"]))
    weights = found.state.weights
    assert weights[2] > weights[1] > weights[0]
    assert found.diagnostics["dropped_tasks"] == []
    assert min(found.diagnostics["slack"].values()) > 0
