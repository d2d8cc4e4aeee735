import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import ScoredDocuments, implied
from mixwright.quality.meta_rater import select
from mixwright.quality.meta_rater_function import best_tokens_function
from mixwright.quality.raters import Moments

WEIGHTS = np.array([0.3, 0.7])
DOMAINS = ("web", "code", "math")


def sample(count, seed):
    rng = np.random.default_rng(seed)
    where = np.append(np.arange(3), rng.integers(3, size=count - 3))
    scores = rng.normal(size=(count, 2)) + 0.3 * where[:, None]
    return ScoredDocuments(where, scores, rng.integers(1, 900, count))


def raters_of(documents):
    ones = np.ones(len(documents.tokens))
    return [
        Moments.of(documents.scores[:, place], ones).rater(name, True, "z_score_of_documents")
        for place, name in enumerate(("edu", "dclm"))
    ]


def function_of(documents, budget, available=None):
    raters = raters_of(documents)
    return best_tokens_function(raters, DOMAINS, WEIGHTS, documents, budget, available)


@given(count=st.integers(3, 6000), seed=st.integers(0, 10**6), share=st.floats(0.0001, 1.3))
def test_it_keeps_what_meta_rater_selects(count, seed, share):
    documents = sample(count, seed)
    budget = share * documents.tokens.sum()
    function = function_of(documents, budget)
    kept = select(documents.scores, documents.tokens, WEIGHTS, budget)
    copies = function.expected_copies(documents.domain_index, documents.scores)
    np.testing.assert_array_equal(copies, kept)
    assert function.to_json() == SamplingFunction.from_json(function.to_json()).to_json()
    assert implied(function, documents).tokens.sum() == documents.tokens[kept].sum()


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99, 2.0])
def test_documents_that_were_not_sampled_are_kept_by_the_same_bar(share):
    documents, others = sample(5000, 1), sample(5000, 2)
    function = function_of(documents, share * documents.tokens.sum())
    merged = function.merged(documents.domain_index, documents.scores)
    copies = function.expected_copies(documents.domain_index, documents.scores)
    bar = merged[copies == 1].max()
    unseen = function.merged(others.domain_index, others.scores)
    found = function.expected_copies(others.domain_index, others.scores)
    np.testing.assert_array_equal(found, unseen <= bar)


def test_tokens_of_the_whole_domains_move_the_bar():
    documents = sample(4000, 3)
    sampled = np.bincount(documents.domain_index, documents.tokens)
    available = sampled * [1.0, 10.0, 1000.0]
    function = function_of(documents, 0.1 * available.sum(), available)
    found = implied(function, documents, available)
    assert found.tokens.sum() == pytest.approx(0.1 * available.sum(), rel=0.02)


@pytest.mark.parametrize("budget", [0.0, -1.0, np.nan, np.inf])
def test_a_budget_of_nothing_is_refused(budget):
    with pytest.raises(InvalidInputError, match="budget"):
        function_of(sample(10, 0), budget)
