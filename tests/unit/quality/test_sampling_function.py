import json
from dataclasses import replace

import numpy as np
import pytest
from geometry_cases import SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_cases import fitted, parameters, scored_documents

from mixwright.errors import InvalidInputError
from mixwright.quality.function import SamplingFunction, expected_copies_at, round_copies
from mixwright.quality.ranks import RankTable
from mixwright.quality.raters import Rater
from mixwright.quality.uniforms import uniforms_of

SHARES = st.floats(0, 1)
LAMBDAS = st.sampled_from([0.0, 1.0, 300.0, 1e4, 1e300])
NUMBERS = {"steepness": LAMBDAS, "threshold": SHARES, "exponent": SHARES, "floor": SHARES}


def _at(ranks, theta):
    return expected_copies_at(np.array(ranks), theta, np.zeros(len(ranks), dtype=np.int64))


@given(**NUMBERS)
def test_it_falls_from_at_most_2_to_the_eta_by_a_jump_of_one(**numbers):
    theta = parameters(1, **numbers)
    omega, floor = numbers["threshold"], numbers["floor"]
    ranks = np.append(np.linspace(0, 1, 201), [omega, np.nextafter(omega, 2)])
    copies = _at(ranks, theta)
    assert (np.diff(copies[np.argsort(ranks)]) <= 0).all()
    assert copies.max() <= 2 ** numbers["exponent"] + floor
    assert copies.min() >= floor
    np.testing.assert_allclose(copies[-2:], [1 + floor, floor], atol=1e-12)


def test_a_steep_function_does_not_overflow():
    theta = parameters(1, steepness=1e308, threshold=0.5, exponent=1.0, floor=0.0)
    np.testing.assert_array_equal(_at([0.0, 0.5, 0.6, 1.0], theta), [2, 1, 0, 0])


def test_without_eta_and_floor_it_keeps_one_copy_above_the_threshold():
    documents = scored_documents(5_000, 1, 0)
    function = fitted(documents, exponent=0.0, floor=0.0)
    uniforms = uniforms_of(np.arange(5_000), 0)
    copies = function.copies(documents.domain_index, documents.scores, uniforms)
    ranks = function.rank(documents.domain_index, documents.scores)
    np.testing.assert_array_equal(copies, ranks <= 0.1)


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_mean_copies_are_the_expected_ones_in_every_decile(seed):
    documents = scored_documents(500, 1, seed)
    function = fitted(documents, threshold=0.55, steepness=5.0, floor=0.3)
    where, draws = documents.domain_index, 200
    expected = function.expected_copies(where, documents.scores)
    names = np.arange(500 * draws)
    uniforms = uniforms_of(names, seed).reshape(draws, 500)
    copies = np.mean([function.copies(where, documents.scores, row) for row in uniforms], axis=0)
    fraction = expected - np.floor(expected)
    for decile in np.array_split(np.argsort(function.rank(where, documents.scores)), 10):
        error = np.sqrt((fraction * (1 - fraction))[decile].sum() / draws) / len(decile)
        gap = copies[decile].mean() - expected[decile].mean()
        assert abs(gap) <= 4.5 * error + 1e-12  # 3 for one; 100 are looked at here


def test_mean_copies_are_within_three_standard_errors():
    documents = scored_documents(100_000, 3, 4)
    function = fitted(documents, 3, threshold=0.55, steepness=5.0, floor=0.3)
    expected = function.expected_copies(documents.domain_index, documents.scores)
    copies = round_copies(expected, uniforms_of(np.arange(100_000), 7))
    fraction = expected - np.floor(expected)
    ranks = function.rank(documents.domain_index, documents.scores)
    for decile in np.array_split(np.argsort(ranks), 10):
        error = np.sqrt((fraction * (1 - fraction))[decile].sum())
        assert abs(copies[decile].sum() - expected[decile].sum()) <= 3 * error


def test_a_document_gets_the_same_in_any_batch_and_order():
    documents = scored_documents(3_000, 4, 1)
    function = fitted(documents, 4)
    order = np.random.default_rng(0).permutation(3_000)
    together = function.expected_copies(documents.domain_index, documents.scores)
    parts = [
        function.expected_copies(documents.domain_index[rows], documents.scores[rows])
        for rows in np.array_split(order, 7)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), together[order])


def test_scores_in_single_precision_count_as_the_doubles_they_are():
    documents = scored_documents(2_000, 2, 3)
    function = fitted(documents, 2)
    single = documents.scores.astype(np.float32)
    np.testing.assert_array_equal(
        function.merged(documents.domain_index, single),
        function.merged(documents.domain_index, single.astype(np.float64)),
    )


