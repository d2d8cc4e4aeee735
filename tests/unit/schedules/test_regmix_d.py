"""RegMix-D: mixtures for stages from curves."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.schedules import Budget, Problem
from mixwright.schedules.regmix_d import LossCurve, plan_stages, runs_at, stage_mixtures
from mixwright.study import CompletedRuns

ENDS = (0.25, 0.5, 1.0)


def world(count=60, seed=0):
    """Runs whose best mixture moves from the first domain to the last as training goes on."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(3), count)
    tokens = np.geomspace(10, 1000, 25)
    ids = tuple(f"run{i}" for i in range(count))
    curves, last = {}, []
    for name, mixture in zip(ids, mixtures, strict=True):
        done = np.log(tokens / 10) / np.log(100)
        best = np.outer(1 - done, [0.6, 0.3, 0.1]) + np.outer(done, [0.1, 0.3, 0.6])
        losses = 3 - done + ((mixture - best) ** 2).sum(axis=1)
        curves[name] = LossCurve(tokens, losses[:, None])
        last.append(losses[-1])
    values = np.array(last)[:, None]
    return CompletedRuns(mixtures, values, np.full(count, "1m"), ids), curves


def nearest_to_minimum(runs):
    """Least squares of a loss that is quadratic with a known curvature."""
    design = np.column_stack([runs.mixtures, np.ones(len(runs.ids))])
    target = runs.values[:, 0] - (runs.mixtures**2).sum(axis=1)
    slope = np.linalg.lstsq(design, target, rcond=None)[0][:3]
    point = -slope / 2
    return point + (1 - point.sum()) / 3


def test_each_stage_has_the_mixture_that_is_best_there():
    runs, curves = world()
    ends = dict.fromkeys(runs.ids, 1000.0)
    mixtures, warnings = stage_mixtures(runs, curves, ends, ENDS, nearest_to_minimum)
    for share, mixture in zip(ENDS, mixtures, strict=True):
        done = np.log(share * 100) / np.log(100)
        expected = (1 - done) * np.array([0.6, 0.3, 0.1]) + done * np.array([0.1, 0.3, 0.6])
        np.testing.assert_allclose(mixture, expected, atol=5e-3)
    assert warnings == ()


def test_the_schedule_has_a_stage_for_each():
    budget = Budget(1e6, 10, 1000, 1e-3)
    mixtures = np.array([[0.5, 0.5], [0.2, 0.8], [0.0, 1.0]])
    schedule = plan_stages(Problem(budget, {"a": 0.5, "b": 0.5}, {}), mixtures, ENDS)
    assert [one.end_token for one in schedule.stages] == [250_000, 500_000, 1e6]
    assert schedule.stages[1].weights == {"a": 0.2, "b": 0.8}


def test_runs_without_points_on_both_sides_are_left_out_and_told():
    runs, curves = world(10)
    curves["run3"] = LossCurve(curves["run3"].tokens[-2:], curves["run3"].metrics[-2:])
    del curves["run7"]
    ends = dict.fromkeys(runs.ids, 1000.0)
    part, left_out = runs_at(runs, curves, ends, 0.25)
    assert left_out == ("run3", "run7")
    assert len(part.ids) == len(part.values) == 8
    assert runs_at(runs, curves, ends, 1.0)[0] is runs
    _, warnings = stage_mixtures(runs, curves, ends, (0.25, 1.0), nearest_to_minimum)
    assert any("2 of 10 runs" in one for one in warnings)


def test_a_curve_is_read_linearly_in_the_logarithm_of_tokens():
    curve = LossCurve(np.array([10.0, 1000.0]), np.array([[3.0], [1.0]]))
    assert curve.at(100)[0] == pytest.approx(2.0)
    assert curve.at(10)[0] == 3.0
    assert curve.at(9) is None
    assert curve.at(1001) is None


@pytest.mark.parametrize("shares", [(), (0.5,), (0.5, 0.2, 1.0), (0.0, 1.0)])
def test_stages_must_ascend_to_the_end(shares):
    runs, curves = world(5)
    with pytest.raises(InvalidInputError, match="ascend"):
        stage_mixtures(runs, curves, dict.fromkeys(runs.ids, 1000.0), shares, nearest_to_minimum)
