from dataclasses import replace

import numpy as np
import pytest
from geometry_cases import SEEDS, make_study, reorder_study
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.constraints import (
    active_constraints,
    compile_constraints,
    is_feasible,
    largest_target_tokens,
    uncapped_domains,
)
from mixwright.errors import InfeasibleError


def random_scarce_study(seed, num_domains):
    """A study whose repetition caps are too tight, most of the time."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(num_domains))
    tokens = list(share * 1e9)
    if rng.random() < 0.3:
        tokens[0] = None
    group = (rng.random(num_domains) < 0.5).astype(float)
    limit = float(group @ share)
    return make_study(
        num_domains,
        tokens=tokens,
        lower=share * 0.3 * rng.random(num_domains),
        upper=np.maximum(share, rng.random(num_domains)),
        linear=[(group, 0.5 * limit, min(1.0, 1.5 * limit + 1e-3))],
        repetition=(1e10 * (1 + rng.random()), rng.choice([1.0, 4.0])),
    )


def with_target(study, target_tokens):
    return replace(study, repetition=replace(study.repetition, target_tokens=target_tokens))


def test_a_repetition_cap_is_epochs_times_tokens_over_target():
    study = make_study(2, tokens=[1e9, 5e9], repetition=(1e10, 4.0))
    polytope = compile_constraints(study)
    np.testing.assert_allclose(polytope.upper, [0.4, 1.0])
    assert polytope.names[2:] == ("repetition:d0", "upper:d1")


def test_unknown_tokens_are_not_capped_and_said_to_be():
    study = make_study(2, tokens=[1e9, None], repetition=(1e12, 4.0))
    np.testing.assert_allclose(compile_constraints(study).upper, [0.004, 1.0])
    assert uncapped_domains(study) == ("d1",)


def test_nothing_is_uncapped_without_a_repetition_limit():
    assert uncapped_domains(make_study(2)) == ()


def test_a_linear_constraint_becomes_a_row_for_each_finite_side():
    study = make_study(
        3, linear=[([1, 1, 0], 0.1, 0.4), ([0, 0, 1], -np.inf, 0.9), ([1, 0, 0], 0.05, np.inf)]
    )
    polytope = compile_constraints(study)
    assert polytope.names[6:] == (
        "linear:0:upper",
        "linear:0:lower",
        "linear:1:upper",
        "linear:2:lower",
    )
    mixtures = np.array([[0.2, 0.1, 0.7], [0.3, 0.2, 0.5], [0.04, 0.1, 0.86], [0.05, 0.0, 0.95]])
    np.testing.assert_array_equal(is_feasible(polytope, mixtures), [True, False, False, False])


def test_scarce_tokens_are_refused_with_the_largest_target():
    study = make_study(3, tokens=[1e9, 2e9, 3e9], repetition=(1e12, 4.0))
    with pytest.raises(InfeasibleError, match=r"d0 at most 0.004 .*repetition") as refused:
        compile_constraints(study)
    assert refused.value.largest_target_tokens == pytest.approx(4 * 6e9)
    assert "2.4e+10, not 1e+12" in str(refused.value)


def test_the_conflict_names_what_contradicts_and_nothing_else():
    study = make_study(4, lower=[0.5, 0.6, 0, 0], upper=[1, 1, 0.5, 1])
    with pytest.raises(InfeasibleError, match=r"d0 at least 0.5; d1 at least 0.6$") as refused:
        compile_constraints(study)
    assert refused.value.largest_target_tokens is None


def test_repetition_is_not_blamed_where_lifting_it_would_not_help():
    study = make_study(
        2, tokens=[1e9, 1e9], repetition=(1e12, 4.0), linear=[([1, 1], -np.inf, 0.9)]
    )
    with pytest.raises(InfeasibleError, match=r"linear constraint 0 at most 0.9$") as refused:
        compile_constraints(study)
    assert refused.value.largest_target_tokens is None


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.sampled_from([2, 4, 17]))
def test_the_largest_target_is_feasible_and_a_thousandth_more_is_not(seed, num_domains):
    study = random_scarce_study(seed, num_domains)
    largest = largest_target_tokens(study)
    assert largest is not None
    assert np.isfinite(largest)
    compile_constraints(with_target(study, largest))
    with pytest.raises(InfeasibleError) as refused:
        compile_constraints(with_target(study, 1.001 * largest))
    assert refused.value.largest_target_tokens == pytest.approx(largest, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_target_in_the_message_is_itself_feasible(seed):
    study = with_target(random_scarce_study(seed, 5), 1e15)
    if study.domains[0].tokens is None and largest_target_tokens(study) > 1e15:
        return
    with pytest.raises(InfeasibleError) as refused:
        compile_constraints(study)
    printed = float(str(refused.value).split("target_tokens is ")[1].split(",")[0])
    compile_constraints(with_target(study, printed))


@given(st.permutations(range(4)))
def test_the_order_of_domains_does_not_matter(order):
    study = make_study(
        4, tokens=[1e9, 2e9, 3e9, None], repetition=(2e10, 4.0), linear=[([1, 2, 0, 0], 0.1, 0.5)]
    )
    order = np.array(order)
    expected = compile_constraints(study).reorder(order)
    actual = compile_constraints(reorder_study(study, order))
    assert actual.names == expected.names
    np.testing.assert_array_equal(actual.upper, expected.upper)
    np.testing.assert_array_equal(actual.a_ub, expected.a_ub)


def test_active_constraints_say_bound_and_value():
    study = make_study(
        3, tokens=[1e9, None, None], repetition=(1e10, 4.0), linear=[([0, 2, 0], 1.0, np.inf)]
    )
    active = active_constraints(compile_constraints(study), np.array([0.4, 0.5, 0.1]))
    expected = [
        {"name": "repetition:d0", "kind": "repetition", "bound": 0.4, "value": 0.4},
        {"name": "linear:0:lower", "kind": "linear", "bound": 1.0, "value": 1.0},
    ]
    assert active == [pytest.approx(entry) for entry in expected]


def test_a_slack_constraint_is_not_active():
    polytope = compile_constraints(make_study(2, lower=0.1, upper=0.9))
    assert active_constraints(polytope, np.array([0.5, 0.5])) == []
    assert [a["name"] for a in active_constraints(polytope, np.array([0.1, 0.9]))] == [
        "lower:d0",
        "upper:d1",
    ]
