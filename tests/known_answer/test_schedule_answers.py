"""Schedules against known answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixwright.schedules import Budget, Documents, Problem, build_planner
from mixwright.schedules.averaging import weights_for
from mixwright.schedules.critical_share import PowerLaw, critical_share
from mixwright.schedules.curves import wsd
from mixwright.schedules.frames import STAGES, perplexity_difference, quadrants
from mixwright.schedules.quantiles import weighted_quantiles
from mixwright.schedules.scaling_law import Law, discrete_loss, phase_batch

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/offline_known_answers.json"
EXACT = {"rtol": 1e-6, "atol": 1e-9}
BUDGET = Budget(tokens=1e6, sequence_length=10, batch_tokens=1000, peak_learning_rate=1e-3)
QUADRANT = {"HL": 0, "HH": 1, "LL": 2, "LH": 3}


@pytest.fixture(scope="module")
def answers():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    return json.loads(ANSWERS.read_text())


def test_warm_up_stable_decay(answers):
    known = answers["wsd"]
    shapes = {"linear": "linear", "sqrt": "one_minus_sqrt", "exp": "geometric", "cos": "cosine"}
    for name, shape in shapes.items():
        share = known["warm"] / known["total"]
        curves = wsd(known["total"], known["peak"], known["min"], share, known["decay_frac"], shape)
        found = [
            next(one for one in curves if step < one.end_token).of_step(step, 1)
            for step in known["steps"]
        ]
        np.testing.assert_allclose(found, known[name], **EXACT)


def test_upsampling_at_the_end(answers):
    known = answers["upsample"]
    names = ["a", "b", "c"]
    options = {
        "share": known["fraction"],
        "final_weights": dict(zip(names, known["final"], strict=True)),
    }
    problem = Problem(BUDGET, dict(zip(names, known["base"], strict=True)), {})
    schedule = build_planner("upsample_end", options).plan(problem)
    np.testing.assert_allclose(
        list(schedule.effective_weights.values()), known["effective"], **EXACT
    )


def test_averages_of_checkpoints(answers):
    known = answers["cma"]
    checkpoints = np.array(known["ckpts_old_to_new"])
    for name, method in (
        ("sma", "simple"),
        ("ema_decay0.5", "exponential"),
        ("wma_linear", "linear"),
    ):
        weights = weights_for(method, len(checkpoints), 0.5)
        np.testing.assert_allclose(weights @ checkpoints, known[name], **EXACT)


def test_drop_stable_rampup(answers):
    known = answers["drop_stable_rampup"]
    end = known["B_end"] / known["B0"]
    found = known["B0"] * phase_batch(
        np.array(known["t"]), known["drop"], known["stable_frac"], end
    )
    np.testing.assert_allclose(found, known["B"], **EXACT)


def test_drop_stable_rampup_as_a_schedule(answers):
    known = answers["drop_stable_rampup"]
    budget = Budget(1024 * 1e6, 1, known["B0"], 1e-3)
    options = {"share": 0.5, "drop": known["drop"], "stable": known["stable_frac"], "final": 2.0}
    schedule = build_planner("drop_stable_rampup", options).plan(Problem(budget, {"a": 1.0}, {}))
    turn = schedule.stages[0].end_token
    for share, batch in zip(known["t"][:-1], known["B"][:-1], strict=True):
        token = turn + share * (budget.tokens - turn)
        assert schedule.stage_at(token).batch.at(token) == pytest.approx(batch, rel=1e-4)


def test_functional_scaling_law(answers):
    known = answers["fsl_surrogate"]
    law = Law(known["eta"], known["s"], known["beta"])
    noise, tokens = np.array(known["sigma"]), np.ones(10)
    for kind in ("const", "dsr"):
        found = discrete_loss(law, np.array(known[f"B_{kind}"]), noise, tokens)
        assert found == pytest.approx(known[f"L_{kind}"], rel=1e-9)


def test_frames(answers):
    known = answers["frames"]
    strong, weak = np.array(known["ppl_strong"]), np.array(known["ppl_weak"])
    even = np.ones(len(strong))
    difference = perplexity_difference(strong, weak)
    np.testing.assert_allclose(difference, known["pd"], atol=1e-9)
    median = weighted_quantiles(difference, even, np.array([0.5]))[0]
    assert median == pytest.approx(known["median_pd"], abs=1e-9)
    found = quadrants(strong, weak, even)
    assert found.perplexity_threshold == known["median_ppl"]
    assert found.stage.tolist() == [QUADRANT[one] for one in known["quadrant_ppl_pd"]]
    assert [QUADRANT[one] for one in known["stage_order"]] == list(range(len(STAGES)))


def test_frames_as_a_schedule(answers):
    known = answers["frames"]
    columns = {"perplexity_strong": known["ppl_strong"], "perplexity_weak": known["ppl_weak"]}
    documents = Documents(
        ("web",), np.zeros(8, int), np.ones(8), {k: np.array(v) for k, v in columns.items()}
    )
    problem = Problem(BUDGET, {"web": 1.0}, {}, documents=documents)
    schedule = build_planner("frames", {}).plan(problem)
    assert [stage.name for stage in schedule.stages] == list(STAGES)
    assert {stage.tokens for stage in schedule.stages} == {BUDGET.tokens / 4}


def test_critical_mixture_ratio(answers):
    known = answers["cmr"]
    law = known["R_law"]
    found = PowerLaw(law["a"], law["s"], law["b"]).at(np.array(law["T"]))
    np.testing.assert_allclose(found, law["R"], **EXACT)
    domain = known["dom"]
    found = PowerLaw(domain["a1"], domain["s1"], domain["b1"]).at(np.array(domain["T"]))
    np.testing.assert_allclose(found, domain["dL"], **EXACT)
    general, times = known["gen"], np.array(domain["T"])
    rise = PowerLaw(general["a2"], general["s2"], 0.0)
    fall = PowerLaw(general["a3"], general["s3"], general["b2"])
    found = rise.at(times) + fall.at(times)
    np.testing.assert_allclose(found, general["dL"], **EXACT)
    crossing = known["crit_by_linear_interp"]
    shares, losses = np.array(crossing["R"]), np.array(crossing["general_delta"])
    found, is_censored = critical_share(shares, losses, crossing["eps"])
    assert found == pytest.approx(crossing["R_crit"], rel=1e-9)
    assert not is_censored
