from dataclasses import replace

import numpy as np
import pytest

from mixwright.bayesopt.fidelities import OneFactor, OverScale
from mixwright.bayesopt.model import condition, fit
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.robust import fit_robustly, impossible, without

NEW = np.random.default_rng(99).dirichlet(np.ones(4), 50)
AT_TARGET = np.ones(50, dtype=int)


def make_runs(seed=0, count=60, fidelities=2, noise=0.02):
    """A smooth world: losses of 3 with a spread of .1, a fiftieth of which is noise."""
    rng = np.random.default_rng(seed)
    mixtures, fidelity = rng.dirichlet(np.ones(4), count), np.arange(count) % fidelities
    surface = np.sqrt(mixtures) @ rng.normal(size=4)
    values = surface / surface.std() + noise * rng.normal(size=count)
    return Observations.of(mixtures, fidelity, 3.0 + 0.1 * values + 0.2 * fidelity)


def spoilt(runs, changes):
    values = runs.values.copy()
    for row, value in changes.items():
        values[row] = value
    return replace(runs, values=values)


def rows_of(outliers):
    return {one.row for one in outliers}


@pytest.mark.parametrize("value", [1e6, -1e6, 1e15, 10.0, 0.0])
@pytest.mark.parametrize("structure", [OneFactor(2, 1), OverScale(np.array([[-1, 0], [0, 0]]), 1)])
def test_a_corrupt_cell_is_found_and_bends_nothing(structure, value):
    clean = make_runs()
    corrupt = spoilt(clean, {7: value})
    posterior, outliers = fit_robustly(corrupt, structure)
    assert rows_of(outliers) == {7}
    assert outliers[0].value == value
    assert outliers[0].expected == pytest.approx(clean.values[7], abs=0.02)
    expected = fit(clean.take(np.delete(np.arange(60), 7)), structure)
    np.testing.assert_allclose(
        posterior.mean(NEW, AT_TARGET), expected.mean(NEW, AT_TARGET), atol=0.005
    )
    np.testing.assert_allclose(
        posterior.variance(NEW, AT_TARGET), expected.variance(NEW, AT_TARGET), rtol=0.3
    )


def test_a_corrupt_cell_is_found_with_hyperparameters_that_are_given():
    clean = make_runs()
    hyper = fit(clean, OneFactor(2, 1)).hyperparameters
    posterior, outliers = fit_robustly(spoilt(clean, {8: 1e6}), OneFactor(2, 1), hyper)
    assert rows_of(outliers) == {8}
    assert posterior.hyperparameters is hyper
    expected = condition(clean, OneFactor(2, 1), hyper).mean(NEW, AT_TARGET)
    np.testing.assert_allclose(posterior.mean(NEW, AT_TARGET), expected, atol=0.005)


@pytest.mark.parametrize("fidelities", [1, 2])
def test_a_flipped_sign_and_a_swap_in_a_smooth_world_are_found(fidelities):
    structure = OneFactor(fidelities, fidelities - 1)
    flips = swaps = 0
    for seed in range(6):
        clean = make_runs(seed, count=50 * fidelities, fidelities=fidelities)
        here = np.flatnonzero(clean.fidelity == 0)
        best, worst = here[clean.values[here].argmin()], here[clean.values[here].argmax()]
        flipped = spoilt(clean, {best: 6.0 - clean.values[best]})  # about 3, the mean
        flips += rows_of(fit_robustly(flipped, structure)[1]) == {best}
        swapped = spoilt(clean, {best: clean.values[worst], worst: clean.values[best]})
        swaps += rows_of(fit_robustly(swapped, structure)[1]) == {best, worst}
    assert flips >= 4
    assert swaps >= 4


def test_clean_worlds_have_as_good_as_no_outliers():
    with_some = 0
    for seed in range(20):
        noise = (0.0, 0.02, 0.3, 1.0)[seed % 4]
        fidelities = 1 + seed % 3
        clean = make_runs(seed, count=40, fidelities=fidelities, noise=noise)
        with_some += len(fit_robustly(clean, OneFactor(fidelities, 0))[1]) > 0
    assert with_some <= 1


