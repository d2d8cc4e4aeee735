import dataclasses
import json

import numpy as np
import pytest

from mixwright.errors import InvalidInputError, NotEnoughRunsError
from mixwright.fitting import fit_study, runs_digest
from mixwright.study import CompletedRuns, Direction, Domain, Fidelity, Metric, Study

WORTH = np.array([1.0, 0.4, 0.1])


def make_study(**changes):
    study = Study(
        domains=tuple(Domain(name, None, 1 / 3) for name in ("web", "code", "math")),
        metrics=(Metric("loss"), Metric("accuracy", Direction.MAXIMIZE), Metric("spare")),
        objective=np.array([1.0, 0.5, 0.0]),
        fidelities=(Fidelity("1m"), Fidelity("60m"), Fidelity("1b")),
        target_fidelity="1b",
    )
    return dataclasses.replace(study, **changes)


def make_runs(count=60, fidelity="1m", seed=0, noise=0.02):
    """Runs whose accuracy rises as their loss falls, on a curve no linear law follows."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(3), count)
    loss = 1 + (mixtures @ WORTH) ** -0.4
    values = np.column_stack([loss, 2 - loss / 2, mixtures[:, 0]])
    return CompletedRuns(
        mixtures,
        values + rng.normal(0, noise, values.shape),
        np.full(count, fidelity),
        tuple(f"{fidelity}-{i:04d}" for i in range(count)),
    )


def join(*parts):
    return CompletedRuns(
        np.vstack([part.mixtures for part in parts]),
        np.vstack([part.values for part in parts]),
        np.concatenate([part.fidelity for part in parts]),
        sum((part.ids for part in parts), ()),
    )


def take(runs, rows):
    return CompletedRuns(
        runs.mixtures[rows], runs.values[rows], runs.fidelity[rows],
        tuple(runs.ids[row] for row in rows),
    )  # fmt: skip


def with_values(runs, metric, value):
    values = runs.values.copy()
    values[:, metric] = value
    return dataclasses.replace(runs, values=values)


def fit(study, runs, surrogate="share_power", **more):
    return fit_study(study, runs, surrogate=surrogate, **more)


class TestCalibration:
    def test_out_of_fold_coverage_is_near_what_is_promised(self):
        _, report = fit(make_study(), make_runs(400))
        scores = [report.objective, *report.metrics.values()]
        np.testing.assert_allclose([score.coverage for score in scores], 0.9, atol=0.03)

    def test_intervals_cover_fresh_runs_even_where_the_law_is_wrong(self):
        model, _ = fit(make_study(), make_runs(1000), surrogate="linear")
        fresh = make_runs(4000, seed=1)
        predicted = model.predict(fresh.mixtures)
        inside = (predicted.lower <= fresh.values) & (fresh.values <= predicted.upper)
        np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.04)

    def test_the_objective_has_its_own_intervals(self):
        """Loss and accuracy share their noise here, so their errors do not cancel."""
        runs = make_runs(300, noise=0.0)
        shared = np.random.default_rng(5).normal(0, 0.05, 300)
        values = runs.values.copy()
        values[:, 0] += shared
        values[:, 1] -= shared
        study = make_study(objective=np.array([0.5, 0.5, 0.0]))
        model, report = fit(study, dataclasses.replace(runs, values=values))
        assert report.objective.coverage == pytest.approx(0.9, abs=0.03)
        assert model.objective_multiplier > 1.2 * model.multipliers[:2].mean()


class TestOrientation:
    def test_a_maximised_metric_is_predicted_as_measured(self):
        runs = make_runs(200)
        model, report = fit(make_study(), runs)
        predicted = model.predict(runs.mixtures)
        np.testing.assert_allclose(predicted.mean, runs.values, atol=0.15)
        assert (predicted.lower <= predicted.mean).all()
        assert (predicted.mean <= predicted.upper).all()
        assert report.metrics["accuracy"].spearman > 0.95

    def test_the_objective_subtracts_what_is_maximised(self):
        runs = make_runs(200)
        model, _ = fit(make_study(), runs)
        expected = model.predict(runs.mixtures).mean @ [1.0, -0.5, 0.0]
        np.testing.assert_allclose(
            expected, model.predict_objective(runs.mixtures).mean, rtol=0, atol=1e-12
        )
        np.testing.assert_allclose(expected, model.objective_mean(runs.mixtures), atol=1e-12)

    def test_observed_values_in_the_report_are_as_measured(self):
        runs = make_runs(50)
        _, report = fit(make_study(), runs)
        places = [runs.ids.index(run_id) for run_id in report.out_of_fold.run_ids]
        for column, name in enumerate(("loss", "accuracy", "spare")):
            np.testing.assert_array_equal(
                runs.values[places, column], report.out_of_fold.metrics[name].observed
            )


class TestFidelity:
    def test_the_one_with_most_runs_is_fitted_and_said_to_be(self):
        runs = join(make_runs(30, "1m"), make_runs(40, "60m"))
        _, report = fit(make_study(), runs)
        assert report.fidelity == "60m"
        assert any("'60m'" in warning for warning in report.warnings)
        assert (report.runs_used, report.runs_available) == (40, 70)

    def test_of_equally_many_the_one_nearer_the_target_is_fitted(self):
        runs = join(make_runs(30, "1m"), make_runs(30, "60m"))
        assert fit(make_study(), runs)[1].fidelity == "60m"
        assert fit(make_study(target_fidelity="1m"), runs)[1].fidelity == "1m"

    def test_the_others_show_how_well_it_transfers(self):
        runs = join(make_runs(60, "1m"), make_runs(20, "1b", seed=1), make_runs(2, "60m"))
        _, report = fit(make_study(), runs)
        assert set(report.transfer) == {"1b", "60m"}
        assert report.transfer["1b"].metrics["loss"].spearman > 0.9
        assert report.transfer["1b"].runs == 20
        assert report.to_json()["transfer"]["60m"]["objective"]["spearman"] is None

    def test_an_unknown_one_is_refused_with_those_known(self):
        with pytest.raises(InvalidInputError, match="'7b'; known: 1m, 60m, 1b") as caught:
            fit(make_study(), make_runs(), fidelity="7b")
        assert caught.value.field == "fidelity"

    def test_auto_sets_weight_aside_for_the_stiff_law_only_for_another_fidelity(self):
        runs = make_runs(24)
        away, _ = fit(make_study(), runs, surrogate="auto")
        here, _ = fit(make_study(target_fidelity="1m"), runs, surrogate="auto")
        asked = {"stiff_share": 0.25}
        told, _ = fit(make_study(target_fidelity="1m"), runs, surrogate="auto", options=asked)
        shares = [model.fitted.stiff_share for model in (away, here, told)]
        assert shares == [0.5, 0.0, 0.25]


class TestRefusals:
    def test_too_few_runs_says_how_many_are_needed(self):
        with pytest.raises(NotEnoughRunsError, match=r"'linear' needs 4 .*'1m' has 3; report 1 m"):
            fit(make_study(), make_runs(3), surrogate="linear")

    def test_no_run_at_the_fidelity(self):
        with pytest.raises(NotEnoughRunsError, match="'1b' has 0"):
            fit(make_study(), make_runs(50), fidelity="1b")

    def test_a_constant_metric_of_the_objective(self):
        runs = with_values(make_runs(), 0, 3.5)
        with pytest.raises(InvalidInputError, match=r"'loss' is 3\.5 in every run") as caught:
            fit(make_study(), runs)
        assert caught.value.field == "metrics/loss"

    def test_a_missing_metric_of_the_objective(self):
        runs = with_values(make_runs(), 1, np.nan)
        with pytest.raises(InvalidInputError, match="'accuracy' is missing in every run"):
            fit(make_study(), runs)

    def test_a_metric_of_the_objective_with_few_values(self):
        runs = make_runs()
        values = runs.values.copy()
        values[3:, 1] = np.nan
        with pytest.raises(NotEnoughRunsError, match="'accuracy' has 3 values"):
            fit(make_study(), dataclasses.replace(runs, values=values))

    def test_metrics_that_no_run_has_together(self):
        runs = make_runs()
        values = runs.values.copy()
        values[:30, 0], values[30:, 1] = np.nan, np.nan
        with pytest.raises(NotEnoughRunsError, match="every metric of the objective"):
            fit(make_study(), dataclasses.replace(runs, values=values))

    def test_an_unknown_surrogate_is_refused_with_those_known(self):
        with pytest.raises(InvalidInputError, match=r"no surrogate 'magic'; known: .*share_power"):
            fit(make_study(), make_runs(), surrogate="magic")


@pytest.mark.parametrize("value", [2.5, np.nan])
def test_a_useless_metric_outside_the_objective_is_left_out_with_a_warning(value):
    runs = with_values(make_runs(), 2, value)
    model, report = fit(make_study(), runs)
    assert set(report.metrics) == {"loss", "accuracy"}
    assert any("'spare'" in warning for warning in report.warnings)
    assert np.isnan(model.predict(runs.mixtures).mean[:, 2]).all()
    assert np.isfinite(model.predict_objective(runs.mixtures).mean).all()


def test_runs_without_some_metric_still_serve_the_others():
    runs = make_runs(60)
    values = runs.values.copy()
    values[:20, 1] = np.nan
    _, report = fit(make_study(), dataclasses.replace(runs, values=values))
    assert report.metrics["loss"].runs == 60
    assert report.metrics["accuracy"].runs == report.objective.runs == 40
    observed = report.to_json()["out_of_fold"]["metrics"]["accuracy"]["observed"]
    assert observed.count(None) == 20


def test_the_report_is_json_without_nan():
    runs = join(make_runs(30), make_runs(1, "1b"))
    _, report = fit(make_study(), with_values(runs, 2, np.nan))
    text = json.dumps(report.to_json(), allow_nan=False)
    assert json.loads(text)["transfer"]["1b"]["metrics"]["loss"]["r2"] is None


@pytest.mark.parametrize("surrogate", ["share_power", "auto"])
def test_the_order_of_runs_changes_no_bit(surrogate):
    runs = make_runs(30)
    shuffled = take(runs, np.random.default_rng(1).permutation(30))
    first, second = (fit(make_study(), some, surrogate=surrogate) for some in (runs, shuffled))
    assert first[0].to_bytes() == second[0].to_bytes()
    assert first[1].to_json() == second[1].to_json()


def test_progress_rises_to_one():
    seen = []
    fit(make_study(), make_runs(), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


class TestDigest:
    def test_does_not_depend_on_the_order_of_runs(self):
        runs = make_runs()
        assert runs_digest(make_study(), runs) == runs_digest(
            make_study(), take(runs, np.arange(60)[::-1])
        )

    @pytest.mark.parametrize("change", ["value", "missing", "mixture", "fidelity", "id"])
    def test_depends_on_everything_a_run_says(self, change):
        runs = make_runs()
        mixtures, values = runs.mixtures.copy(), runs.values.copy()
        fidelity, ids = runs.fidelity.copy(), list(runs.ids)
        if change == "value":
            values[3, 1] = np.nextafter(values[3, 1], 9)
        elif change == "missing":
            values[3, 1] = np.nan
        elif change == "mixture":
            mixtures[3] = mixtures[3][::-1]
        elif change == "fidelity":
            fidelity[3] = "1b"
        else:
            ids[3] = "other"
        changed = CompletedRuns(mixtures, values, fidelity, tuple(ids))
        assert runs_digest(make_study(), runs) != runs_digest(make_study(), changed)

    def test_depends_on_the_names_of_metrics(self):
        renamed = make_study(metrics=(Metric("a"), Metric("b"), Metric("c")))
        assert runs_digest(make_study(), make_runs()) != runs_digest(renamed, make_runs())


@pytest.mark.parametrize("surrogate", ["auto", "linear"])
def test_progress_is_told_step_by_step(surrogate):
    told = []
    fit_study(make_study(), make_runs(), surrogate=surrogate, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert max(np.diff([0.0, *told])) < 0.25
