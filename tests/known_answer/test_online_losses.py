"""Skill-It, ODM, Aioli and loss-based reweighting, on numbers of the authors' code."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation, Table
from mixwright.reweighting.loss_reweighting import sample_weights
from mixwright.reweighting.skill_it import graph_from_losses

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/online_known_answers.json"
CLOSE = {"rtol": 0, "atol": 1e-9}


@pytest.fixture(scope="module")
def cases():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    return {case["id"]: case for case in json.loads(ANSWERS.read_text())["cases"]}


def begun(algorithm, domains, **options):
    reweighter = build_reweighter(algorithm, options)
    return reweighter, reweighter.init(domains, np.full(len(domains), 1 / len(domains)), 3)


def applied(reweighter, state, observation):
    update = reweighter.update(state, observation)
    assert update.reason is None
    return update


def test_skill_it_sums_a_window_and_never_accumulates(cases):
    case = cases["skillit.window3"]
    domains, params = ("a", "b"), case["params"]
    graph = {
        row: dict(zip(domains, values, strict=True))
        for row, values in zip(domains, case["inputs"]["graph"], strict=True)
    }
    skill_it, state = begun(
        "skill_it", domains, graph=graph, step_size=params["eta"], window=params["window"]
    )
    found = [state.weights]
    for step, losses in enumerate(case["inputs"]["losses"]):
        told = Observation(500 * step, vectors={"losses": np.array(losses)})
        state = applied(skill_it, state, told).state
        found.append(state.weights)
    expected = case["expected"]
    np.testing.assert_allclose(found[0], expected["p_init"], **CLOSE)
    for count in (1, 3, 4):
        np.testing.assert_allclose(found[count], expected[f"p_after_{count}"], **CLOSE)


def test_a_graph_is_the_share_of_its_loss_that_a_column_loses(cases):
    case = cases["skillit.graph"]
    before = np.array(case["inputs"]["loss_before"])
    after = np.array(case["inputs"]["loss_after_rowtrain_coleval"])
    for one in (before, before[0]):
        np.testing.assert_allclose(
            graph_from_losses(one, after), case["expected"]["graph"], **CLOSE
        )


@pytest.mark.parametrize("name", ["odm.single", "odm.group_missing"])
def test_odm_is_the_authors_bandit(cases, name):
    case = cases[name]
    odm, state = begun("odm", ("0", "1", "2"), reward_scale=case["params"]["reward_scale"])
    for (step, rewards), expected in zip(
        case["inputs"]["stream"], case["expected"]["p"], strict=True
    ):
        told = np.array([rewards.get(domain, np.nan) for domain in state.domains])
        update = applied(odm, state, Observation(step, vectors={"rewards": told}))
        state = update.state
        np.testing.assert_allclose(state.weights, expected, **CLOSE)
    np.testing.assert_allclose(state.vectors["rewards"], case["expected"]["R"], rtol=0, atol=1e-8)
    assert update.diagnostics["exploration"] == pytest.approx(case["expected"]["eps"], abs=1e-9)


def measured(plan, drops):
    """Losses that fall by the column of `drops` that belongs to each probe of a plan."""
    domains = plan["mixtures"]["rows"]
    probes = [domains.index(one["probe"]) for one in plan["intervals"]]
    falls = np.array(drops).T[probes]
    losses = 3.0 - np.vstack([np.zeros(len(domains)), np.cumsum(falls, axis=0)])
    rows = (plan["before"], *(one["row"] for one in plan["intervals"]))
    return {"probe_losses": Table(rows, tuple(domains), losses)}


def test_aioli_solves_for_the_law(cases):
    case = cases["aioli.learnparams"]
    aioli, state = begun("aioli", ("a", "b"), one_hot_factor=case["params"]["one_hot_factor"])
    plan = aioli.plan(state)
    np.testing.assert_allclose(plan["mixtures"]["values"], case["expected"]["P"], **CLOSE)
    update = applied(aioli, state, Observation(32, tables=measured(plan, case["inputs"]["beta"])))
    law = update.diagnostics["law"]
    np.testing.assert_allclose(law["values"], case["expected"]["A"], **CLOSE)
    effects = np.array(case["expected"]["A_normalised"]).sum(axis=0)
    np.testing.assert_allclose(update.state.vectors["effects"], effects, **CLOSE)


@pytest.mark.parametrize(
    ("variant", "mode"), [("ema", "ema_mode"), ("exponentiated_gradient", "egd_mode")]
)
def test_aioli_moves_the_weights_as_its_code_does(cases, variant, mode):
    case = cases["aioli.two_rounds"]
    params, expected = case["params"], case["expected"]
    aioli, state = begun(
        "aioli",
        ("a", "b"),
        variant=variant,
        step_size=params["eta"],
        ema=1 - params["ema"],
        one_hot_factor=params["one_hot_factor"],
    )
    for turn, drops in enumerate(case["inputs"]["beta_rounds"]):
        tables = measured(aioli.plan(state), drops)
        update = applied(aioli, state, Observation(250 * turn + 32, tables=tables))
        state = update.state
        np.testing.assert_allclose(state.weights, expected[mode][turn], **CLOSE)
    np.testing.assert_allclose(update.diagnostics["law"]["values"], expected["A2"], **CLOSE)


@pytest.mark.parametrize("strategy", ["linupper", "quadratic", "extremes"])
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_samples_are_weighed_as_published(cases, strategy, temperature):
    case = cases["dlsr.strategies"]
    losses, delta = np.array(case["inputs"]["losses"]), case["params"]["delta"]
    found = sample_weights(losses, strategy, delta, temperature)
    expected = case["expected"][f"{strategy}_r{temperature}"]
    np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("strategy", ["linupper", "quadratic", "extremes", "uniform"])
def test_samples_of_one_loss_weigh_the_same(cases, strategy):
    case = cases["dlsr.constant_losses"]
    losses = np.array(case["inputs"]["losses"])
    found = sample_weights(losses, strategy, case["params"]["delta"], case["params"]["r"])
    np.testing.assert_allclose(found, case["expected"]["w"], **CLOSE)