def test_few_runs_of_a_fidelity_have_no_outliers():
    runs = make_runs(count=60)
    rows = np.concatenate([np.flatnonzero(runs.fidelity == 0), [1, 3, 5, 7, 9, 11, 13]])
    seven = spoilt(runs.take(rows), {30: 9.0})
    assert fit_robustly(seven, OneFactor(2, 1))[1] == ()
    more = runs.take(np.append(rows, 15))
    assert rows_of(fit_robustly(spoilt(more, {30: 9.0}), OneFactor(2, 1))[1]) == {30}


@pytest.mark.parametrize(("wrong", "found"), [(3, True), (5, False)])
def test_where_more_than_a_tenth_of_a_fidelity_is_off_none_is_an_outlier(wrong, found):
    clean = make_runs(count=60)
    rows = 2 * np.arange(wrong) + 4  # of 30 runs of the first fidelity
    posterior, outliers = fit_robustly(
        spoilt(clean, {row: 9.0 + row for row in rows}), OneFactor(2, 1)
    )
    assert rows_of(outliers) == (set(rows.tolist()) if found else set())
    assert np.isfinite(posterior.mean(NEW, AT_TARGET)).all()


def test_cells_out_of_this_world_stay_out_when_too_many_others_are_off():
    clean = make_runs(count=60)
    hyper = fit(clean, OneFactor(2, 1)).hyperparameters
    doubtful = {row: clean.values[row] + 0.8 for row in (10, 20, 30, 40)}  # of 30 runs
    found = fit_robustly(spoilt(clean, doubtful), OneFactor(2, 1), hyper)[1]
    assert found == ()
    posterior, outliers = fit_robustly(spoilt(clean, {4: 1e9, **doubtful}), OneFactor(2, 1), hyper)
    assert rows_of(outliers) == {4}
    np.testing.assert_allclose(posterior.mean(NEW, AT_TARGET), 3.2, atol=2.0)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_what_is_far_from_the_rest_but_expected_is_no_outlier(seed):
    """A steep world: the last runs are impossible until the others are seen to lead there."""
    mixtures = np.random.default_rng(seed).dirichlet(np.ones(3), 60)
    values = np.exp(6 * mixtures[:, 0])
    runs = Observations.of(mixtures, np.zeros(60, dtype=int), values)
    assert impossible(runs).any()
    assert fit_robustly(runs, OneFactor(1, 0))[1] == ()


def test_an_outlier_in_one_metric_says_nothing_of_the_rest_of_its_loss_curve():
    """The points of a run keep their noise in common; a corrupt one has none with them."""
    ends = make_runs(count=30, fidelities=1)
    halfway = replace(ends, fidelity=ends.fidelity + 1, values=ends.values + 0.3)
    curves = Observations(
        np.vstack([ends.mixtures] * 2),
        np.concatenate([ends.fidelity, halfway.fidelity]),
        np.concatenate([ends.values, halfway.values]),
        np.ones(60),
        np.concatenate([ends.run, ends.run]),
    )
    structure = OverScale(np.array([[0.0, 0.0], [0.0, -0.3]]), 0)
    posterior, outliers = fit_robustly(spoilt(curves, {3: 1e6}), structure)
    assert rows_of(outliers) == {3}
    at = np.zeros(50, dtype=int)
    expected = fit(curves, structure).mean(NEW, at)
    np.testing.assert_allclose(posterior.mean(NEW, at), expected, atol=0.01)


def test_what_has_no_weight_says_what_is_usual():
    runs = spoilt(make_runs(count=40), {4: 1e9, 5: np.nan})
    flagged = np.isin(np.arange(40), [4, 5])
    kept = without(runs, flagged)
    usual = [np.median(runs.values[(runs.fidelity == f) & ~flagged]) for f in (0, 1)]
    np.testing.assert_array_equal(kept.values[[4, 5]], usual)
    assert (kept.noisiness[flagged] >= 1e6).all()
    np.testing.assert_array_equal(kept.values[~flagged], runs.values[~flagged])
    np.testing.assert_array_equal(kept.noisiness[~flagged], 1.0)
    assert len(set(kept.run)) == 40
    assert len(set(without(replace(runs, run=runs.run // 20), flagged).run)) == 4
    assert without(runs, np.zeros(40, dtype=bool)) is runs


def test_only_what_is_far_from_everything_is_impossible():
    runs = spoilt(make_runs(count=40), {4: 3.0 + 5.0, 6: 3.0 + 0.5})
    assert np.flatnonzero(impossible(runs)).tolist() == [4]
    equal = replace(runs, values=np.full(40, 2.0))
    assert not impossible(equal).any()
