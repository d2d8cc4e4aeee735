"""Scores of raters and models: Meta-rater, PreSelect, QuRating, and the rounds of CLIMB."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from mixwright.quality.climb import split_budget
from mixwright.quality.meta_rater import aggregate
from mixwright.quality.preselect import predictive_strength
from mixwright.quality.qurating import first_draw, gumbel, sample, sampling_keys
from mixwright.quality.scores import standardise

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/offline_known_answers.json"


@pytest.fixture(scope="module")
def answers():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    return json.loads(ANSWERS.read_text())


@pytest.fixture
def qurating(answers):
    return {name: np.array(value) for name, value in answers["qurating"].items()}


def uniforms_of(noise):
    return np.exp(-np.exp(-np.array(noise)))


def test_meta_rater_scoring(answers):
    known = answers["metarater_scoring"]
    found = aggregate(np.array(known["scores"]), np.array(known["w"]))
    np.testing.assert_allclose(found, known["zscore_agg_ddof0"], rtol=1e-6)
    assert np.argsort(-found).tolist() == known["order_best_first"]


def test_climb_splits_its_budget(answers):
    known = answers["climb"]
    assert split_budget(112) == tuple(known["budget112"])
    assert split_budget(35) == tuple(known["split_for_total_35"])


def test_preselect(answers):
    known = answers["preselect"]
    found = predictive_strength(np.array(known["bpc_by_doc"]), np.array(known["bench"]))
    np.testing.assert_allclose(found, known["S"], rtol=1e-6)


def test_qurating_odds(qurating):
    np.testing.assert_allclose(standardise(qurating["scores"]), qurating["z_ddof0"], rtol=1e-6)
    for temperature in (1, 2):
        found = first_draw(qurating["scores"], temperature)
        np.testing.assert_allclose(found, qurating[f"softmax_tau{temperature}"], rtol=1e-6)


def test_qurating_keys(answers):
    known = answers["qurating"]
    noise = known["gumbel_topk"]["gumbel"]
    np.testing.assert_allclose(gumbel(uniforms_of(noise)), noise, rtol=1e-6)
    found = sampling_keys(np.array(known["scores"]), uniforms_of(noise), 2.0)
    np.testing.assert_allclose(found, known["gumbel_topk"]["keys_tau2"], rtol=1e-6)
    assert np.argsort(-found).tolist() == known["gumbel_topk"]["order"]


def test_qurating_inclusion_is_that_of_draws_one_after_the_other(answers):
    known = answers["qurating"]
    draws = 20_000
    uniforms = np.random.default_rng(0).random((draws, 5))
    scores, tokens = np.array(known["scores"]), np.ones(5)
    kept = np.mean([sample(scores, tokens, one, 2.0) for one in uniforms], axis=0)
    exact = np.array(known["inclusion_prob_k2_without_replacement"])
    assert (np.abs(kept - exact) < 3 * np.sqrt(exact * (1 - exact) / draws)).all()
    odds = first_draw(scores, 2.0)
    by_hand = np.zeros(5)
    for one, two in permutations(range(5), 2):
        by_hand[[one, two]] += odds[one] * odds[two] / (1 - odds[one])
    np.testing.assert_allclose(by_hand, exact, rtol=1e-6)
