import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.quality.qurating import first_draw, gumbel, sample, sampling_keys

RNG = np.random.default_rng(0)
SCORES, TOKENS, UNIFORMS = RNG.normal(size=300), RNG.integers(1, 900, 300), RNG.random(300)
BUDGET = 20_000


def test_the_same_uniforms_give_the_same_documents_in_any_order():
    order = np.random.default_rng(1).permutation(300)
    kept = sample(SCORES, TOKENS, UNIFORMS, BUDGET)
    again = sample(SCORES[order], TOKENS[order], UNIFORMS[order], BUDGET)
    np.testing.assert_array_equal(again, kept[order])


def test_tokens_reach_the_budget_and_pass_it_by_less_than_a_document():
    kept = sample(SCORES, TOKENS, UNIFORMS, BUDGET)
    assert BUDGET <= TOKENS[kept].sum() < BUDGET + TOKENS[kept].max()


def test_no_temperature_keeps_the_best_and_an_infinite_one_ignores_quality():
    cold = sample(SCORES, TOKENS, UNIFORMS, BUDGET, temperature=0.0)
    assert SCORES[cold].min() > SCORES[~cold].max()
    hot = sample(SCORES, TOKENS, UNIFORMS, BUDGET, temperature=np.inf)
    np.testing.assert_array_equal(hot, sample(-SCORES, TOKENS, UNIFORMS, BUDGET, np.inf))


def test_lower_temperatures_keep_better_documents():
    means = [
        SCORES[sample(SCORES, TOKENS, UNIFORMS, BUDGET, temperature)].mean()
        for temperature in (0.0, 0.5, 2.0, np.inf)
    ]
    assert means == sorted(means, reverse=True)


def test_each_domain_keeps_its_share():
    domains = np.repeat(["a", "b"], [250, 50])
    tokens = TOKENS * np.repeat([1, 20], [250, 50])  # a sixth of the documents, most of the tokens
    kept = sample(SCORES, tokens, UNIFORMS, 5 * BUDGET, domains=domains)
    for name in ("a", "b"):
        here = domains == name
        share = np.floor(5 * BUDGET * tokens[here].sum() / tokens.sum())
        assert share <= tokens[kept & here].sum() < share + tokens[here].max()


def test_a_domain_of_one_document():
    domains = np.array(["b"] + ["a"] * 299)
    assert sample(SCORES, TOKENS, UNIFORMS, BUDGET, domains=domains)[0]
    assert not sample(SCORES, TOKENS, UNIFORMS, 0, domains=domains).any()


def test_equal_scores_leave_it_to_chance():
    kept = sample(np.full(300, 0.1), TOKENS, UNIFORMS, BUDGET)
    best = np.sort(UNIFORMS)[::-1][: kept.sum()]
    np.testing.assert_array_equal(np.sort(UNIFORMS[kept])[::-1], best)


def test_one_document():
    assert sample(np.array([4.0]), np.array([10]), np.array([0.3]), 1).tolist() == [True]


def test_the_ends_of_the_uniforms_are_finite():
    noise = gumbel(np.array([0.0, 2.0**-53, 1 - 2.0**-53]))
    assert np.isfinite(noise).all()
    assert (np.diff(noise) > 0).all()


@pytest.mark.parametrize("bad", [-0.1, 1.0, np.nan])
def test_uniforms_that_are_none(bad):
    with pytest.raises(InvalidInputError, match="uniforms"):
        sampling_keys(SCORES, np.append(UNIFORMS[1:], bad), 2.0)


def test_scores_that_are_not_numbers():
    with pytest.raises(InvalidInputError, match="scores of 1 of the 300 documents"):
        sample(np.append(SCORES[1:], np.nan), TOKENS, UNIFORMS, BUDGET)


@pytest.mark.parametrize("temperature", [-1.0, np.nan])
def test_temperatures_that_are_none(temperature):
    with pytest.raises(InvalidInputError, match="temperature"):
        sample(SCORES, TOKENS, UNIFORMS, BUDGET, temperature)
    with pytest.raises(InvalidInputError, match="temperature"):
        first_draw(SCORES, temperature)
