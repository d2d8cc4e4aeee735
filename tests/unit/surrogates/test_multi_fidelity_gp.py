import dataclasses

import numpy as np
import pytest

from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.model import condition
from mixwright.bayesopt.observations import Observations, with_noise_of_replicates
from mixwright.fitting import fit_study
from mixwright.study import CompletedRuns, Direction, Domain, Fidelity, Metric, Study
from mixwright.surrogates import build_surrogate
from mixwright.surrogates.base import OtherRuns, UsesOtherFidelities
from mixwright.surrogates.cross_validation import assign_folds, cross_fit
from mixwright.surrogates.fidelity_posterior import FittedMultiFidelityGP, shifted

WORTH = np.array([1.0, 0.4, 0.1])
RECIPE = build_surrogate("multi_fidelity_gp", {})


def law(mixtures):
    return 1 + (mixtures @ WORTH) ** -0.4


def cheap_law(mixtures):
    """Related to the law, on another level and scale."""
    return 4 + 1.5 * law(mixtures) + 0.1 * np.sin(4 * mixtures[:, 2])


def measure(count, of=law, seed=0, noise=0.01):
    """Mixtures (n, 3), and what `of` gives with noise (n, 1)."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(3), count)
    return mixtures, of(mixtures)[:, None] + rng.normal(0, noise, (count, 1))


def cheap(count=60, seed=100, **more):
    mixtures, values = measure(count, cheap_law, seed, **more)
    return OtherRuns(mixtures, values, np.zeros(count, dtype=int))


def error(fitted):
    fresh = np.random.default_rng(9).dirichlet(np.ones(3), 300)
    return float(np.sqrt(np.mean((fitted.predict_mean(fresh)[:, 0] - law(fresh)) ** 2)))


def make_study(**changes):
    study = Study(
        domains=tuple(Domain(name, None, 1 / 3) for name in ("web", "code", "math")),
        metrics=(Metric("loss"), Metric("accuracy", Direction.MAXIMIZE)),
        objective=np.array([1.0, 0.5]),
        fidelities=(Fidelity("1m"), Fidelity("60m"), Fidelity("1b")),
        target_fidelity="1b",
    )
    return dataclasses.replace(study, **changes)


def make_runs(**counts):
    """Runs of fidelities "1m" and "60m", of the cheap law, and "1b"."""
    parts = []
    for seed, (name, count) in enumerate(counts.items()):
        mixtures, loss = measure(count, law if name == "_1b" else cheap_law, seed)
        values = np.hstack([loss, 2 - loss / 4])
        ids = [f"{name}-{index:03d}" for index in range(count)]
        parts.append((mixtures, values, np.full(count, name[1:]), np.array(ids)))
    mixtures, values, fidelity, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
    return CompletedRuns(mixtures, values, fidelity, tuple(ids))


def fit(study, runs, **more):
    return fit_study(study, runs, surrogate="multi_fidelity_gp", **more)


class TestPosterior:
    def test_is_that_of_bayesian_optimisation(self):
        others = cheap(20)
        mixtures, values = measure(10)
        fitted = RECIPE.beside(others).fit(mixtures, values, 0)
        runs = Observations.of(
            shifted(np.vstack([mixtures, others.mixtures])),
            np.repeat([0, 1], [10, 20]),
            np.concatenate([values[:, 0], others.values[:, 0]]),
        )
        posterior = condition(runs, OneFactor(2, 0), fitted.kernels[0])
        query, here = np.random.default_rng(1).dirichlet(np.ones(3), 6), np.zeros(6, dtype=int)
        expected = posterior.variance(shifted(query), here) + posterior.noise(here)
        found = fitted.predict(query)
        np.testing.assert_allclose(posterior.mean(shifted(query), here), found.mean[:, 0])
        np.testing.assert_allclose(np.sqrt(expected), found.std[:, 0], rtol=1e-6)

    def test_is_that_of_bayesian_optimisation_with_replicates(self):
        """What replicates share is their mixture's own, and says nothing of the law."""
        rng = np.random.default_rng(3)
        mixtures, values = measure(12)
        mixtures, values = np.repeat(mixtures, 3, axis=0), np.repeat(values, 3, axis=0)
        values = values + np.repeat(0.1 * rng.normal(size=(12, 1)), 3, axis=0)
        values += 0.01 * rng.normal(size=values.shape)
        fitted = RECIPE.fit(mixtures, values, 0)
        assert fitted.kernels[0].roughness > 0.55
        here = np.zeros(36, dtype=int)
        runs = with_noise_of_replicates(Observations.of(shifted(mixtures), here, values[:, 0]))
        posterior = condition(runs, OneFactor(1, 0), fitted.kernels[0])
        query, at = rng.dirichlet(np.ones(3), 6), np.zeros(6, dtype=int)
        again = type(fitted).from_state(fitted.to_state()).predict(query)
        expected = np.sqrt(posterior.variance(shifted(query), at) + posterior.noise(at))
        for found in (fitted.predict(query), again):
            np.testing.assert_allclose(posterior.mean(shifted(query), at), found.mean[:, 0])
            np.testing.assert_allclose(expected, found.std[:, 0], rtol=1e-6)

    def test_few_runs_beside_many_cheap_ones_beat_a_process_of_their_own(self):
        ratios = []
        for seed in range(6):
            runs, others = measure(8, seed=seed), cheap(seed=100 + seed)
            together = error(RECIPE.beside(others).fit(*runs, 0))
            ratios.append(together / error(build_surrogate("gp", {}).fit(*runs, 0)))
        assert np.exp(np.mean(np.log(ratios))) < 0.6

    def test_cheap_runs_that_say_nothing_do_little_harm(self):
        ratios = []
        for seed in range(6):
            runs, others = measure(20, seed=seed), cheap(seed=100 + seed)
            noise = np.random.default_rng(seed).normal(size=others.values.shape)
            misled = RECIPE.beside(dataclasses.replace(others, values=noise)).fit(*runs, 0)
            ratios.append(error(misled) / error(RECIPE.fit(*runs, 0)))
        assert np.exp(np.mean(np.log(ratios))) < 1.25

    @pytest.mark.parametrize("scale", [1e-3, 1e3])
    def test_other_fidelities_may_be_measured_in_any_unit(self, scale):
        others, runs = cheap(), measure(6)
        plain = RECIPE.beside(others).fit(*runs, 0)
        moved = dataclasses.replace(others, values=7 + scale * others.values)
        assert error(RECIPE.beside(moved).fit(*runs, 0)) < 1.5 * error(plain)

    @pytest.mark.parametrize("where", ["fitted", "cheap"])
    def test_one_corrupt_run_does_not_bend_it(self, where):
        (mixtures, values), others = measure(20), cheap()
        clean = RECIPE.beside(others).fit(mixtures, values, 0)
        (values if where == "fitted" else others.values)[3] += 50.0
        corrupt = RECIPE.beside(others).fit(mixtures, values, 0)
        assert error(corrupt) < 1.3 * error(clean)

    def test_gradients_are_finite_and_right_where_a_share_is_zero(self):
        fitted = RECIPE.beside(cheap()).fit(*measure(10), 0)
        corner, step = np.array([[0.0, 0.4, 0.6]]), 1e-7
        ahead = [fitted.predict_mean(corner + shift)[0, 0] for shift in step * np.eye(3)]
        slopes = (np.array(ahead) - fitted.predict_mean(corner)[0, 0]) / step
        np.testing.assert_allclose(fitted.gradient(corner)[0, 0], slopes, rtol=5e-3, atol=1e-3)

    def test_the_state_gives_the_same_bits_back(self):
        fitted = RECIPE.beside(cheap()).fit(*measure(10), 0)
        state = fitted.to_state()
        assert {array.dtype for array in state.values()} == {np.dtype(np.float64)}
        query, again = measure(30)[0], FittedMultiFidelityGP.from_state(state)
        np.testing.assert_array_equal(fitted.predict(query).mean, again.predict(query).mean)
        np.testing.assert_array_equal(fitted.predict(query).std, again.predict(query).std)

    def test_a_metric_may_be_missing_anywhere(self):
        (mixtures, values), others = measure(10), cheap()
        values, more = np.tile(values, 3), np.tile(others.values, 3)
        values[::3, 1], more[:, 1], more[::2, 2] = np.nan, np.nan, np.nan
        others = dataclasses.replace(others, values=more)
        fitted = RECIPE.beside(others).fit(mixtures, values, 0)
        assert np.isfinite(fitted.predict(mixtures).mean).all()
        alone = RECIPE.fit(mixtures[np.arange(10) % 3 > 0], values[np.arange(10) % 3 > 0, 1:2], 0)
        np.testing.assert_allclose(
            alone.predict_mean(mixtures)[:, 0], fitted.predict_mean(mixtures)[:, 1], atol=1e-2
        )

    def test_more_runs_than_it_takes_are_drawn_from(self):
        recipe = build_surrogate("multi_fidelity_gp", {"max_runs": 40, "hyperparameter_runs": 16})
        values = measure(30)[1]
        fitted, held_out = cross_fit(
            recipe.beside(cheap()), measure(30)[0], values, assign_folds(values, 0), 0
        )
        assert np.bincount(fitted.fidelity).tolist() == [20, 20]
        assert np.isfinite(held_out.mean).all()


