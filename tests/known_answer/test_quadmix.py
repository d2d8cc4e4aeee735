"""Sampling function, ranks, parameters and the mean of the best, as computed by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixwright.quality.function import expected_copies_at
from mixwright.quality.implied import ScoredDocuments, fit_function, implied
from mixwright.quality.parameters import Parameters
from mixwright.quality.quadmix import parameters_at
from mixwright.quality.raters import Rater
from mixwright.quality.search import mean_of_best

ANSWERS = Path(__file__).parents[3] / "shared" / "known_answers" / "offline_known_answers.json"
pytestmark = pytest.mark.skipif(not ANSWERS.exists(), reason=f"no known answers at {ANSWERS}")


@pytest.fixture(scope="module")
def answers():
    return json.loads(ANSWERS.read_text())


def _of_one_domain(known, weights=(1.0,)):
    numbers = (known[name] for name in ("lambda", "omega", "eta", "epsilon"))
    return Parameters(np.array([weights]), *(np.array([one]) for one in numbers))


def test_the_sampling_function(answers):
    known = answers["quadmix_sampling"]
    for numbers, ranks, copies in (
        (known["params"], known["r"], known["S"]),
        (known["second_params"], [0, 0.02, 0.1, 0.2], known["S_second_at_r0_0.02_0.1_0.2"]),
    ):
        where = np.zeros(len(ranks), dtype=np.int64)
        found = expected_copies_at(np.array(ranks), _of_one_domain(numbers), where)
        np.testing.assert_allclose(found, copies, rtol=1e-6)


def test_ranks_and_copies(answers):
    known = answers["quadmix_rank"]
    scores, tokens = np.array(known["q_smaller_is_better"]), np.array(known["tokens"], dtype=int)
    where = np.zeros(len(tokens), dtype=np.int64)
    numbers = {"lambda": 20.0, "omega": 0.75, "eta": 0.8, "epsilon": 0.001}
    raters = (Rater("first", False), Rater("second", False))
    documents = ScoredDocuments(where, scores, tokens)
    function = fit_function(raters, ["d"], _of_one_domain(numbers, known["alpha"]), documents)
    np.testing.assert_allclose(function.merged(where, scores), known["merged"], rtol=1e-6)
    np.testing.assert_allclose(
        function.rank(where, scores), known["token_weighted_rank"], rtol=1e-6
    )
    expected = known["S_lambda20_omega0.75_eta0.8_eps0.001"]
    np.testing.assert_allclose(function.expected_copies(where, scores), expected, rtol=1e-6)
    whole, fractions = np.array(known["expected_copies_floor_frac"]).T
    for uniforms, further in ((fractions - 1e-9, 1), (fractions + 1e-9, 0)):
        np.testing.assert_array_equal(function.copies(where, scores, uniforms), whole + further)
    selected = implied(function, documents).tokens
    np.testing.assert_allclose(selected, known["expected_domain_tokens"], rtol=1e-6)


def test_the_sampler_of_parameters(answers):
    known = answers["quadmix_param_sampling"]
    given = (known["a"], [known["b"]], [known["u_lambda_omega_eta_eps"]])
    found = parameters_at(*(np.array(one) for one in given))
    np.testing.assert_allclose(found.rater_weights[0], known["alpha_m"], rtol=1e-6)
    for name, values in found.scalars.items():
        np.testing.assert_allclose(values, known[name], rtol=1e-6)
    other = parameters_at(*(np.array(one) for one in given), steepness="log")
    np.testing.assert_allclose(other.steepness, known["lambda_if_log_uniform_reading"], rtol=1e-6)


def test_the_mean_of_the_best(answers):
    known = answers["topk_mean_proposer"]
    rng = np.random.default_rng(0)
    found = mean_of_best(
        lambda count: rng.dirichlet(np.ones(4), count),
        lambda weights: ((weights - np.array([0.1, 0.2, 0.3, 0.4])) ** 2).sum(axis=1),
        candidates=50_000,
        top=known["k"],
    )
    np.testing.assert_allclose(found.vector, known["mean"], rtol=1e-6)
