import numpy as np
import pytest
from small_group import NAMES
from small_scored import RATERS, make_scored_store, theta

from mixwright.corpus.selection import DocumentPool
from mixwright.errors import InvalidInputError
from mixwright.quality.function import expected_copies_at
from mixwright.quality.notation import parse


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_scored_store(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def pool(store):
    return DocumentPool(store, NAMES, RATERS, ["noise"])


def parameters(**changes):
    return parse(theta(**changes), NAMES, RATERS)


def test_ranks_are_those_of_the_definition(pool, store):
    chosen, ranks = parameters(), []
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
    expected = expected_copies_at(np.concatenate(ranks), chosen, documents.domain_index)
    found = pool.function(chosen).expected_copies(documents.domain_index, documents.scores)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_copies_are_on_average_what_is_expected_of_them(pool):
    chosen = parameters(epsilon=0.3)
    documents, draws = pool.documents, 2000
    expected = pool.function(chosen).expected_copies(documents.domain_index, documents.scores)
    drawn = [np.concatenate(pool.select(chosen, seed).copies) for seed in range(draws)]
    fraction = expected - np.floor(expected)
    error = np.sqrt(fraction * (1 - fraction) / draws)
    assert (np.abs(np.mean(drawn, axis=0) - expected) <= 4.5 * error + 1e-12).all()
    assert ((fraction > 0.1) & (expected > 1)).any()


def test_a_choice_depends_on_the_seed_and_on_nothing_else(store, pool):
    again = DocumentPool(store, NAMES, RATERS, ["noise"])
    again.select(parameters(epsilon=0.5), 3)
    for one, other in zip(
        pool.select(parameters(), 1).copies, again.select(parameters(), 1).copies, strict=True
    ):
        np.testing.assert_array_equal(one, other)
    halves = [pool.select(parameters(omega=0.0, epsilon=0.5), seed) for seed in (1, 2)]
    assert any(
        (one != other).any() for one, other in zip(*(half.copies for half in halves), strict=True)
    )


def test_documents_come_one_by_one_as_the_floor_rises(pool):
    some = pool.select(parameters(omega=0.0, epsilon=0.3), 0).copies
    more = pool.select(parameters(omega=0.0, epsilon=0.6), 0).copies
    for few, many in zip(some, more, strict=True):
        assert (few <= many).all()
        assert few.sum() < many.sum()


def test_tokens_are_those_of_the_chosen_documents(pool):
    found = pool.select(parameters(), 0)
    for domain, (shard, copies) in enumerate(zip(pool.shards, found.copies, strict=True)):
        assert found.tokens[domain] == shard.tokens @ copies
        assert found.distinct_tokens[domain] == shard.tokens[copies > 0].sum()
    assert (found.tokens > found.distinct_tokens).all()
    whole = pool.everything()
    np.testing.assert_array_equal(whole.tokens, pool.everything().distinct_tokens)
    assert whole.tokens.sum() == pool.documents.tokens.sum()


def test_a_better_direction_chooses_other_documents(store, pool):
    turned = DocumentPool(store, NAMES, RATERS, ["edu"])
    best, worst = (one.select(parameters(omega=0.3, epsilon=0.0), 0) for one in (pool, turned))
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
        DocumentPool(store, NAMES, RATERS)