class TestOutOfFold:
    def test_a_run_is_not_seen(self):
        noise = np.random.default_rng(3).normal(size=(60, 1))
        mixtures = measure(60)[0]
        _, held_out = cross_fit(RECIPE, mixtures, noise, assign_folds(noise, 0), 0)
        assert np.corrcoef(held_out.mean[:, 0], noise[:, 0])[0, 1] < 0.3

    def test_the_same_mixture_at_another_fidelity_is(self):
        """Both fidelities share what no neighbouring mixture tells."""
        mixtures, own = measure(40)[0], np.random.default_rng(3).normal(size=(40, 1))
        others = OtherRuns(mixtures, 3 + own, np.zeros(40, dtype=int))
        _, held_out = cross_fit(RECIPE.beside(others), mixtures, own, np.arange(40) % 10, 0)
        assert np.corrcoef(held_out.mean[:, 0], own[:, 0])[0, 1] > 0.6


class TestFitOfAStudy:
    def test_the_target_is_fitted_however_few_runs_it_has(self):
        runs = make_runs(_1m=40, _60m=20, _1b=3)
        model, report = fit(make_study(), runs)
        assert isinstance(RECIPE, UsesOtherFidelities)
        assert (report.fidelity, report.runs_used, report.runs_available) == ("1b", 3, 63)
        assert any("60 runs of other fidelities" in warning for warning in report.warnings)
        assert set(report.transfer) == {"1m", "60m"}
        assert report.transfer["1m"].metrics["loss"].spearman > 0.9
        assert len(model.mixtures) == 63  # interpolation among cheap runs is no extrapolation

    def test_with_too_few_at_the_target_it_does_as_the_others_do(self):
        _, report = fit(make_study(), make_runs(_1m=20, _1b=2))
        assert report.fidelity == "1m"
        assert any("most usable runs (20)" in warning for warning in report.warnings)

    def test_another_fidelity_may_be_asked_for(self):
        runs = make_runs(_1m=20, _1b=10)
        model, report = fit(make_study(), runs, fidelity="1m")
        assert report.fidelity == "1m"
        at = model.predict(runs.mixtures[:20]).mean[:, 0]
        np.testing.assert_allclose(at, cheap_law(runs.mixtures[:20]), atol=0.05)

    def test_runs_of_one_fidelity_are_enough(self):
        model, report = fit(make_study(), make_runs(_1b=30))
        assert report.warnings == ()
        assert report.metrics["loss"].spearman > 0.95
        fresh = measure(100, seed=5)[0]
        np.testing.assert_allclose(model.predict(fresh).mean[:, 0], law(fresh), atol=0.1)

    def test_intervals_cover_fresh_runs(self):
        covered = []
        for seed in range(3):
            runs = make_runs(_1m=60, _1b=25)
            order = np.random.default_rng(seed).permutation(85)[:70]
            some = CompletedRuns(
                runs.mixtures[order],
                runs.values[order],
                runs.fidelity[order],
                tuple(runs.ids[row] for row in order),
            )
            model, _ = fit(make_study(), some, seed=seed)
            mixtures, loss = measure(300, seed=50 + seed)
            predicted = model.predict(mixtures)
            inside = (predicted.lower[:, 0] <= loss[:, 0]) & (loss[:, 0] <= predicted.upper[:, 0])
            covered.append(inside.mean())
        assert 0.8 < np.mean(covered) < 0.99

    def test_the_order_of_runs_changes_no_bit(self):
        runs = make_runs(_1m=20, _60m=10, _1b=8)
        order = np.random.default_rng(1).permutation(38)
        shuffled = CompletedRuns(
            runs.mixtures[order],
            runs.values[order],
            runs.fidelity[order],
            tuple(runs.ids[row] for row in order),
        )
        first, second = fit(make_study(), runs), fit(make_study(), shuffled)
        assert first[0].to_bytes() == second[0].to_bytes()
        assert first[1].to_json() == second[1].to_json()
