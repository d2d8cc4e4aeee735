"""Repetition: the effective-data law of arXiv:2305.16264 and UniMax's allocation."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixwright.repetition import (
    HALF_LIFE_EPOCHS,
    DataConstrainedLaw,
    effective_tokens,
    unimax,
)

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/offline_known_answers.json"


@pytest.fixture(scope="module")
def answers():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    return json.loads(ANSWERS.read_text())


def test_effective_data(answers):
    known = answers["repeat_effective_data"]
    assert known["R_D_star"] == HALF_LIFE_EPOCHS
    epochs, unique = np.array(known["epochs"]), np.array(known["U_D"])
    worth = effective_tokens(unique, epochs * unique)
    np.testing.assert_allclose(worth / unique, known["effective_over_unique"], rtol=1e-6)
    np.testing.assert_allclose(worth / epochs, known["ratio_to_fresh"], rtol=1e-6)


def test_marginal_value_is_the_slope_of_effective_data(answers):
    known = answers["repeat_effective_data"]
    epochs = np.array(known["epochs"])[1:]
    rise = effective_tokens(np.ones(1), epochs + 1e-6) - effective_tokens(np.ones(1), epochs - 1e-6)
    np.testing.assert_allclose(rise / 2e-6, known["marginal_value_exp"][1:], rtol=1e-5)


def test_unimax(answers):
    known = answers["unimax"]
    sizes = np.array(known["chars"])
    allocation = unimax(sizes, known["budget"], known["max_epochs"])
    np.testing.assert_allclose(allocation, known["alloc"], rtol=1e-6)
    np.testing.assert_allclose(allocation / allocation.sum(), known["p"], rtol=1e-6)
    np.testing.assert_allclose(allocation / sizes, known["epochs"], rtol=1e-6)


def test_unimax_short_of_tokens(answers):
    known = answers["unimax"]
    short = known["saturated"]
    allocation = unimax(np.array(known["chars"]), short["budget"], known["max_epochs"])
    np.testing.assert_allclose(allocation, short["alloc"], rtol=1e-6)
    assert allocation.sum() == pytest.approx(short["sum"])


def test_losses_of_data_constrained_training(answers):
    cases = answers["repeat_loss"]["cases"]
    parameters, unique, trained = (np.array([one[name] for one in cases]) for name in "NUD")
    rounded = DataConstrainedLaw(exponent=0.35, parameters_life=5.3, tokens_life=15.4)
    found = rounded.loss(parameters, unique[:, None], trained[:, None])
    np.testing.assert_allclose(found, [one["L"] for one in cases], rtol=1e-9)
    found = DataConstrainedLaw().loss(parameters, unique[:, None], trained[:, None])
    known = [one["L_with_exponent_0.353_and_full_Rstars"] for one in cases]
    np.testing.assert_allclose(found, known, rtol=1e-9)
