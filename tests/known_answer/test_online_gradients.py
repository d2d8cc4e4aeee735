"""Exponentiated gradient, DoReMi, DoGE, DGA, dynamic batch loading and PiKE, as observed."""

import json
from pathlib import Path

import numpy as np
import pytest
from gradient_reweighting import begin, told

from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Table
from mixwright.reweighting.doremi import excess_loss
from mixwright.reweighting.exponentiated import exponentiated_gradient
from mixwright.reweighting.pike import balanced, gradient_moments

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/online_known_answers.json"


@pytest.fixture(scope="module")
def known():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    cases = {case["id"]: case for case in json.loads(ANSWERS.read_text())["cases"]}
    return lambda name: (cases[name]["params"], cases[name]["inputs"], cases[name]["expected"])


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["eg.basic", "eg.zero_weight", "eg.huge_scores"])
def test_exponentiated_gradient(known, name):
    params, inputs, expected = known(name)
    found = exponentiated_gradient(np.array(inputs["p"]), np.array(inputs["s"]), params["eps"])
    close(found, expected["p"])


DOREMI = {
    "doremi.two_steps_missing": {},
    "doremi.official_init": {"initial_score": float(np.log(50257)), "count_initial": True},
}


@pytest.mark.parametrize("name", list(DOREMI))
def test_doremi(known, name):
    params, inputs, expected = known(name)
    options = {"step_size": params["eta"], "smoothing": params["eps"], **DOREMI[name]}
    reweighter, state = begin("doremi", np.full(3, 1 / 3), **options)
    for excess, answer in zip(inputs["excess"], expected["steps"], strict=True):
        update = reweighter.update(state, told(excess_losses=excess))
        state = update.state
        close(state.weights, answer["p"])
        close(list(update.diagnostics["recommendation"].values()), answer["avg"])


def test_doremi_without_a_domain_from_the_start(known):
    _, inputs, expected = known("doremi.official_init")
    reweighter, state = begin(
        "doremi", np.full(3, 1 / 3), **DOREMI["doremi.official_init"], smoothing=1e-3
    )
    state = reweighter.update(state, told(excess_losses=inputs["first_step_missing"])).state
    close(state.weights, expected["p_when_domain_2_missing_at_step_1"])


def test_doremi_clips_before_it_takes_the_mean(known):
    _, inputs, expected = known("doremi.clip_order")
    found = [excess_loss(np.array(one), np.zeros(len(one))) for one in inputs["token_excess"]]
    close(found, expected["clip_then_mean"])
    assert not np.allclose(found, expected["mean_then_clip"])


def doge(params, inputs):
    options = {
        "step_size": 1 / params["mu"],
        "lower_clip": params["clip"][0],
        "upper_clip": params["clip"][1],
        "smoothing": params["eps"],
    }
    return begin("doge", inputs["p"], **options), {"learning_rate": params["lr"]}


@pytest.mark.parametrize("name", ["doge.target", "doge.upper_clip"])
def test_doge_of_a_target(known, name):
    params, inputs, expected = known(name)
    (reweighter, state), numbers = doge(params, inputs)
    one = told(numbers=numbers, alignment=inputs["W"], grad_norms=inputs["grad_norm"])
    state = reweighter.update(state, one).state
    close(state.weights, expected["p"])


def test_doge_of_a_matrix_of_products_with_a_target(known):
    params, inputs, expected = known("doge.target")
    (reweighter, state), numbers = doge(params, inputs)
    products = np.array(inputs["grads"]) @ np.array(inputs["target_grad"])[:, None]
    tables = {"gram": Table(state.domains, ("target",), products)}
    one = told(tables=tables, numbers=numbers, grad_norms=inputs["grad_norm"])
    close(reweighter.update(state, one).state.weights, expected["p"])


def test_doge_of_the_domains_themselves(known):
    params, inputs, expected = known("doge.universal_no_self")
    (reweighter, state), numbers = doge(params, inputs)
    gram = Table(state.domains, state.domains, np.array(inputs["gram"]))
    close(np.sqrt(np.diag(gram.values)), inputs["grad_norm"])
    alone = reweighter.update(state, told(tables={"gram": gram}, numbers=numbers)).state
    close(alone.weights, expected["p"])
    one = told(numbers=numbers, alignment=expected["W"], grad_norms=inputs["grad_norm"])
    close(reweighter.update(state, one).state.weights, expected["p"])


def test_dga(known):
    params, inputs, expected = known("dga.ema")
    options = {"step_size": params["eta"], "ema": params["beta"]}
    reweighter, state = begin("dga", inputs["p"], **options)
    for step, key in enumerate(["p1", "p2"]):
        aim = build_reweighter("dga", {**options, "ema": 1.0})
        one = told(alignment=inputs["align"][step])
        close(aim.update(state, one).state.weights, expected[f"hat{step + 1}"])
        state = reweighter.update(state, one).state
        close(state.weights, expected[key])


def test_dga_of_distributions(known):
    params, inputs, expected = known("dga.distributions")
    basis = {
        name: dict(zip("abcd", row, strict=True))
        for name, row in zip(["one", "other"], inputs["basis"], strict=True)
    }
    weights = np.array(inputs["basis_w"]) @ np.array(inputs["basis"])
    options = {"step_size": params["eta"], "ema": params["beta"], "basis": basis}
    reweighter, state = begin("dga", weights, **options)
    state = reweighter.update(state, told(alignment=inputs["domain_align"])).state
    close(state.weights, expected["domain_w_next"])
    close([state.memory["shares"][name] for name in basis], expected["basis_w_next"])


@pytest.mark.parametrize(("clip", "key"), [(False, "p_code_no_clip"), (True, "p_paper_clip")])
def test_shearing(known, clip, key):
    params, inputs, expected = known("shearing.step")
    targets = dict(zip("abcdefg", inputs["target_loss"], strict=True))
    options = {"step_size": params["eta"], "smoothing": params["c"], "clip": clip}
    reweighter, state = begin("shearing", inputs["p"], target_losses=targets, **options)
    close(reweighter.update(state, told(losses=inputs["loss"])).state.weights, expected[key])


def pike(params, inputs):
    options = {"step_size": params["zeta1"], "noise_penalty": params["zeta2"]}
    reweighter, state = begin("pike", inputs["w"], temperature=params.get("tau", 0.0), **options)
    one = told(
        numbers={"batch_size": params["b"]},
        grad_norms_squared=inputs["grad_norm_sq"],
        grad_variances=inputs["grad_var"],
        **({"losses": inputs["loss"]} if "loss" in inputs else {}),
    )
    return reweighter.update(state, one)


def test_pike(known):
    params, inputs, expected = known("pike.step")
    found = pike(params, inputs)
    close(found.state.weights, expected["w"])
    assert list(found.diagnostics["batch_counts"].values()) == expected["batch_counts"]


def test_pike_balanced(known):
    params, inputs, expected = known("pike.balanced")
    close(balanced(np.array(inputs["loss"]), params["tau"]), expected["y"])
    close(pike(params, inputs).state.weights, expected["w"])


def test_moments_of_gradients(known):
    params, inputs, expected = known("pike.estimators")
    found = gradient_moments(np.array(inputs["microbatch_grads"]), params["microbatch_size"])
    close(found, [expected["grad_norm_sq_unbiased"], expected["sample_variance_sigma2"]])
