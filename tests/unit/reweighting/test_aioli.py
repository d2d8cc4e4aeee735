"""Aioli: what its plan asks for, and rounds that say nothing or too little."""

from dataclasses import replace

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.reweighting.aioli import Aioli
from mixwright.reweighting.base import Observation, Table

DOMAINS = ("a", "b", "c")
EVEN = np.full(3, 1 / 3)
LAW = np.array([[0.04, 0.01, 0.0], [0.0, 0.02, 0.01], [-0.01, 0.0, 0.03]])
VARIANTS = pytest.mark.parametrize("variant", ["exponentiated_gradient", "ema"])


def trained(plan, law, start=3.0):
    """What a trainer whose losses follow a linear law reports of a plan."""
    domains = tuple(plan["mixtures"]["rows"])
    mixtures = dict(zip(domains, np.array(plan["mixtures"]["values"]), strict=True))
    rows, losses = [plan["before"]], [np.full(len(domains), start)]
    for interval in plan["intervals"]:
        rows.append(interval["row"])
        losses.append(losses[-1] - law @ mixtures[interval["probe"]])
    return Table(tuple(rows), domains, np.array(losses))


def told(table, step=100):
    return Observation(step, tables={"probe_losses": table})


def one_round(aioli, state, law=LAW):
    update = aioli.update(state, told(trained(aioli.plan(state), law)))
    assert update.reason is None
    return update


@pytest.mark.parametrize("one_hot_factor", [1.0, 0.7, 0.1])
def test_a_linear_law_is_found_whatever_the_probes(one_hot_factor):
    aioli = Aioli(one_hot_factor=one_hot_factor)
    update = one_round(aioli, aioli.init(DOMAINS, EVEN, 5))
    np.testing.assert_allclose(update.diagnostics["law"]["values"], LAW, atol=1e-12)


CURVED = np.array([[0.8, 0.2, 0.0], [0.1, 0.5, 0.3], [-0.2, 0.1, 0.6]])
HEIGHTS, FLOORS = np.array([2.0, 1.0, 3.0]), np.array([1.5, 2.0, 1.0])


def curved_losses(tokens):
    """Losses `(k,)` of a world whose law bends: c + b exp(-B n), n the tokens of each domain."""
    return FLOORS + HEIGHTS * np.exp(-CURVED @ tokens)


def measured_in_the_curved_world(plan, tokens, interval):
    """What a trainer reports whose probes take `interval` tokens each."""
    mixtures = dict(zip(DOMAINS, np.array(plan["mixtures"]["values"]), strict=True))
    rows, losses = [plan["before"]], [curved_losses(tokens)]
    for one in plan["intervals"]:
        tokens = tokens + interval * mixtures[one["probe"]]
        rows.append(one["row"])
        losses.append(curved_losses(tokens))
    return Table(tuple(rows), DOMAINS, np.array(losses)), tokens


def finite_differences(tokens, length=1e-6):
    """A_ij, how much training on j alone takes off the loss of i, by central differences."""
    steps = length * np.eye(3)
    return (
        np.transpose(
            [(curved_losses(tokens - step) - curved_losses(tokens + step)) / 2 for step in steps]
        )
        / length
    )


def test_the_law_is_the_losses_response_by_finite_differences():
    """Where the law bends, to the first order of a probe's length: a tenth leaves a tenth."""
    aioli = Aioli()
    state, start, errors = aioli.init(DOMAINS, EVEN, 5), np.array([0.3, 0.1, 0.5]), []
    for interval in (1e-2, 1e-3, 1e-4):
        table, end = measured_in_the_curved_world(aioli.plan(state), start, interval)
        law = np.array(aioli.update(state, told(table)).diagnostics["law"]["values"]) / interval
        response = finite_differences((start + end) / 2)
        errors.append(np.abs(law - response).max() / np.abs(response).max())
    assert errors[0] < 0.1
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.3)
    assert errors[2] == pytest.approx(errors[1] / 10, rel=0.3)


def test_the_plan_probes_every_domain_once_a_sweep_in_random_order():
    aioli = Aioli(sweeps=3, probe_steps=5, round_steps=100)
    state = aioli.init(DOMAINS, EVEN, 5)
    plan = aioli.plan(state)
    probes = [one["probe"] for one in plan["intervals"]]
    assert [sorted(probes[start : start + 3]) for start in (0, 3, 6)] == [list(DOMAINS)] * 3
    assert [one["row"] for one in plan["intervals"]][:2] == [f"1:{probes[0]}", f"2:{probes[1]}"]
    assert (plan["probe_steps"], plan["remaining_steps"]) == (5, 55)
    np.testing.assert_allclose(np.sum(plan["mixtures"]["values"], axis=1), 1.0)
    assert aioli.plan(state) == plan


