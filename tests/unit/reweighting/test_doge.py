"""DoGE: domains that were not in the batch, clips, matrices of products, what must be sent."""

import re

import numpy as np
import pytest
from gradient_reweighting import begin, told

from mixwright.errors import InvalidInputError
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Table

PRIOR = [0.5, 0.3, 0.2]
RATE = {"learning_rate": 1e-3}
NORMS = [1.0, 2.0, 3.0]
WHOLE = {"alignment": [1.0, 1.0, 1.0], "grad_norms": NORMS}


def after(one, prior=PRIOR, **options):
    reweighter, state = begin("doge", prior, **options)
    return reweighter.update(state, one)


def test_no_alignment_leaves_the_weights():
    found = after(told(numbers=RATE, alignment=[0, 0, 0], grad_norms=NORMS))
    np.testing.assert_allclose(found.state.weights, PRIOR, rtol=1e-12)
    assert found.state.updates == 1


def test_a_rate_of_zero_leaves_the_weights():
    one = told(numbers={"learning_rate": 0.0}, alignment=[3, 2, 1], grad_norms=NORMS)
    np.testing.assert_allclose(after(one).state.weights, PRIOR, rtol=1e-12)


def test_gradients_that_point_away_count_as_none():
    away = after(told(numbers=RATE, alignment=[1, -5, 0], grad_norms=NORMS))
    none = after(told(numbers=RATE, alignment=[1, 0, 0], grad_norms=NORMS))
    np.testing.assert_array_equal(away.state.weights, none.state.weights)
    free = after(told(numbers=RATE, alignment=[1, -5, 0], grad_norms=NORMS), lower_clip=-5.0)
    assert free.state.weights[1] < none.state.weights[1]


def test_what_was_seen_before_is_not_used_again():
    reweighter, state = begin("doge", PRIOR)
    state = reweighter.update(
        state, told(numbers=RATE, alignment=[5, 5, 5], grad_norms=NORMS)
    ).state
    one = told(numbers=RATE, alignment=[None, 0, 0], grad_norms=[None, 2.0, 3.0])
    later = reweighter.update(state, one).state
    np.testing.assert_allclose(later.weights, state.weights, rtol=1e-12)


def test_the_mean_norm_is_that_of_domains_that_were_seen():
    some = told(numbers=RATE, alignment=[1, 2, None], grad_norms=[1.0, 2.0, None])
    zero = told(numbers=RATE, alignment=[1, 2, 0], grad_norms=[1.0, 2.0, 1.5])
    np.testing.assert_allclose(after(some).state.weights, after(zero).state.weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("vectors", "numbers", "reason"),
    [
        (WHOLE, {}, "no learning_rate"),
        (WHOLE, {"learning_rate": -1e-3}, "learning_rate is -0.001"),
        (WHOLE, {"learning_rate": np.nan}, "learning_rate is nan"),
        ({"grad_norms": NORMS}, RATE, "neither alignment nor gram"),
        ({"alignment": [1, 1, 1]}, RATE, "no grad_norms"),
        ({"alignment": [1, None, None], "grad_norms": NORMS}, RATE, "missing .* for b, c"),
        ({"alignment": [1, 1, 1], "grad_norms": [1, -2, 1]}, RATE, "grad_norms are below 0"),
    ],
)
def test_what_must_be_sent_is_said(vectors, numbers, reason):
    reweighter, state = begin("doge", PRIOR)
    found = reweighter.update(state, told(numbers=numbers, **vectors))
    assert found.state is state
    assert re.search(reason, found.reason)


GRADIENTS = np.array([[1.0, 0.2], [0.5, -1.0], [0.3, 0.4]])
GRAM = GRADIENTS @ GRADIENTS.T
HOLED = np.where(np.eye(3)[[1, 0, 2]] * [1, 1, 0] == 1, np.nan, GRAM)


def gram(rows, columns, values=GRAM):
    return told(tables={"gram": Table(rows, columns, values)}, numbers=RATE)


def test_rows_and_columns_of_a_matrix_go_by_name():
    order = [2, 0, 1]
    straight = after(gram(("a", "b", "c"), ("a", "b", "c")))
    turned = after(gram(("c", "a", "b"), ("a", "b", "c"), GRAM[order]))
    np.testing.assert_allclose(turned.state.weights, straight.state.weights, rtol=1e-12)


def test_an_absent_domain_is_left_out_of_rows_and_columns():
    without = after(gram(("a", "b"), ("a", "b"), GRAM[:2, :2]))
    spoilt = GRAM.copy()
    spoilt[2], spoilt[:, 2] = np.nan, np.nan
    np.testing.assert_array_equal(
        after(gram(("a", "b", "c"), ("a", "b", "c"), spoilt)).state.weights, without.state.weights
    )
    sums = [GRAM[0, 1], GRAM[1, 0], None]
    norms = [*np.linalg.norm(GRADIENTS[:2], axis=1), None]
    same = after(told(numbers=RATE, alignment=sums, grad_norms=norms))
    np.testing.assert_allclose(without.state.weights, same.state.weights, rtol=1e-12)


def test_a_target_among_the_domains_keeps_its_own_product():
    norms = np.linalg.norm(GRADIENTS, axis=1)
    table = Table(("a", "b", "c"), ("a",), GRAM[:, :1])
    found = after(told(tables={"gram": table}, numbers=RATE, grad_norms=norms))
    same = after(told(numbers=RATE, alignment=GRAM[:, 0], grad_norms=norms))
    np.testing.assert_array_equal(found.state.weights, same.state.weights)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (gram(("a", "b", "c"), ("target",), GRAM[:, :1]), "no grad_norms"),
        (gram(("a",), ("a",), GRAM[:1, :1]), "missing"),
        (gram(("a", "b", "c"), ("a", "b", "c"), HOLED), "gram"),
        (gram(("a", "b", "c"), ("a", "b", "c"), -GRAM), "below 0"),
    ],
)
def test_matrices_that_are_refused(one, reason):
    found = after(one)
    assert found.state.updates == 0
    assert reason in found.reason


def test_clips_in_the_wrong_order_are_refused():
    with pytest.raises(InvalidInputError, match="lower_clip"):
        build_reweighter("doge", {"lower_clip": 6.0}).init(("a",), np.ones(1), 0)
