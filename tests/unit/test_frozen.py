import numpy as np
import pytest
from geometry_cases import SEEDS, box, random_polytope, with_rows
from hypothesis import given, settings

from mixwright.constraints import is_feasible
from mixwright.errors import InfeasibleError, InvalidInputError, NotOnSimplexError
from mixwright.frozen import FrozenGroup, freeze
from mixwright.sampling import sample_polytope

PAIR = FrozenGroup((1, 3), np.array([0.25, 0.75]))


def test_expansion_keeps_ratios_and_sums_to_one():
    reduction = freeze(box(4), [PAIR])
    expected = [0.2, 0.1, 0.4, 0.3]  # d0 and d2 are free; 0.4 is shared 1 : 3
    np.testing.assert_allclose(reduction.expand(np.array([0.2, 0.4, 0.4])), expected)


def test_the_cap_on_the_virtual_domain_is_the_tightest_of_its_members():
    # Caps 0.1 / 0.25 = 0.4 and 0.6 / 0.75 = 0.8: the first binds, and gives its name.
    polytope = box(4, upper=[1, 0.1, 1, 0.6])
    reduced = freeze(polytope, [PAIR]).polytope
    assert reduced.upper[2] == pytest.approx(0.4)
    assert reduced.names[5] == "upper:1"


def test_the_lower_bound_on_the_virtual_domain_is_the_tightest_of_its_members():
    reduced = freeze(box(4, lower=[0, 0.1, 0, 0.15]), [PAIR]).polytope
    assert reduced.lower[2] == pytest.approx(0.4)
    assert reduced.names[2] == "lower:1"


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_a_reduced_mixture_is_feasible_exactly_if_its_expansion_is(seed):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(3))
    group = FrozenGroup(tuple(int(i) for i in rng.permutation(6)[:3]), ratios)
    polytope = with_rows(box(6, upper=0.6), rng.normal(size=(2, 6)), [0.5, 0.5])
    try:
        reduction = freeze(polytope, [group])
    except InfeasibleError:
        return
    reduced = np.vstack([rng.dirichlet(np.ones(4), 50), sample_polytope(reduction.polytope, 10, 0)])
    np.testing.assert_array_equal(
        is_feasible(polytope, reduction.expand(reduced)), is_feasible(reduction.polytope, reduced)
    )
    assert is_feasible(polytope, reduction.expand(reduced[50:])).all()


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_freezing_nothing_changes_nothing(seed):
    polytope = random_polytope(seed, 5, 2)
    reduced = freeze(polytope, []).polytope
    np.testing.assert_array_equal(reduced.upper, polytope.upper)
    np.testing.assert_array_equal(reduced.a_ub, polytope.a_ub)
    assert reduced.names == polytope.names


def test_ratios_that_break_a_bound_are_infeasible():
    with pytest.raises(InfeasibleError, match="frozen ratios"):
        freeze(box(2, upper=0.6), [FrozenGroup((0, 1), np.array([0.7, 0.3]))])


def test_a_domain_frozen_at_nothing_cannot_meet_its_lower_bound():
    with pytest.raises(InfeasibleError, match="frozen ratios"):
        freeze(box(3, lower=[0.1, 0, 0]), [FrozenGroup((0, 1), np.array([0.0, 1.0]))])


@pytest.mark.parametrize("members", [(0, 4), (1, 1)])
def test_positions_that_do_not_exist_or_repeat_are_refused(members):
    with pytest.raises(InvalidInputError, match=str(members[1])):
        freeze(box(3), [FrozenGroup(members, np.array([0.5, 0.5]))])


def test_ratios_must_be_a_mixture():
    with pytest.raises(NotOnSimplexError):
        freeze(box(3), [FrozenGroup((0, 1), np.array([0.5, 0.6]))])