def test_ties_share_the_worse_rank():
    function = _small([0.0, 1.0], [0.75, 1.0])
    ranks = function.rank(np.zeros(4, dtype=int), np.array([[0.0], [0.0], [0.0], [1.0]]))
    np.testing.assert_array_equal(ranks, [0.75, 0.75, 0.75, 1.0])


def test_json_keeps_every_bit():
    documents = scored_documents(400, 3, 2)
    function = fitted(documents, 3)
    text = function.to_json()
    again = SamplingFunction.from_json(text.encode())
    assert again.to_json() == text
    np.testing.assert_array_equal(
        again.expected_copies(documents.domain_index, documents.scores),
        function.expected_copies(documents.domain_index, documents.scores),
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: "no json", "not JSON"),
        (lambda one: json.dumps([one]), "format"),
        (lambda one: json.dumps({**one, "format": "mixwright-sampling-function/9"}), "/9"),
        (lambda one: json.dumps({**one, "domains": [{"name": "d"}]}), "wrong part"),
        (lambda one: json.dumps({**one, "raters": [{"nmae": "edu"}]}), "wrong part"),
        (lambda one: json.dumps({**one, "raters": [{**one["raters"][0], "scale": 0}]}), "scale"),
        (lambda one: with_rater(one, higher_is_better="no"), "higher_is_better 'no'"),
        (lambda one: with_rater(one, normalisation="minmax"), "'minmax'"),
        (lambda one: with_rater(one, center="0"), "wrong part"),
        (lambda one: json.dumps({**one, "raters": [None]}), "wrong part"),
        (lambda one: with_domain(one, name=None), "named"),
        (lambda one: with_domain(one, omega="all"), "wrong part"),
        (lambda one: with_domain(one, ranks={"values": [[0], 1], "ranks": [0.5, 1]}), "wrong part"),
    ],
)
def test_what_is_no_function_is_refused(change, says):
    with pytest.raises(InvalidInputError, match=says):
        SamplingFunction.from_json(change(json.loads(_small().to_json())))


@pytest.mark.parametrize(
    ("where", "scores", "says"),
    [
        ([0], [[np.nan]], "'edu' is nan for document number 0"),
        ([0], [[np.inf]], "inf"),
        ([0], [[1.0, 2.0]], "raters edu"),
        ([1], [[1.0]], "0 to 0"),
        ([-1], [[1.0]], "-1"),
        ([0, 0], [[1.0]], "domain_index"),
    ],
)
def test_documents_of_others_are_refused(where, scores, says):
    with pytest.raises(InvalidInputError, match=says):
        _small().expected_copies(np.array(where), np.array(scores))


def test_a_domain_that_is_not_known_is_named():
    with pytest.raises(InvalidInputError, match="'code'"):
        _small().index_of(["d0", "code"])
    np.testing.assert_array_equal(_small().index_of(["d0", "d0"]), [0, 0])


def test_uniforms_are_needed_for_every_document():
    with pytest.raises(InvalidInputError, match="one each"):
        _small().copies(np.array([0]), np.array([[0.0]]), np.array([0.1, 0.2]))


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("rater_weights", np.array([[0.5]]), "sum to 1"),
        ("rater_weights", np.array([[0.0]]), "sum to 1"),
        ("rater_weights", np.array([[0.5, 0.5]]), "shape"),
        ("steepness", np.array([np.inf]), "lambda"),
        ("threshold", np.array([1.1]), "omega"),
        ("exponent", np.array([-0.1]), "eta"),
        ("floor", np.array([np.nan]), "epsilon"),
        ("floor", np.array([0.1, 0.1]), "epsilon"),
    ],
)
def test_parameters_out_of_range_are_refused(part, value, says):
    function = _small()
    wrong = replace(function.parameters, **{part: value})
    with pytest.raises(InvalidInputError, match=says):
        replace(function, parameters=wrong)


@pytest.mark.parametrize("change", [{"domains": ()}, {"domains": ("a", "b")}, {"raters": ()}])
def test_parts_that_do_not_belong_together_are_refused(change):
    with pytest.raises(InvalidInputError):
        replace(_small(), **change)


def with_rater(document, **changes):
    return json.dumps({**document, "raters": [{**document["raters"][0], **changes}]})


def with_domain(document, **changes):
    return json.dumps({**document, "domains": [{**document["domains"][0], **changes}]})


def _small(values=(0.0, 1.0), ranks=(0.5, 1.0)):
    theta = replace(parameters(1), rater_weights=np.ones((1, 1)))
    table = RankTable(np.array(values), np.array(ranks))
    return SamplingFunction((Rater("edu", higher_is_better=False),), ("d0",), theta, (table,))
