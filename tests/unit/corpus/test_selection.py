import numpy as np
import pytest
from scipy.stats import norm
from small_group import NAMES
from small_scored import META_RATER, RATERS, SPACE, make_pool, make_scored_store, theta

from mixwright.errors import InvalidInputError
from mixwright.quality import meta_rater
from mixwright.quality.function import expected_copies_at
from mixwright.quality.notation import parse


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_scored_store(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def pool(store):
    return make_pool(store)


def select(pool, seed=0, **changes):
    return pool.select(pool.function(theta(**changes)), seed)


def test_ranks_are_those_of_the_definition(pool, store):
    chosen, ranks = theta(), []
    every = [store.scored(domain, RATERS) for domain in range(2)]
    scores = np.concatenate([shard.scores for shard in every])
    tokens = np.concatenate([shard.tokens for shard in every])
    center = np.average(scores, axis=0, weights=tokens)
    scale = np.sqrt(np.average((scores - center) ** 2, axis=0, weights=tokens))
    for shard in every:
        normal = (shard.scores - center) / scale
        merged = -0.7 * normal[:, 0] + 0.3 * normal[:, 1]
        better = merged[None, :] <= merged[:, None]
        ranks.append((better * shard.tokens).sum(axis=1) / shard.tokens.sum())
    documents = pool.documents
    expected = expected_copies_at(
        np.concatenate(ranks), parse(chosen, NAMES, RATERS), documents.domain_index
    )
    found = pool.function(chosen).expected_copies(documents.domain_index, documents.scores)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_copies_are_on_average_what_is_expected_of_them(pool):
    function = pool.function(theta(epsilon=0.3))
    documents, draws = pool.documents, 2000
    expected = function.expected_copies(documents.domain_index, documents.scores)
    drawn = [np.concatenate(pool.select(function, seed).copies) for seed in range(draws)]
    fraction = expected - np.floor(expected)
    error = np.sqrt(fraction * (1 - fraction) / draws)
    assert (np.abs(np.mean(drawn, axis=0) - expected) <= 4.5 * error + 1e-12).all()
    assert ((fraction > 0.1) & (expected > 1)).any()


def test_a_choice_depends_on_the_seed_and_on_nothing_else(store, pool):
    again = make_pool(store)
    select(again, 3, epsilon=0.5)
    for one, other in zip(select(pool, 1).copies, select(again, 1).copies, strict=True):
        np.testing.assert_array_equal(one, other)
    halves = [select(pool, seed, omega=0.0, epsilon=0.5) for seed in (1, 2)]
    assert any(
        (one != other).any() for one, other in zip(*(half.copies for half in halves), strict=True)
    )


def test_documents_come_one_by_one_as_the_floor_rises(pool):
    some = select(pool, omega=0.0, epsilon=0.3).copies
    more = select(pool, omega=0.0, epsilon=0.6).copies
    for few, many in zip(some, more, strict=True):
        assert (few <= many).all()
        assert few.sum() < many.sum()


def test_tokens_are_those_of_the_chosen_documents(pool):
    found = select(pool)
    for domain, (shard, copies) in enumerate(zip(pool.shards, found.copies, strict=True)):
        assert found.tokens[domain] == shard.tokens @ copies
        assert found.distinct_tokens[domain] == shard.tokens[copies > 0].sum()
    assert (found.tokens > found.distinct_tokens).all()
    whole = pool.everything()
    np.testing.assert_array_equal(whole.tokens, pool.everything().distinct_tokens)
    assert whole.tokens.sum() == pool.documents.tokens.sum()


def test_a_better_direction_chooses_other_documents(store, pool):
    turned = make_pool(store, {**SPACE, "lower_is_better": ["edu"]})
    best, worst = (select(one, omega=0.3, epsilon=0.0) for one in (pool, turned))
    mean = [
        [np.average(s.scores[:, 0], weights=c) for s, c in zip(pool.shards, x.copies, strict=True)]
        for x in (best, worst)
    ]
    assert (np.array(mean[0]) > 0.3).all()
    assert (np.array(mean[1]) < -0.3).all()


def test_a_rater_that_says_the_same_of_all_is_refused(tmp_path):
    from small_scored import make_documents

    flat = {
        name: [type(one)(one.text, one.id, (one.scores[0], 1.0)) for one in some]
        for name, some in make_documents().items()
    }
    store = make_scored_store(tmp_path, flat)
    with pytest.raises(InvalidInputError, match="'noise' gives all 120 documents the score 1"):
        make_pool(store)


WEIGHTS = {"edu": 0.8, "noise": 0.2}


@pytest.fixture(scope="module")
def best(store):
    return make_pool(store, META_RATER)


@pytest.mark.parametrize("share", [1e-9, 0.3, 0.99])
def test_meta_raters_weights_choose_the_best_documents_of_all_domains(best, share):
    documents = best.documents
    budget = share * documents.tokens.sum()
    weights = np.array(list(WEIGHTS.values()))
    kept = meta_rater.select(documents.scores * [1, -1], documents.tokens, weights, budget)
    found = [best.select(best.function(WEIGHTS, budget), seed) for seed in (0, 1)]
    for selection in found:
        np.testing.assert_array_equal(np.concatenate(selection.copies), kept)
    assert found[0].tokens.sum() == documents.tokens[kept].sum()
    assert share < 0.1 or (found[0].tokens > 0).all()


def test_a_budget_is_needed_where_points_do_not_say_how_much_is_chosen(best):
    with pytest.raises(InvalidInputError, match="say how many"):
        best.function(WEIGHTS)
    with pytest.raises(InvalidInputError, match="noise: this rater is missing"):
        best.function({"edu": 1.0}, 1e6)


@pytest.mark.parametrize(("space", "counts"), [(SPACE, "tokens"), (META_RATER, "documents")])
def test_ranks_instead_of_distances_count_where_the_space_says_so(store, space, counts):
    pool = make_pool(store, {**space, "normalisation": "rank_normal"})
    point, budget = (theta(), None) if space is SPACE else (WEIGHTS, 4000.0)
    documents, rater = pool.documents, pool.function(point, budget).raters[1]
    assert rater.normalisation == "rank_normal" + ("_of_documents" if counts == "documents" else "")
    weights = documents.tokens if counts == "tokens" else np.ones(len(documents.tokens))
    noise = documents.scores[:, 1]
    below = [weights @ (noise < one) + weights @ (noise == one) / 2 for one in noise]
    expected = norm.ppf(np.array(below) / weights.sum())
    np.testing.assert_allclose(rater.penalty(noise), expected, atol=1e-12)
