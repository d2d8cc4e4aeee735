import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.quality.preselect import predictive_strength

ABILITIES = np.array([42.0, 30.0, 50.0, 35.0])


def test_one_where_every_abler_model_does_better_and_zero_the_other_way_round():
    losses = np.stack([-ABILITIES, ABILITIES])
    np.testing.assert_array_equal(predictive_strength(losses, ABILITIES), [1.0, 0.0])


def test_abilities_turned_round_turn_the_scores_round():
    losses = np.random.default_rng(0).random((50, 4))
    scores = predictive_strength(losses, ABILITIES)
    np.testing.assert_allclose(predictive_strength(losses, -ABILITIES), 1 - scores)


def test_the_order_of_models_does_not_matter_and_four_have_seven_scores():
    losses = np.random.default_rng(0).random((2000, 4))
    scores = predictive_strength(losses, ABILITIES)
    np.testing.assert_array_equal(predictive_strength(losses[:, ::-1], ABILITIES[::-1]), scores)
    np.testing.assert_allclose(np.unique(scores), np.arange(7) / 6)


def test_equal_losses_count_as_nothing():
    assert predictive_strength(np.ones((1, 4)), ABILITIES).tolist() == [0.0]


def test_models_of_equal_ability_have_no_order():
    losses = np.array([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0]])
    np.testing.assert_array_equal(predictive_strength(losses, np.array([1.0, 1.0, 2.0])), [1, 1])


@pytest.mark.parametrize(
    ("losses", "abilities", "words"),
    [
        (np.ones((3, 2)), np.array([1.0, 1.0]), "equally able"),
        (np.ones((3, 1)), np.array([1.0]), "equally able"),
        (np.ones((3, 2)), np.array([1.0, 2.0, 3.0]), "3 abilities"),
        (np.ones(3), np.array([1.0, 2.0, 3.0]), "3 abilities"),
        (np.array([[1.0, np.nan]]), np.array([1.0, 2.0]), "losses of 1 of the 1"),
        (np.ones((3, 2)), np.array([1.0, np.nan]), "abilities of 1 of the 2"),
        (np.empty((0, 2)), np.array([1.0, 2.0]), "no documents"),
    ],
)
def test_bad_input(losses, abilities, words):
    with pytest.raises(InvalidInputError, match=words):
        predictive_strength(losses, abilities)
