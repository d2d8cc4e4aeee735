import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.report.runs import evenly_by_rank, fair_shares, label, objectives, succeeded


def a_run(**metrics):
    return {"metrics": metrics}


def test_the_objective_is_the_weighted_sum_of_the_metrics():
    found = objectives([a_run(loss=3.0, accuracy=0.5)], ["loss", "accuracy"], np.array([1.0, -0.5]))
    assert found.tolist() == [2.75]


def test_a_run_without_a_metric_of_the_objective_has_no_objective():
    runs = [a_run(loss=3.0), a_run(loss=3.0, accuracy=None), a_run(accuracy=0.5)]
    assert np.isnan(objectives(runs, ["loss", "accuracy"], np.array([1.0, -0.5]))).all()


def test_a_metric_without_weight_may_be_missing():
    found = objectives([a_run(loss=3.0)], ["loss", "accuracy"], np.array([2.0, 0.0]))
    assert found.tolist() == [6.0]


def test_retracted_runs_do_not_count():
    runs = [{"id": "a", "state": "succeeded"}, {"id": "b", "state": "retracted"}]
    assert [run["id"] for run in succeeded(runs)] == ["a"]


def test_few_values_are_all_kept_in_order_of_rank():
    assert evenly_by_rank(np.array([3.0, 1.0, 2.0]), 5).tolist() == [1, 2, 0]


@given(st.integers(2, 400), st.integers(2, 50))
def test_a_sample_has_both_extremes_and_even_steps(count, most):
    values = np.random.default_rng(count).normal(size=count)
    kept = evenly_by_rank(values, most)
    ranks = np.argsort(np.argsort(values))[kept]
    assert len(set(kept.tolist())) == len(kept) == min(count, most)
    assert (ranks[0], ranks[-1]) == (0, count - 1)
    assert np.ptp(np.diff(ranks)) <= 1


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(0, 500))
def test_points_are_shared_out_without_waste(counts, most):
    shares = fair_shares(counts, most)
    assert all(share <= count for share, count in zip(shares, counts, strict=True))
    assert sum(shares) <= most
    if sum(counts) <= most:
        assert shares == counts


def test_a_small_group_is_shown_whole_beside_a_large_one():
    assert fair_shares([5000, 64], 2000) == [1936, 64]


@pytest.mark.parametrize(
    ("external_id", "expected"),
    [("mine-1", "<b>mine-1</b><br>run_1"), (None, "<b>run_1</b>")],
)
def test_a_label_names_the_run_and_its_largest_weights(external_id, expected):
    weights = {"web": 0.6, "code": 0.25, "books": 0.1, "forum": 0.05}
    text = label({"id": "run_1", "external_id": external_id, "weights": weights})
    assert text == f"{expected}<br>web 60\xa0%, code 25\xa0%, books 10\xa0%"


def test_a_label_escapes_names():
    text = label({"id": "run_1", "external_id": "<b>x", "weights": {"<i>web": 1.0}})
    assert text == "<b>&lt;b&gt;x</b><br>run_1<br>&lt;i&gt;web 100\xa0%"
