import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from mixwright.reweighting import REWEIGHTERS
from mixwright.reweighting.guards import (
    Guards,
    build_guarded,
    guarded_schema,
    total_variation,
)

ABC = ("a", "b", "c")
mixtures = st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).dirichlet([0.3] * 3))


def test_the_floor_is_spread_evenly_over_what_is_served():
    served = Guards(floor=0.1).output(np.array([1.0, 0.0, 0.0, 0.0]), (*ABC, "d"))
    np.testing.assert_allclose(served, [0.925, 0.025, 0.025, 0.025], rtol=1e-15)


def test_a_floor_of_zero_changes_no_digit():
    weights = np.array([0.1, 0.2, 0.7])
    assert Guards(floor=0.0).output(weights, ABC).tolist() == weights.tolist()


def test_pinned_shares_are_exact_and_the_floor_leaves_them_alone():
    guards = Guards(floor=0.1, pinned={"b": 0.0, "c": 0.25})
    served = guards.output(np.array([0.2, 0.8]), (*ABC, "d"))
    assert served[1:3].tolist() == [0.0, 0.25]
    np.testing.assert_allclose(served[[0, 3]], 0.75 * np.array([0.23, 0.77]))
    np.testing.assert_allclose(guards.free_part(served, (*ABC, "d")), [0.23, 0.77])


@pytest.mark.parametrize(
    ("pinned", "what"),
    [
        ({"x": 0.1}, "'x' is not a domain"),
        ({"a": -0.1}, "from 0 to 1"),
        ({"a": 0.5, "b": 0.5}, "nothing is left"),
        ({"a": 0.0, "b": 0.0, "c": 0.0}, "nothing is left"),
    ],
)
def test_pins_that_cannot_be_held_are_refused(pinned, what):
    with pytest.raises(InvalidInputError, match=what) as refused:
        Guards(pinned=pinned).check(ABC)
    assert refused.value.field == "options/pinned"


def test_weights_on_pinned_domains_alone_are_refused():
    with pytest.raises(InvalidInputError, match="others need some"):
        Guards(pinned={"a": 0.5}).free_part(np.array([1.0, 0.0, 0.0]), ABC)


@settings(deadline=None)
@given(before=mixtures, after=mixtures, largest=st.floats(0, 1))
def test_no_change_is_larger_than_allowed_and_stays_on_the_line(before, after, largest):
    found = Guards(max_step=largest).limited(before, after)
    moved = total_variation(before, found)
    assert moved <= largest + 1e-12
    assert moved == pytest.approx(min(largest, total_variation(before, after)), abs=1e-12)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_collapse_is_told_of_but_not_that_of_a_pin():
    weights = np.array([0.81, 0.19, 0.0])
    assert "'a' is 0.81" in Guards().alarm(weights, ABC)
    assert Guards().alarm(np.array([0.8, 0.2, 0.0]), ABC) is None
    assert Guards(pinned={"a": 0.81}).alarm(weights, ABC) is None


def test_options_of_both_kinds_come_together():
    reweighter, guards = build_guarded("doremi", {"step_size": 0.5, "floor": 0, "max_step": 0.1})
    assert reweighter.step_size == 0.5
    assert (guards.floor, guards.max_step) == (0.0, 0.1)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("static", {"step_size": 1.0}),
        ("static", {"floor": 2}),
        ("static", {"max_step": "much"}),
        ("static", {"warmup_steps": -1}),
        ("nonesuch", {"floor": 0.1}),
    ],
)
def test_options_that_neither_accepts_are_refused(algorithm, options):
    with pytest.raises(InvalidInputError):
        build_guarded(algorithm, options)


@pytest.mark.parametrize("name", list(REWEIGHTERS))
def test_the_published_options_are_those_of_both(name):
    published = guarded_schema(name)
    assert {"floor", "pinned", "max_step", "warmup_steps", "min_interval"} <= set(
        published["properties"]
    )
    assert published["additionalProperties"] is False