def test_orders_follow_seed_round_and_names_only():
    aioli = Aioli()

    def order(state):
        return [one["probe"] for one in aioli.plan(state)["intervals"]]

    state = aioli.init(DOMAINS, EVEN, 5)
    assert order(aioli.init(DOMAINS[::-1], EVEN, 5)) == order(state)
    others = [aioli.init(DOMAINS, EVEN, 6), aioli.init(DOMAINS, EVEN, 5 + 2**32)]
    others += [replace(state, updates=count) for count in (1, 2)]
    orders = [order(one) for one in [state, *others]]
    assert len({tuple(one) for one in orders}) == 5


def test_orders_are_as_likely_as_each_other():
    aioli = Aioli(sweeps=1)
    state = aioli.init(DOMAINS, EVEN, 0)
    firsts = [
        aioli.plan(replace(state, updates=count))["intervals"][0]["probe"] for count in range(3000)
    ]
    counts = np.array([firsts.count(name) for name in DOMAINS])
    assert abs(counts - 1000).max() < 130


@VARIANTS
def test_the_first_round_starts_from_uniform_weights(variant):
    aioli = Aioli(variant=variant)
    found = one_round(aioli, aioli.init(DOMAINS, np.array([0.8, 0.1, 0.1]), 5)).state
    expected = one_round(aioli, aioli.init(DOMAINS, EVEN, 5)).state
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_gradient_accumulates_and_the_mean_does_not():
    ratios = {}
    for variant in ("exponentiated_gradient", "ema"):
        aioli = Aioli(variant=variant, step_size=1.0)
        state = aioli.init(DOMAINS, EVEN, 5)
        for _ in range(40):
            state = one_round(aioli, state).state
        ratios[variant] = state.weights.max() / state.weights.min()
    assert ratios["ema"] < np.e
    assert ratios["exponentiated_gradient"] > np.e**2


@VARIANTS
def test_a_round_without_effect_moves_nothing(variant):
    aioli = Aioli(variant=variant)
    for law in (np.zeros((3, 3)), np.full((3, 3), -0.0078125)):
        state = one_round(aioli, aioli.init(DOMAINS, np.array([0.8, 0.1, 0.1]), 5), law).state
        np.testing.assert_allclose(state.weights, EVEN, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_loss_that_is_not_finite_rejects_the_round(bad):
    aioli = Aioli()
    state = aioli.init(DOMAINS, EVEN, 5)
    table = trained(aioli.plan(state), LAW)
    values = table.values.copy()
    values[4, 1] = bad
    update = aioli.update(state, told(replace(table, values=values)))
    assert f"row '{table.rows[4]}', column 'b'" in update.reason
    assert update.state is state


def test_the_rows_of_another_round_are_refused():
    aioli = Aioli()
    state = aioli.init(DOMAINS, EVEN, 5)
    later = trained(aioli.plan(replace(state, updates=1)), LAW)
    assert "missing" in aioli.update(state, told(later)).reason


def test_the_effects_of_old_domains_are_forgotten():
    aioli = Aioli(variant="ema", ema=0.5)
    state = one_round(aioli, aioli.init(DOMAINS, EVEN, 5)).state
    moved = aioli.remap(state, aioli.init(DOMAINS, EVEN, 5), {name: name for name in DOMAINS})
    assert moved.updates == 1
    other = LAW[::-1, ::-1]
    fresh = one_round(aioli, aioli.init(DOMAINS, EVEN, 5), other).state
    np.testing.assert_allclose(
        one_round(aioli, moved, other).state.weights, fresh.weights, atol=1e-12
    )


def test_a_single_domain_has_nothing_to_probe():
    aioli = Aioli(one_hot_factor=1.0)
    state = aioli.init(("a",), np.ones(1), 5)
    assert aioli.plan(state) == {}
    np.testing.assert_array_equal(aioli.update(state, Observation(3)).state.weights, [1.0])


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"one_hot_factor": 1 / 3}, "options/one_hot_factor"),
        ({"round_steps": 48}, "options/round_steps"),
    ],
)
def test_options_that_do_not_fit_the_domains_are_refused(options, field):
    with pytest.raises(InvalidInputError) as caught:
        Aioli(**options).init(DOMAINS, EVEN, 5)
    assert caught.value.field == field
