"""RegMix-D: mixtures for stages from curves."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.fitting import fit_study
from mixwright.reweighting import build_reweighter
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.regmix_d import RegmixD, plan_stages
from mixwright.schedules.stage_models import components, pooled_models, separate_models
from mixwright.schedules.trajectories import LossCurve, Trajectories, in_all
from mixwright.study import CompletedRuns, Direction, Domain, Fidelity, Metric, Study

DOMAINS = ("a", "b", "c")
ENDS = (0.25, 0.5, 1.0)
BUDGET = Budget(1e6, 10, 1000, 1e-3)


def best_at(tokens):
    """The mixture that is best at a time, `(3,)` or `(p, 3)`."""
    done = np.log(np.asarray(tokens) / 10)[..., None] / np.log(100)
    return (1 - done) * np.array([0.6, 0.3, 0.1]) + done * np.array([0.1, 0.3, 0.6])


def world(count=60, seed=0):
    """Runs whose best mixture moves as training goes on; a metric that is ignored, one to maximise.

    The objective is `(loss - score) / 2`, and both want the same.
    """
    rng = np.random.default_rng(seed)
    mixtures, tokens = rng.dirichlet(np.ones(3), count), np.geomspace(10, 1000, 25)
    ids = tuple(f"run{i}" for i in range(count))
    curves = {}
    for name, mixture in zip(ids, mixtures, strict=True):
        losses = 3 + ((mixture - best_at(tokens)) ** 2).sum(axis=1)
        curves[name] = LossCurve(tokens, np.column_stack([losses, mixture[0] + losses, -losses]))
    metrics = (Metric("loss"), Metric("ignored"), Metric("score", Direction.MAXIMIZE))
    study = Study(
        tuple(Domain(name, None, 1 / 3) for name in DOMAINS),
        metrics,
        np.array([0.5, 0.0, 0.5]),
        (Fidelity("1m"),),
        "1m",
    )
    values = np.array([curves[name].metrics[-1] for name in ids])
    runs = CompletedRuns(mixtures, values, np.full(count, "1m"), ids)
    return Trajectories(study, runs, curves, dict.fromkeys(ids, 1000.0))


def planned(given, **options):
    problem = Problem(BUDGET, dict.fromkeys(DOMAINS, 1 / 3), {}, trajectories=given)
    return build_planner("regmix_d", {"ends": list(ENDS), **options}).plan(problem)


def fit(surrogate):
    return lambda study, runs: fit_study(study, runs, surrogate=surrogate)[0]


@pytest.mark.parametrize("fits", ["pooled", "separate"])
def test_each_stage_has_the_mixture_that_is_best_there(fits):
    schedule = planned(world(), fits=fits)
    for stage, share in zip(schedule.stages, ENDS, strict=True):
        found = list(stage.weights.values())
        np.testing.assert_allclose(found, best_at(1000 * share), atol=0.02)
    assert not any("left out" in one for one in schedule.warnings)


def test_the_schedule_has_a_stage_for_each():
    mixtures = np.array([[0.5, 0.5], [0.2, 0.8], [0.0, 1.0]])
    schedule = plan_stages(Problem(BUDGET, {"a": 0.5, "b": 0.5}, {}), mixtures, ENDS)
    assert [one.end_token for one in schedule.stages] == [250_000, 500_000, 1e6]
    assert schedule.stages[1].weights == {"a": 0.2, "b": 0.8}


def test_its_evidence_is_the_option_of_the_online_reweighter():
    schedule = planned(world())
    stages = schedule.evidence["stages"]
    online = build_reweighter("regmix_d", {"stages": stages})
    online.init(DOMAINS, np.full(3, 1 / 3), 0)
    assert [one["weights"] for one in stages] == [one.weights for one in schedule.stages]
    for one in stages:  # the best there: a loss of 3 and a score of -3
        assert one["losses"] == {
            "loss": pytest.approx(3.0, abs=0.01),
            "score": pytest.approx(-3.0, abs=0.01),
        }


def test_components_are_orthogonal_and_ascend_in_degree():
    basis = components((0.25, 0.5, 0.75, 1.0))
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(basis[:, 0], 0.5)
    logs = np.log([0.25, 0.5, 0.75, 1.0])
    for degree in range(4):
        np.testing.assert_allclose(basis[:, degree + 1 :].T @ logs**degree, 0, atol=1e-12)
    assert components((1.0,)).tolist() == [[1.0]]


def test_least_squares_pooled_and_separate_are_the_same():
    """Least squares are linear in the values, so that components change nothing of them."""
    given, mixtures = world(), np.random.default_rng(1).dirichlet(np.ones(3), 50)
    stages = [given.at(share) for share in ENDS]
    pooled = pooled_models(given.study, stages, ENDS, fit("linear"))
    separate = separate_models(given.study, stages, fit("linear"))
    for one, other in zip(pooled, separate, strict=True):
        np.testing.assert_allclose(one.losses(mixtures[0]), other.losses(mixtures[0]), rtol=1e-9)
        np.testing.assert_allclose(
            one.model.objective_mean(mixtures), other.model.objective_mean(mixtures), rtol=1e-9
        )
        assert one.names == other.names == ("loss", "score")


def test_what_stages_share_of_simulated_mixtures_is_what_each_would_predict():
    given, rng = world(), np.random.default_rng(2)
    stages = [given.at(share) for share in ENDS]
    models = pooled_models(given.study, stages, ENDS, fit("linear"))
    for mixtures in (rng.dirichlet(np.ones(3), 1500), rng.dirichlet(np.ones(3), 1500)):
        for one in models:
            parts = (mixtures[:700], mixtures[700:])
            few = np.concatenate([one.model.objective_mean(part) for part in parts])
            np.testing.assert_allclose(one.model.objective_mean(mixtures), few, rtol=1e-12)


def test_pooled_fits_of_noisy_curves_are_nearer_to_the_truth_than_separate_ones():
    errors, checked = [], np.random.default_rng(9).dirichlet(np.ones(3), 200)
    for seed in range(4):
        given, rng = world(40, seed), np.random.default_rng(seed)
        stages = [given.at(share) for share in ENDS]
        for runs in stages:
            runs.values[:] += 0.03 * rng.normal(size=runs.values.shape)
        models = (
            pooled_models(given.study, stages, ENDS, fit("gp")),
            separate_models(given.study, stages, fit("gp")),
        )
        truth = [3 + ((checked - best_at(1000 * share)) ** 2).sum(axis=1) for share in ENDS]
        errors.append(
            [
                [
                    np.square(one.model.objective_mean(checked) - true).mean()
                    for one, true in zip(kind, truth, strict=True)
                ]
                for kind in models
            ]
        )
    pooled, separate = np.mean(errors, axis=(0, 2))
    assert pooled < separate


@pytest.mark.parametrize("fits", ["pooled", "separate"])
def test_runs_without_points_on_both_sides_are_left_out_and_told(fits):
    given = world(12)
    curve = given.curves["run3"]
    given.curves["run3"] = LossCurve(curve.tokens[-5:], curve.metrics[-5:])
    del given.curves["run7"]
    assert [len(given.at(share).ids) for share in ENDS] == [10, 11, 12]
    assert given.at(1.0) is given.runs
    stages = RegmixD(ends=ENDS, fits=fits).runs(given)
    assert [len(one.ids) for one in stages] == ([10] * 3 if fits == "pooled" else [10, 11, 12])
    warnings = planned(given, fits=fits, surrogate="linear").warnings
    if fits == "pooled":
        assert any("2 of 12 runs" in one and "0.25, 0.5, 1 of" in one for one in warnings)
    else:
        assert any("1 of 12 runs" in one and "out at 0.5 of" in one for one in warnings)


def test_runs_at_all_stages_keep_their_values():
    given = world(6)
    del given.curves["run2"]
    first, last = in_all([given.at(0.5), given.at(1.0)])
    assert first.ids == last.ids == ("run0", "run1", "run3", "run4", "run5")
    np.testing.assert_array_equal(last.values, given.runs.values[[0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(first.values[2], given.curves["run3"].at(500.0))


def test_a_curve_is_read_linearly_in_the_logarithm_of_tokens():
    curve = LossCurve(np.array([10.0, 1000.0]), np.array([[3.0], [1.0]]))
    assert curve.at(100)[0] == pytest.approx(2.0)
    assert curve.at(10)[0] == 3.0
    assert curve.at(9) is None
    assert curve.at(1001) is None


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.2, 1.0), (0.5, 0.5, 1.0)])
def test_stages_must_ascend_to_the_end(shares):
    with pytest.raises(InvalidInputError, match="ascend"):
        planned(world(5), ends=list(shares))
