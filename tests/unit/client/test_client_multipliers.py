import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright_client import SAMPLING_IS_FIXED, loss_multipliers


def simplex(values):
    return {f"d{i}": value / sum(values) for i, value in enumerate(values)}


parts = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.lists(st.floats(0, 1), min_size=k, max_size=k).filter(lambda w: sum(w) > 0.01),
        st.lists(st.floats(0.01, 1), min_size=k, max_size=k),
    )
)


@settings(max_examples=500, deadline=None)
@given(parts, st.floats(1, 10))
def test_they_stay_under_the_cap_and_keep_the_scale_and_the_order(found, cap):
    weights, sampled = map(simplex, found)
    multipliers = loss_multipliers(weights, sampled, cap)
    assert all(1 / cap - 1e-9 <= value <= cap + 1e-9 for value in multipliers.values())
    mean = sum(sampled[name] * value for name, value in multipliers.items())
    assert mean == pytest.approx(1, abs=1e-9)
    by_ratio = sorted(weights, key=lambda name: weights[name] / sampled[name])
    ordered = [multipliers[name] for name in by_ratio]
    assert ordered == pytest.approx(sorted(ordered), abs=1e-9)


def test_without_a_cap_in_the_way_they_are_the_ratios():
    found = loss_multipliers({"a": 0.6, "b": 0.4}, {"a": 0.5, "b": 0.5})
    assert found == pytest.approx({"a": 1.2, "b": 0.8})


def test_a_weight_of_zero_is_lifted_where_the_cap_leaves_no_other_way():
    found = loss_multipliers({"a": 1.0, "b": 0.0}, {"a": 0.1, "b": 0.9}, 2.0)
    assert found == pytest.approx({"a": 2.0, "b": 0.8 / 0.9})


def test_what_cannot_be_weighted_is_refused():
    with pytest.raises(ValueError, match=r"never sampled: .'a'"):
        loss_multipliers({"a": 0.5, "b": 0.5}, {"a": 0.0, "b": 1.0})
    with pytest.raises(ValueError, match="domains differ"):
        loss_multipliers({"a": 1.0}, {"b": 1.0})
    with pytest.raises(ValueError, match="below 1"):
        loss_multipliers({"a": 1.0}, {"a": 1.0}, 0.5)
    assert loss_multipliers({"a": 0.0, "b": 1.0}, {"a": 0.0, "b": 1.0})["b"] == 1


def test_the_text_says_what_cannot_be():
    assert "cannot change what is sampled" in SAMPLING_IS_FIXED
    assert "counts the weights twice" in SAMPLING_IS_FIXED
