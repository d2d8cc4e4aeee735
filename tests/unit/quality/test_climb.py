import numpy as np
import pytest
from geometry_cases import box

from mixwright.errors import InvalidInputError, NotEnoughRunsError
from mixwright.polytope import is_feasible
from mixwright.quality.climb import choose, propose, rank, recommend, round_after, split_budget

ROUNDS = split_budget(35)
PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
POLYTOPE = box(4, upper=0.8)


def bowl(mixtures):
    return ((mixtures - [0.1, 0.1, 0.2, 0.6]) ** 2).sum(axis=1)


def search(seed, polytope=POLYTOPE):
    """All rounds, a list of mixtures each."""
    mixtures, rounds = np.empty((0, 4)), []
    for count in ROUNDS:
        rounds.append(propose(polytope, PRIOR, mixtures, bowl(mixtures), count, seed)[:count])
        mixtures = np.vstack([mixtures, rounds[-1]])
    return rounds


def test_rounds_shrink_stay_within_the_constraints_and_draw_nearer():
    rounds = search(seed=0)
    assert tuple(len(one) for one in rounds) == ROUNDS
    assert is_feasible(POLYTOPE, np.vstack(rounds)).all()
    assert np.median(bowl(rounds[2])) < np.median(bowl(rounds[0])) / 2


def test_equal_seeds_and_runs_give_equal_rounds_and_others_do_not():
    one, two, other = search(0), search(0), search(1)
    np.testing.assert_array_equal(np.vstack(one), np.vstack(two))
    assert not np.array_equal(one[0], other[0])
    assert not np.array_equal(one[2], other[2])


def test_the_first_round_favours_domains_with_many_tokens():
    first = propose(box(4), PRIOR, np.empty((0, 4)), np.empty(0), 1000, 0)
    np.testing.assert_allclose(first.mean(axis=0), PRIOR, atol=0.02)


def test_rounds_begin_when_all_runs_before_have_ended():
    assert [round_after(runs) for runs in (0, 63, 64, 95, 96, 111)] == [
        *[(0, 64)] * 2,
        *[(64, 96)] * 2,
        *[(96, 112)] * 2,
    ]
    assert round_after(112) is round_after(500) is None


def test_mixtures_that_replace_failed_ones_are_new():
    first = search(0)[0]
    spare = propose(POLYTOPE, PRIOR, first, bowl(first), 10, 0)
    assert len(np.unique(spare, axis=0)) == 40


def test_what_is_chosen_is_drawn_from_the_elite_and_not_its_top():
    rng = np.random.default_rng(0)
    mixtures, candidates = rng.dirichlet(np.ones(4), 64), rng.dirichlet(np.ones(4), 500)
    order = rank(mixtures, bowl(mixtures), candidates, seed=0)
    chosen = choose(mixtures, bowl(mixtures), candidates, 10, seed=0)
    assert set(chosen) == set(order[:40])
    assert set(chosen[:10]) != set(order[:10])


def test_a_scale_of_the_values_changes_nothing():
    rng = np.random.default_rng(0)
    mixtures, candidates = rng.dirichlet(np.ones(4), 64), rng.dirichlet(np.ones(4), 200)
    values = np.round(bowl(mixtures), 6)
    one, two = (rank(mixtures, y, candidates, 0)[0] for y in (values, 1024 * values))
    assert one == two


def test_runs_that_tell_nothing_leave_it_to_the_seed():
    mixtures = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    one, two = (rank(mixtures, np.ones(20), mixtures, seed) for seed in (0, 1))
    assert sorted(one) == sorted(two) == list(range(20))
    assert not np.array_equal(one, two)


def test_the_recommended_mixture_is_feasible_and_good():
    runs = np.vstack(search(0))
    found = recommend(POLYTOPE, PRIOR, runs, bowl(runs), 0)
    assert is_feasible(POLYTOPE, found[None]).all()
    assert bowl(found[None])[0] < np.quantile(bowl(runs), 0.2)


def test_too_few_runs_values_that_are_not_numbers_too_few_candidates():
    mixtures = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    with pytest.raises(NotEnoughRunsError, match="12 runs; CLIMB's predictor needs 13"):
        rank(mixtures[:12], bowl(mixtures[:12]), mixtures, 0)
    with pytest.raises(InvalidInputError, match="finite"):
        rank(mixtures, np.full(20, np.nan), mixtures, 0)
    with pytest.raises(InvalidInputError, match="21 mixtures are wanted of 20"):
        choose(mixtures, bowl(mixtures), mixtures, 21, 0)


@pytest.mark.slow
def test_three_rounds_do_no_worse_than_one_on_eight_domains():
    """Mean over 20 seeds of the loss of what is recommended, after as many runs in all."""
    scale = np.array([0.3, 0.25, 0.2, 0.1, 0.05, 0.05, 0.03, 0.02])
    prior = np.full(8, 1 / 8)

    def losses(mixtures):
        return np.exp(-3 * mixtures / scale) @ scale

    def found(rounds, seed):
        mixtures = np.empty((0, 8))
        for count in rounds:
            new = propose(box(8), prior, mixtures, losses(mixtures), count, seed)
            mixtures = np.vstack([mixtures, new[:count]])
        return losses(recommend(box(8), prior, mixtures, losses(mixtures), seed))

    three, one = ([found(rounds, s) for s in range(20)] for rounds in (split_budget(70), (70,)))
    assert np.mean(three) <= np.mean(one)
