"""Algorithms that act at stages give the known answers, through whole updates where they can."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Blocks, Observation, Table
from mixwright.reweighting.blocks import Bitmap
from mixwright.reweighting.mates import ridge_prediction
from mixwright.reweighting.mixing_agent import conservative_losses, next_mixture
from mixwright.reweighting.tikmix_d import StageObjective
from mixwright.reweighting.tikmix_m import top_mean

ANSWERS = Path(__file__).parents[3] / "shared" / "known_answers" / "online_known_answers.json"
pytestmark = pytest.mark.skipif(not ANSWERS.exists(), reason=f"no known answers at {ANSWERS}")
DOMAINS = ("a", "b", "c")
TIGHT = {"rtol": 0, "atol": 1e-9}


@pytest.fixture(scope="module")
def cases():
    return {case["id"]: case for case in json.loads(ANSWERS.read_text())["cases"]}


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("slsqp", 1e-8), ("other_weights", 1e-6), ("pareto_bound", 1e-8)],
)
def test_tikmix_d(cases, name, tolerance):
    """The answers are themselves an optimiser's; they ask for 1e-5, and 1e-4 of other_weights."""
    case = cases[f"tikmix_d.{name}"]
    options = {key: float(case["params"][key]) for key in ("alpha", "beta", "gamma")}
    values, prior = np.array(case["inputs"]["S"]), np.array(case["inputs"]["prior"])
    reweighter = build_reweighter("tikmix_d", options)
    told = Observation(1, tables={"influence": Table(("qa", "code"), DOMAINS, values)})
    found = reweighter.update(reweighter.init(DOMAINS, prior, 0), told)
    expected = case["expected"]
    np.testing.assert_allclose(found.state.weights, expected["w"], rtol=0, atol=tolerance)
    if "objective" in expected:
        gains = values / (values.max(axis=1, keepdims=True) + 1e-8)
        objective = StageObjective(gains, **options).value(found.state.weights)
        assert objective == pytest.approx(expected["objective"], abs=1e-9)
    if "slack" in expected:
        slack = list(found.diagnostics["slack"].values())
        np.testing.assert_allclose(slack, expected["slack"], rtol=0, atol=1e-8)
    if "P" in expected:
        gain = list(found.diagnostics["gain"].values())
        np.testing.assert_allclose(gain, expected["P"], rtol=0, atol=1e-8)


def test_tikmix_m(cases):
    case = cases["tikmix_m.topk_step"]
    mixtures, scores = (np.array(case["inputs"][key]) for key in ("candidates", "surrogate_scores"))
    found = top_mean(mixtures, scores, case["params"]["k"])
    np.testing.assert_allclose(found, case["expected"]["w_best"], **TIGHT)


def test_mates_selects(cases):
    case = cases["mates.select"]
    losses, noise = (np.array(case["inputs"][key]) for key in ("oracle_ref_loss", "gumbel"))
    expected = case["expected"]
    options = {"blocks": 5, "share": 0.4, "temperature": case["params"]["temperature"]}
    reweighter = build_reweighter("mates", options)
    told = Observation(1, blocks=Blocks(np.arange(5), losses))
    state = reweighter.update(reweighter.init(DOMAINS, np.full(3, 1 / 3), 0), told).state
    labels = (losses - state.memory["mean"]) / state.memory["deviation"]
    np.testing.assert_allclose(labels, expected["labels"], **TIGHT)
    exact = reweighter.select(labels, noise)
    published = build_reweighter("mates", {**options, "reference_code": True})
    assert np.flatnonzero(exact).tolist() == sorted(expected["selected_exact_gumbel_topk"])
    theirs = np.flatnonzero(published.select(labels, noise))
    assert theirs.tolist() == sorted(expected["selected_reference_code"])


def test_mates_predicts(cases):
    case = cases["mates.ridge_surrogate"]
    features, labels = np.array(case["inputs"]["X"]), np.array(case["inputs"]["labels"])
    predicted = ridge_prediction(features, labels, features, case["params"]["ridge"])
    np.testing.assert_allclose(predicted, case["expected"]["pred"], **TIGHT)
    units = np.vstack([np.zeros(2), np.eye(2)])
    at_units = ridge_prediction(features, labels, units, case["params"]["ridge"])
    np.testing.assert_allclose(at_units[1:] - at_units[0], case["expected"]["theta"], **TIGHT)


def test_lfr(cases):
    case = cases["lfr.phases"]
    options = {"focus_dropped": float(case["params"]["s1"])}
    options["refocus_dropped"] = float(case["params"]["s2"])
    reweighter = build_reweighter("lfr", {"blocks": 10, **options})
    state = reweighter.init(DOMAINS, np.full(3, 1 / 3), 0)
    learned, reviewed = (
        np.array(case["inputs"][f"loss_after_{phase}"]) for phase in ("learn", "review")
    )
    for step, phase in enumerate(("learn", "focus1", "review", "focus2")):
        kept = Bitmap.from_memory(state.memory["kept"], 10).to_ids()
        assert kept.tolist() == case["expected"][phase]
        losses = (reviewed if phase == "review" else learned)[kept]
        state = reweighter.update(state, Observation(step, blocks=Blocks(kept, losses))).state


def test_the_conservative_loss(cases):
    case = cases["dma.cql_loss"]
    inputs, params, expected = case["inputs"], case["params"], case["expected"]
    values = np.array([inputs["Q"]])
    target = np.array([inputs["reward"] + params["gamma"] * inputs["Q_next"]])
    total = conservative_losses(values, target, params["cql_alpha"])
    bellman = conservative_losses(values, target, 0.0)
    assert inputs["action"] == 0, "the logged action comes first"
    np.testing.assert_allclose(total, [expected["total"]], **TIGHT)
    np.testing.assert_allclose(bellman, [expected["bellman"]], **TIGHT)
    np.testing.assert_allclose(total - bellman, [expected["conservative"]], **TIGHT)


def test_the_policy_of_the_agent(cases):
    case = cases["dma.policy"]
    candidates, values = (np.array(case["inputs"][key]) for key in ("candidates", "Q"))
    smoothing = case["params"]["floor"] * candidates.shape[1]
    found = next_mixture(candidates, values, case["params"]["temperature"], smoothing)
    np.testing.assert_allclose(found, case["expected"]["p"], **TIGHT)
