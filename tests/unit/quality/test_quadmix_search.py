import numpy as np
import pytest
from quality_cases import raters_of, scored_documents

from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.hull import inside_hull
from mixwright.quality.implied import fit_function, implied
from mixwright.quality.quadmix import space_of
from mixwright.quality.search import TokenBudget, evolve, mean_of_best, mean_of_draws

SPACE = space_of(["web", "code", "math"], ["edu", "dclm"])
AVAILABLE = np.array([1e9, 4e8, 1e8])
TARGET = SPACE.sample(1, np.random.default_rng(99))[0]
SCALE = np.ptp(SPACE.sample(1_000, np.random.default_rng(1)), axis=0)


def _bowl(vectors):
    return (((vectors - TARGET) / SCALE) ** 2).sum(axis=1)


def _tried(count=300, seed=2):
    return SPACE.sample(count, np.random.default_rng(seed))


def _budget(fewest=0.0, most=np.inf):
    return TokenBudget(AVAILABLE, max(fewest, 1.0), most)


def test_the_papers_search_is_the_mean_of_the_best_draws():
    found = mean_of_draws(SPACE, _bowl, 5, candidates=25_000, top=10)
    drawn = SPACE.sample(25_000, np.random.default_rng(5))
    best = drawn[np.argsort(_bowl(drawn))[:10]]
    np.testing.assert_allclose(found.vector, best.mean(axis=0))
    assert found.best == _bowl(best).min()
    np.testing.assert_allclose(found.predicted, _bowl(found.vector[None])[0])
    SPACE.check(found.vector)


def test_evolution_finds_better_with_fewer_predictions():
    tried = _tried()
    drawn = mean_of_draws(SPACE, _bowl, 0)
    evolved = evolve(SPACE, _bowl, tried, _budget(), 0)
    assert evolved.predicted < drawn.predicted / 1.5
    assert evolved.predicted < _bowl(tried).min() / 10
    assert evolved.evaluated < drawn.evaluated / 2
    SPACE.check(evolved.vector)


def test_every_domain_stays_among_what_was_tried():
    tried = _tried(30)
    found = evolve(SPACE, lambda vectors: -(vectors / SCALE).sum(axis=1), tried, _budget(), 1)
    for place in range(3):
        part = slice(place * SPACE.block, (place + 1) * SPACE.block)
        scale = SCALE[part]
        assert inside_hull(tried[:, part] / scale, found.vector[None, part] / scale)[0]


def test_no_mixture_leaves_the_range_of_those_tried():
    """A loss that falls with a domain's share for ever does not lead beyond what was seen."""

    def share(vectors):
        tokens = SPACE.expected_tokens(vectors, AVAILABLE)
        return tokens[:, 1] / tokens.sum(axis=1)

    tried = _tried(40)
    found = evolve(SPACE, lambda vectors: -share(vectors), tried, _budget(), 0, generations=40)
    highest = share(tried).max()
    assert 0.99 * highest < share(found.vector[None])[0] <= highest


def test_the_budget_counts_more_than_what_was_tried():
    tried = _tried(40)
    totals = SPACE.expected_tokens(tried, AVAILABLE).sum(axis=1)
    fewest = 1.02 * totals.max()
    found = evolve(SPACE, _bowl, tried, _budget(fewest), 0, generations=60)
    assert fewest <= SPACE.expected_tokens(found.vector[None], AVAILABLE).sum() < 1.04 * fewest


@pytest.mark.parametrize(("fewest", "most"), [(1e7, 2e7), (8e7, 9e7)])
def test_the_budget_is_kept(fewest, most):
    found = evolve(SPACE, _bowl, _tried(), _budget(fewest, most), 0, generations=60)
    total = SPACE.expected_tokens(found.vector[None], AVAILABLE).sum()
    assert fewest <= total <= most


def test_a_budget_that_nothing_keeps_is_refused():
    with pytest.raises(InfeasibleError, match="the nearest selects"):
        evolve(SPACE, _bowl, _tried(), _budget(1e12, 2e12), 0, generations=3)


def test_the_same_seed_finds_the_same():
    first, again, other = (
        evolve(SPACE, _bowl, _tried(), _budget(), seed, generations=5).vector for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_domain_of_noise_is_suppressed():
    """Loss falls with clean tokens and rises with noise; the third domain is noise."""

    def loss(vectors):
        tokens = SPACE.expected_tokens(vectors, AVAILABLE)
        return tokens[:, 2] / 1e8 - np.log1p(tokens[:, :2].sum(axis=1) / 1e6)

    found = [
        mean_of_draws(SPACE, loss, 0, candidates=20_000).vector,
        evolve(SPACE, loss, _tried(), _budget(), 0, generations=30).vector,
    ]
    for vector in found:
        shares = SPACE.expected_tokens(vector[None], AVAILABLE)[0] / AVAILABLE
        assert shares[2] < 0.5 * shares[:2].min()


def test_what_is_found_makes_a_sampling_function():
    documents = scored_documents(3_000, 3, 0)
    vector = mean_of_draws(SPACE, _bowl, 0, candidates=1_000).vector
    function = fit_function(raters_of(documents), SPACE.domains, SPACE.decode(vector), documents)
    told = implied(function, documents)
    wanted = SPACE.expected_tokens(vector[None], told.available_tokens)[0]
    np.testing.assert_allclose(told.tokens, wanted, rtol=0.15)  # a thousand documents a domain


@pytest.mark.parametrize("top", [0, 11])
def test_the_best_are_among_the_candidates(top):
    with pytest.raises(InvalidInputError, match="top"):
        mean_of_best(_tried, _bowl, 10, top)


@pytest.mark.parametrize("tried", [np.empty((0, SPACE.size)), np.zeros((3, 4))])
def test_vectors_of_another_space_are_refused(tried):
    with pytest.raises(InvalidInputError, match="tried"):
        evolve(SPACE, _bowl, tried, _budget(), 0)
