from dataclasses import replace

import numpy as np
import pytest
from quality_cases import fitted, parameters, raters_of, scored_documents

from mixwright.errors import InvalidInputError
from mixwright.quality import implied as module
from mixwright.quality.function import round_copies
from mixwright.quality.implied import (
    ScoredDocuments,
    expected_shares,
    fit_function,
    implied,
    implied_of,
)
from mixwright.quality.uniforms import uniforms_of


def test_it_is_what_sampling_selects():
    documents = scored_documents(100_000, 3, 0)
    function = fitted(documents, 3, threshold=0.6, steepness=3.0, floor=0.2)
    told = implied(function, documents)
    expected = function.expected_copies(documents.domain_index, documents.scores)
    copies = round_copies(expected, uniforms_of(np.arange(100_000), 0))
    tokens = np.bincount(documents.domain_index, documents.tokens * copies)
    distinct = np.bincount(documents.domain_index, documents.tokens * (copies > 0))
    np.testing.assert_allclose(tokens, told.tokens, rtol=0.01)
    np.testing.assert_allclose(distinct, told.distinct_tokens, rtol=0.01)
    np.testing.assert_allclose(told.repetitions, tokens / distinct, rtol=0.01)
    np.testing.assert_allclose(told.mixture.sum(), 1)


def test_a_sample_stands_for_its_domains():
    documents = scored_documents(2_000, 2, 1)
    function = fitted(documents, 2)
    own = implied(function, documents)
    told = implied(function, documents, own.available_tokens * [10.0, 0.0])
    np.testing.assert_allclose(told.tokens, own.tokens * [10.0, 0.0])
    np.testing.assert_allclose(told.repetitions, [own.repetitions[0], 0.0])
    np.testing.assert_allclose(told.mixture, [1.0, 0.0])


def test_shares_need_no_sample():
    documents = scored_documents(50_000, 3, 2)
    theta = replace(
        parameters(3, floor=0.001),
        steepness=np.array([0.0, 40.0, 1000.0]),
        threshold=np.array([0.1, 0.03, 0.08]),
    )
    function = fit_function(raters_of(documents), ["a", "b", "c"], theta, documents)
    told = implied(function, documents)
    shares = expected_shares(*theta.scalars.values())
    np.testing.assert_allclose(told.tokens / told.available_tokens, shares, rtol=0.03)


def test_what_parameters_imply_needs_no_sample():
    documents = scored_documents(100_000, 2, 3)
    numbers = {"threshold": 0.4, "steepness": 6.0, "floor": 0.2}
    told = implied(fitted(documents, 2, **numbers), documents)
    found = implied_of(parameters(2, **numbers), told.available_tokens)
    for part in ("tokens", "distinct_tokens", "mixture", "repetitions"):
        np.testing.assert_allclose(getattr(found, part), getattr(told, part), rtol=2e-3)


def test_a_higher_threshold_selects_more():
    shares = expected_shares(
        *(np.full(50, 0.5) for _ in "l"), np.linspace(0, 1, 50), *[np.ones(50)] * 2
    )
    assert (np.diff(shares) > 0).all()


def test_blocks_do_not_matter(monkeypatch):
    documents = scored_documents(5_000, 3, 3)
    whole = fitted(documents, 3)
    told = implied(whole, documents)
    monkeypatch.setattr(module, "_BLOCK", 700)
    again = fit_function(whole.raters, whole.domains, parameters(3), documents)
    assert again.to_json() == whole.to_json()
    np.testing.assert_allclose(implied(whole, documents).tokens, told.tokens, rtol=1e-12)


def test_a_domain_with_one_document_is_all_but_empty_and_said_to_be():
    documents = scored_documents(1_000, 1, 4)
    lone = ScoredDocuments(
        np.append(documents.domain_index, 1),
        np.vstack([documents.scores, [[3.0, 10.0]]]),
        np.append(documents.tokens, 500),
    )
    told = implied(fitted(lone, 2, floor=0.01), lone)
    np.testing.assert_allclose(told.tokens[1], 5.0)
    assert len(told.warnings) == 1
    assert "'d1'" in told.warnings[0]


def test_nothing_selected_has_a_mixture_of_zeros():
    documents = scored_documents(1_000, 2, 5)
    told = implied(fitted(documents, 2, threshold=0.0, floor=0.0), documents)
    np.testing.assert_array_equal(told.mixture, 0.0)
    np.testing.assert_array_equal(told.repetitions, 0.0)
    assert len(told.warnings) == 2
    assert "nothing is left of it" in told.warnings[0]


def test_a_domain_without_documents_is_named():
    documents = scored_documents(100, 1, 6)
    with pytest.raises(InvalidInputError, match="'d1'"):
        fitted(documents, 2)


@pytest.mark.parametrize("count", [0, 5])
def test_documents_without_tokens_do_not_count(count):
    documents = scored_documents(count or 1, 1, 7)
    empty = replace(documents, tokens=np.zeros_like(documents.tokens))
    rows = slice(0, count)
    empty = ScoredDocuments(empty.domain_index[rows], empty.scores[rows], empty.tokens[rows])
    raters = raters_of(scored_documents(50, 1, 7))
    with pytest.raises(InvalidInputError, match="no document with tokens"):
        fit_function(raters, ["d0"], parameters(1), empty)


def test_a_score_that_is_missing_is_refused():
    documents = scored_documents(100, 1, 8)
    raters = raters_of(documents)
    documents.scores[7, 1] = np.nan
    with pytest.raises(InvalidInputError, match="'perplexity' is nan for document number 7"):
        fit_function(raters, ["d0"], parameters(1), documents)
