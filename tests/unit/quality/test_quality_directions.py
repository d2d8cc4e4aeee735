import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from quality_cases import fit_rater, raters_of, scored_documents

from mixwright.errors import InvalidInputError
from mixwright.quality.raters import Moments, Rater, suspicious_directions


def test_penalties_point_the_same_way_and_have_one_scale():
    documents = scored_documents(5_000, 1, 0)
    penalties = [
        rater.penalty(documents.scores[:, column])
        for column, rater in enumerate(raters_of(documents))
    ]
    assert np.corrcoef(penalties)[0, 1] > 0.8
    for one in penalties:
        mean = np.average(one, weights=documents.tokens)
        np.testing.assert_allclose(mean, 0, atol=1e-9)
        np.testing.assert_allclose(np.average(one**2, weights=documents.tokens), 1)


@pytest.mark.parametrize("level", [0.0, 1e-20, 3.7, 1e12])
def test_a_constant_rater_is_refused(level):
    with pytest.raises(InvalidInputError, match="cannot tell them apart"):
        fit_rater("edu", True, np.full(9, level), np.arange(1, 10))


def test_a_missing_score_is_refused():
    with pytest.raises(InvalidInputError, match="document number 1"):
        fit_rater("edu", True, np.array([1.0, np.nan]), np.array([3, 4]))


def test_a_reversed_rater_is_suspected_and_no_other():
    rng = np.random.default_rng(0)
    quality = rng.normal(size=(2_000, 1))
    scores = quality + 0.5 * rng.normal(size=(2_000, 3))
    right = [Rater("a", True), Rater("b", True), Rater("c", True)]
    assert suspicious_directions(right, scores) == ()
    wrong = suspicious_directions([*right[:2], Rater("c", False)], scores)
    assert len(wrong) == 1
    assert "'c', declared lower" in wrong[0]


def test_of_two_that_disagree_either_may_be_wrong():
    documents = scored_documents(2_000, 1, 1)
    pair = [Rater("edu", True), Rater("perplexity", True)]
    assert len(suspicious_directions(pair, documents.scores)) == 2


def test_raters_that_know_nothing_of_each_other_are_not_suspected():
    scores = np.random.default_rng(2).normal(size=(5_000, 3))
    raters = [Rater(name, True) for name in "abc"]
    assert suspicious_directions(raters, scores) == ()
    assert suspicious_directions(raters[:1], scores[:, :1]) == ()


@given(
    scores=arrays(np.float64, st.integers(2, 40), elements=st.floats(-1e6, 1e6)),
    cut=st.integers(1, 39),
    weightless=st.booleans(),
)
def test_moments_of_parts_are_those_of_the_whole(scores, cut, weightless):
    cut = min(cut, len(scores) - 1)
    weights = np.arange(len(scores)) % 4 * (not weightless)
    parts = Moments.of(scores[:cut], weights[:cut]), Moments.of(scores[cut:], weights[cut:])
    whole, merged = Moments.of(scores, weights), parts[0].merge(parts[1])
    assert (merged.documents, merged.lowest, merged.highest) == (
        len(scores),
        scores.min(),
        scores.max(),
    )
    assert merged.weight == whole.weight
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert merged.spread == pytest.approx(whole.spread, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.1, -1e9])
def test_parts_with_one_score_are_constant_together(level):
    parts = [Moments.of(np.full(count, level), np.arange(count)) for count in (3, 7)]
    assert parts[0].merge(parts[1]).is_constant
    assert not parts[0].merge(Moments.of(np.full(3, level + 1), np.ones(3))).is_constant
