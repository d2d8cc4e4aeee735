import numpy as np
import pytest

from mixwright.errors import InvalidInputError, NotOnSimplexError
from mixwright.quality.meta_rater import TOP_K, aggregate, draw_weights, select
from mixwright.quality.scores import keep_best, standardise
from mixwright.quality.search import mean_of_best
from mixwright.surrogates import build_surrogate


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal([5.0, -1.0, 100.0], [1.0, 0.1, 30.0], (200, 3))


def test_weights_are_mixtures_and_equal_seeds_give_equal_ones():
    weights = draw_weights(25, 256, seed=3)
    assert weights.shape == (256, 25)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_array_equal(weights, draw_weights(25, 256, seed=3))
    assert not np.array_equal(weights, draw_weights(25, 256, seed=4))


def test_units_of_a_rater_do_not_matter(scores):
    weights = np.array([0.2, 0.5, 0.3])
    stretched = scores * [1000.0, 1.0, 0.01] + [7.0, 0.0, -3.0]
    np.testing.assert_allclose(aggregate(stretched, weights), aggregate(scores, weights))


def test_a_constant_rater_counts_for_nothing(scores):
    scores[:, 1] = 0.1  # whose mean over 200 documents is not exactly 0.1
    found = aggregate(scores, np.array([0.5, 0.5, 0.0]))
    np.testing.assert_allclose(found, 0.5 * standardise(scores[:, 0]))


def test_one_document_is_kept_whatever_its_scores():
    kept = select(np.array([[3.0, 4.0]]), np.array([50.0]), np.array([0.5, 0.5]), 10.0)
    assert kept.tolist() == [True]


def test_a_rater_turned_round_keeps_the_worst(scores):
    weights, tokens = np.array([1.0, 0.0, 0.0]), np.ones(200)
    kept, turned = (select(s, tokens, weights, 20.0) for s in (scores, -scores))
    assert scores[kept, 0].min() > scores[~kept, 0].max()
    assert scores[turned, 0].max() < scores[~turned, 0].min()


def test_the_document_that_reaches_the_budget_is_kept():
    values, tokens = np.array([3.0, 1.0, 2.0, 0.0]), np.array([10.0, 10.0, 10.0, 10.0])
    for budget, rows in ((0, []), (1, [0]), (10, [0]), (10.5, [0, 2]), (30, [0, 1, 2]), (99, 4)):
        kept = keep_best(values, tokens, budget)
        assert np.flatnonzero(kept).tolist() == (rows if isinstance(rows, list) else [0, 1, 2, 3])


def test_ties_are_served_in_order():
    kept = keep_best(np.arange(1000) % 3, np.ones(1000), 400.0)
    order = [*range(2, 1000, 3), *range(1, 1000, 3)][:400]
    assert set(np.flatnonzero(kept)) == set(order)


@pytest.mark.parametrize("budget", [-1.0, np.nan, np.inf])
def test_a_budget_that_is_none(budget):
    with pytest.raises(InvalidInputError, match="budget"):
        keep_best(np.zeros(5), np.ones(5), budget)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_named(scores, bad):
    scores[[17, 40], 1] = bad
    with pytest.raises(InvalidInputError, match=r"2 of the 200 .* first of document number 17"):
        aggregate(scores, np.array([0.2, 0.5, 0.3]))


def test_no_documents():
    with pytest.raises(InvalidInputError, match="no documents"):
        standardise(np.empty((0, 3)))


def test_weights_of_other_raters_or_off_the_simplex(scores):
    with pytest.raises(InvalidInputError, match="2 weights"):
        aggregate(scores, np.array([0.5, 0.5]))
    with pytest.raises(NotOnSimplexError):
        aggregate(scores, np.array([1.5, -0.5, 0.0]))


def test_a_useful_rater_gets_most_of_the_weight():
    """Of four raters one tells the quality of documents; the loss is that of what is kept."""
    rng = np.random.default_rng(1)
    quality = rng.normal(size=2000)
    scores = rng.normal(size=(2000, 4))
    scores[:, 2] = quality + 0.3 * rng.normal(size=2000)
    tokens = rng.integers(50, 500, 2000).astype(float)
    weights = draw_weights(4, 128, seed=0)
    losses = [-quality[select(scores, tokens, w, 0.2 * tokens.sum())].mean() for w in weights]
    fitted = build_surrogate("lightgbm", {}).fit(weights, np.array(losses)[:, None], 0)
    found = mean_of_best(
        lambda count: rng.dirichlet(np.ones(4), count),
        lambda w: fitted.predict_mean(w)[:, 0],
        candidates=5000,
        top=TOP_K,
    )
    assert found.vector[2] > 0.5
