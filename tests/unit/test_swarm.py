import numpy as np
import pytest
from geometry_cases import SEEDS, make_study
from hypothesis import given, settings
from scipy.spatial.distance import pdist

from mixwright import swarm
from mixwright.constraints import compile_constraints, is_feasible
from mixwright.errors import InfeasibleError
from mixwright.sampling import sample_polytope
from mixwright.swarm import SWARM_DESIGNS

# Token shares of the Pile, rounded.
PILE = np.array(
    [113, 80, 4, 185, 51, 16, 102, 4, 67, 2, 27, 237, 12, 8, 8, 39, 45],
    dtype=float,
)
PILE /= PILE.sum()


@pytest.fixture(params=sorted(SWARM_DESIGNS))
def design(request):
    return SWARM_DESIGNS[request.param]


def random_study(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.choice([2, 5, 17]))
    prior = rng.dirichlet(np.full(k, 3.0))
    slack = 1 + rng.random(k) * rng.choice([1e-2, 0.5, 5.0])
    return make_study(
        k,
        prior=prior,
        upper=np.minimum(prior * slack, 1.0),
        linear=[((rng.random(k) < 0.5).astype(float), -np.inf, 1.0)],
    )


@settings(deadline=None, max_examples=15)
@given(SEEDS)
def test_every_row_of_every_design_is_feasible(seed):
    study = random_study(seed)
    polytope = compile_constraints(study)
    for design in SWARM_DESIGNS.values():
        mixtures = design(study, polytope, 6, seed)
        assert mixtures.shape == (6, len(study.domains))
        assert is_feasible(polytope, mixtures).all()
        np.testing.assert_allclose(mixtures.sum(axis=1), 1.0, atol=1e-12)


def test_equal_seeds_give_equal_designs_and_others_do_not(design):
    study = make_study(5)
    polytope = compile_constraints(study)
    np.testing.assert_array_equal(design(study, polytope, 8, 1), design(study, polytope, 8, 1))
    assert not np.array_equal(design(study, polytope, 8, 1), design(study, polytope, 8, 2))


def test_64_domains_with_tight_caps_get_distinct_mixtures(design):
    study = make_study(64, upper=1.5 / 64)
    polytope = compile_constraints(study)
    mixtures = design(study, polytope, 64, 0)
    assert is_feasible(polytope, mixtures).all()
    assert len(np.unique(mixtures, axis=0)) == 64


def test_a_single_feasible_mixture_is_repeated(design):
    study = make_study(3, lower=[0.2, 0.3, 0.5], prior=[0.2, 0.3, 0.5])
    mixtures = design(study, compile_constraints(study), 4, 0)
    np.testing.assert_allclose(mixtures, np.tile([0.2, 0.3, 0.5], (4, 1)), atol=1e-9)


def dirichlet_of_the_pile(count=512, seed=0):
    study = make_study(17, prior=PILE)
    return SWARM_DESIGNS["dirichlet"](study, compile_constraints(study), count, seed)


def test_regmix_weights_are_multiples_of_two_ten_thousandths():
    units = dirichlet_of_the_pile() * 5000
    np.testing.assert_allclose(units, np.round(units), atol=1e-9)


def test_regmix_bounds_usage_by_15_times_the_untempered_prior():
    mixtures = dirichlet_of_the_pile()
    bound = np.minimum(15 * PILE, 1.0)
    assert (mixtures <= bound + 2e-4).all()  # rounding comes after the bound
    # A bound on the tempered prior would let the smallest domain go as far as 0.19.
    assert mixtures[:, 9].max() <= 15 * PILE[9] + 2e-4


def test_regmix_mixtures_differ():
    assert len(np.unique(dirichlet_of_the_pile(), axis=0)) == 512


def recipe_step_by_step(prior, count, seed):
    """RegMix's recipe as its script goes through it, one candidate at a time."""
    rng, kept = np.random.default_rng(seed), set()
    tempered = prior**0.5 / (prior**0.5).sum()
    strengths = np.logspace(np.log10(0.1), np.log10(5.0), 15)
    for _ in range(count):
        candidates = [rng.dirichlet(tempered * strength) for strength in strengths]
        candidate = candidates[rng.integers(15)]
        if (candidate > np.minimum(15 * prior, 1.0)).any():
            continue
        candidate = np.where(candidate < 2e-4, 0.0, candidate)
        units = np.round(candidate / candidate.sum() / 2e-4)
        kept.add(tuple(units.astype(int)))
    return np.array(sorted(kept)) * 2e-4


def test_the_regmix_design_has_the_distribution_of_the_recipe():
    def spread(mixtures):  # the sparsest are merged as duplicates, the more the more are drawn
        return mixtures[(mixtures > 0).sum(axis=1) >= 4]

    expected = spread(recipe_step_by_step(PILE, 2000, seed=1))
    actual = spread(dirichlet_of_the_pile(2000))
    statistics = (
        lambda w: w,
        lambda w: w > 0,
        lambda w: (w > 0).sum(axis=1, keepdims=True) >= 9,
        lambda w: (w**2).sum(axis=1, keepdims=True),
    )
    for statistic in statistics:
        truth, seen = statistic(expected), statistic(actual)
        error = np.sqrt(truth.var(axis=0) * (1 / len(truth) + 1 / len(seen)))
        assert (np.abs(seen.mean(axis=0) - truth.mean(axis=0)) < 4.5 * error + 1e-4).all()


def test_the_regmix_strengths_are_those_of_its_script():
    # 15 of them, evenly spaced in the logarithm from 0.1 to 5.
    assert len(swarm.STRENGTHS) == 15
    np.testing.assert_allclose(swarm.STRENGTHS[[0, 7, 14]], [0.1, np.sqrt(0.5), 5.0])


def test_regmix_draws_from_sparse_to_even():
    largest = dirichlet_of_the_pile().max(axis=1)
    assert (largest > 0.95).sum() > 20
    assert (largest < 0.4).sum() > 20


def test_regmix_says_when_its_own_bound_is_the_obstacle():
    study = make_study(2, prior=[0.999, 0.001], lower=[0.0, 0.5])
    with pytest.raises(InfeasibleError, match=r"15 times .* space_filling"):
        SWARM_DESIGNS["dirichlet"](study, compile_constraints(study), 4, 0)


def test_space_filling_mixtures_lie_farther_apart_than_random_ones():
    study = make_study(8)
    polytope = compile_constraints(study)
    filling = SWARM_DESIGNS["space_filling"](study, polytope, 64, 0)
    random = sample_polytope(polytope, 64, 0)
    assert pdist(filling).min() > 1.8 * pdist(random).min()


def test_a_longer_space_filling_design_is_not_needed_to_begin_one():
    study = make_study(4)
    polytope = compile_constraints(study)
    filling = SWARM_DESIGNS["space_filling"](study, polytope, 30, 0)
    gaps = [pdist(filling[:n]).min() for n in range(2, 31)]
    assert (np.diff(gaps) <= 1e-12).all()  # each one is the farthest that was left
