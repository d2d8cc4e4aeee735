import json

import numpy as np
import pytest
from geometry_cases import SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from quality_cases import fit_rater, parameters, scored_documents
from scipy.stats import norm

from mixwright.errors import InvalidInputError
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import fit_function
from mixwright.quality.normal_scores import POINTS, NormalTable
from mixwright.quality.ranks import RankSketch
from mixwright.quality.raters import Rater

SCORES = arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e9, 1e9))


@given(scores=SCORES, others=arrays(np.float64, 200, elements=st.floats(-2e9, 2e9)))
def test_a_higher_score_is_never_normalised_lower(scores, others):
    tokens = np.arange(1, len(scores) + 1)
    if len(np.unique(scores)) < 2:
        return
    table = NormalTable.of(RankSketch.of(scores, tokens))
    rising = np.sort(np.concatenate([others, scores, np.nextafter(scores, np.inf)]))
    assert (np.diff(table.normal(rising)) >= 0).all()
    assert (np.diff(table.normals) > 0).all()


def test_ties_share_the_middle_of_their_tokens():
    table = NormalTable.of(RankSketch.of(np.array([1.0, 1.0, 2.0, 5.0]), np.array([1, 3, 2, 4])))
    np.testing.assert_allclose(table.normals, norm.ppf([0.2, 0.5, 0.8]), atol=1e-15)
    np.testing.assert_array_equal(table.values, [1, 2, 5])


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_scores_become_normal_whatever_their_distribution(seed):
    scores = np.exp(3 * np.random.default_rng(seed).normal(size=40_000))
    table = NormalTable.of(RankSketch.of(scores, np.ones(40_000, dtype=np.int64)))
    exact = norm.ppf((np.argsort(np.argsort(scores)) + 0.5) / 40_000)
    found = table.normal(scores)
    assert len(table.values) <= POINTS
    assert np.abs(found - exact)[np.abs(exact) < 2.5].max() < 0.02
    assert abs(found.std() - 1) < 0.01


def test_an_outlier_moves_nothing_else():
    scores = np.random.default_rng(0).normal(size=20_000)
    wild = np.append(scores[:-1], 1e12)
    ordinary, ones = np.linspace(-2, 2, 9), np.ones(20_000)
    calm, ranked, far = (
        fit_rater("r", True, some, ones, kind).penalty(ordinary)
        for some, kind in ((scores, "rank_normal"), (wild, "rank_normal"), (wild, "z_score"))
    )
    np.testing.assert_allclose(ranked, calm, atol=0.01)
    assert np.ptp(far) < 1e-6 < np.ptp(calm)


def test_documents_without_tokens_do_not_count():
    scores, tokens = np.array([0.0, 1.0, 2.0]), np.array([0, 1, 1])
    np.testing.assert_array_equal(NormalTable.of(RankSketch.of(scores, tokens)).values, [1, 2])


def test_json_keeps_every_bit_and_stays_small():
    documents = scored_documents(20_000, 2, 5)
    raters = [
        fit_rater(name, name == "edu", documents.scores[:, i], documents.tokens, kind)
        for i, (name, kind) in enumerate((("edu", "rank_normal"), ("perplexity", "z_score")))
    ]
    function = fit_function(raters, ["a", "b"], parameters(2), documents)
    text = function.to_json()
    again = SamplingFunction.from_json(text)
    assert again.to_json() == text
    np.testing.assert_array_equal(
        again.merged(documents.domain_index, documents.scores),
        function.merged(documents.domain_index, documents.scores),
    )
    told = json.loads(text)["raters"]
    assert [rater["normalisation"] for rater in told] == ["rank_normal", "z_score"]
    assert set(told[1]) == {"name", "higher_is_better", "center", "scale", "normalisation"}
    assert len(json.dumps(told[0])) < 50 * POINTS


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"normalisation": "rank_normal"}, "a table belongs to"),
        ({"normalisation": "z_score", "table": {"values": [0, 1], "normals": [0, 1]}}, "a table"),
        ({"normalisation": "rank_normal", "table": {"values": [0], "normals": [0]}}, "two or more"),
        (
            {"normalisation": "rank_normal", "table": {"values": [1, 0], "normals": [0, 1]}},
            "rising",
        ),
        ({"table": {"values": [0, 1], "normals": [0, np.nan]}}, "rising"),
        ({"table": {"values": [-1e308, 1.5e308], "normals": [0, 1]}}, "rising"),
    ],
)
def test_a_rater_with_a_wrong_table_is_refused(values, says):
    with pytest.raises(InvalidInputError, match=says):
        Rater.from_json({"name": "edu", "higher_is_better": True, **values}).check()


@pytest.mark.parametrize("scores", [np.ones(5), np.array([1.0, np.nan]), np.array([1.0, np.inf])])
def test_scores_that_tell_nothing_are_refused(scores):
    with pytest.raises(InvalidInputError, match="edu"):
        fit_rater("edu", True, scores, np.ones(len(scores)), "rank_normal")


def test_a_normalisation_that_is_not_known_is_named():
    with pytest.raises(InvalidInputError, match="no normalisation 'minmax'; there are z_score and"):
        fit_rater("edu", True, np.arange(4.0), np.ones(4), "minmax")
