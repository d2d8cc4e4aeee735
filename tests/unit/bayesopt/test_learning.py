from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.bayesopt import learning
from mixwright.bayesopt.fidelities import OneFactor, OverScale
from mixwright.bayesopt.learning import learn
from mixwright.bayesopt.observations import Observations, with_noise_of_replicates
from mixwright.errors import InvalidInputError

TWO = OneFactor(2, 1)


def make_runs(count=40, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    mixtures, fidelity = rng.dirichlet(np.ones(3), count), np.arange(count) % 4 // 3
    values = np.sqrt(mixtures) @ [1.0, 0.2, 0.6] + fidelity + noise * rng.normal(size=count)
    return Observations.of(mixtures, fidelity, values)


def first(runs, count):
    return runs.take(np.arange(count))


def fields(hyper):
    return [hyper.centre, hyper.lengths, hyper.linear, hyper.signal, hyper.noises, hyper.common]


def assert_equal_hyperparameters(one, other):
    for left, right in zip(fields(one), fields(other), strict=True):
        np.testing.assert_array_equal(left, right)


@given(st.integers(1, 20_000))
def test_searches_are_made_on_no_more_runs_than_there_are_and_few_less(count):
    at = learning._searched_at(count)
    assert at <= count
    assert count < at * 1.15 + 1
    assert learning._searched_at(count + 1) >= at
    assert learning._searched_at(at) == at


def test_searches_are_made_when_runs_have_grown_by_a_seventh():
    searched = [learning._searched_at(count) for count in range(1, 25)]
    assert searched[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(set(searched[8:])) == [8, 10, 12, 14, 17, 20, 23]
    assert len({learning._searched_at(count) for count in range(1, 2_001)}) < 50


def test_hyperparameters_follow_from_the_first_runs_alone():
    runs = make_runs(22)
    found = learn(first(runs, 20), TWO).posterior.hyperparameters
    later = runs.mixtures.copy()
    later[20:] = runs.mixtures[:2]  # replicates of the first two
    values = runs.values.copy()
    values[20:] = [7.0, -3.0]
    for others in (runs, replace(runs, mixtures=later), replace(runs, values=values)):
        for count in (21, 22):
            again = learn(first(others, count), TWO).posterior
            assert_equal_hyperparameters(again.hyperparameters, found)
            assert len(again.ran) == count
    more = learn(make_runs(23), TWO).posterior.hyperparameters
    assert (more.lengths != found.lengths).any()


def test_what_was_asked_before_changes_nothing():
    runs = make_runs(30)
    learning._search.cache_clear()
    one = learn(runs, TWO).posterior
    learning._search.cache_clear()
    for count in (3, 12, 25, 30):
        other = learn(first(runs, count), TWO).posterior
    assert_equal_hyperparameters(one.hyperparameters, other.hyperparameters)
    np.testing.assert_array_equal(one.whitened, other.whitened)
    np.testing.assert_array_equal(one.factor, other.factor)


def test_between_two_searches_nothing_is_searched():
    runs = make_runs(22)
    learning._search.cache_clear()
    for count in (20, 21, 22, 22):
        learn(first(runs, count), TWO)
    assert learning._search.cache_info().misses == 1
    learn(replace(first(runs, 22), values=runs.values + 1e-9), TWO)
    assert learning._search.cache_info().misses == 2
    learn(first(runs, 22), OverScale(np.array([[-1.0, 0.0], [0.0, 0.0]]), 1))
    assert learning._search.cache_info().misses == 3
    learn(first(runs, 22), OneFactor(2, 0))
    assert learning._search.cache_info().misses == 4
    together = replace(first(runs, 22), run=np.arange(22) // 2)
    learn(together, TWO)
    assert learning._search.cache_info().misses == 5


def test_replicates_show_how_noisy_their_mixture_is():
    rng = np.random.default_rng(0)
    base = make_runs(12)
    mixtures = np.vstack([base.mixtures, np.repeat(base.mixtures[[0, 4]], 8, axis=0)])
    fidelity = np.concatenate([base.fidelity, np.repeat(base.fidelity[[0, 4]], 8)])
    values = np.concatenate([base.values, np.repeat(base.values[[0, 4]], 8)])
    values[12:20] += 0.3 * rng.normal(size=8)
    values[20:] += 0.01 * rng.normal(size=8)
    runs = Observations.of(mixtures, fidelity, values)
    posterior = learn(runs, TWO).posterior
    noisiness = posterior.observations.noisiness
    np.testing.assert_array_equal(noisiness, with_noise_of_replicates(runs).noisiness)
    assert noisiness[12] > 1.2
    assert noisiness[20] < 0.6
    assert noisiness[1] == 1.0
    plain = learn(first(runs, 12), TWO).posterior
    assert len(plain.ran) == 12


def test_outliers_are_left_out_whenever_they_came():
    runs = make_runs(40)
    for row in (4, 38):  # before and after the last search, at 36
        values = runs.values.copy()
        values[row] = 1e6
        learned = learn(replace(runs, values=values), TWO)
        assert [one.row for one in learned.outliers] == [row]
        found = learned.posterior.mean(runs.mixtures, runs.fidelity)
        np.testing.assert_allclose(found, runs.values, atol=0.2)
    assert learn(runs, TWO).outliers == ()


def test_more_runs_than_an_exact_posterior_takes_are_approximated(monkeypatch):
    runs = make_runs(60)
    values = runs.values.copy()
    values[5] = 1e6
    runs = replace(runs, values=values)
    exact = learn(runs, TWO)
    monkeypatch.setattr(learning, "LARGEST_EXACT", 50)
    learned = learn(runs, TWO)
    assert_equal_hyperparameters(learned.posterior.hyperparameters, exact.posterior.hyperparameters)
    np.testing.assert_allclose(
        learned.posterior.mean(runs.mixtures, runs.fidelity),
        exact.posterior.of_law().mean(runs.mixtures, runs.fidelity),
        atol=0.01,
    )
    assert len(learned.posterior.ran) == 60
    assert (np.diff(learned.posterior.observations.run) < 0).any()  # those that tell most first
    assert [one.row for one in learned.outliers] == [5]
    assert learned.outliers[0].value == 1e6
    assert learned.outliers[0].expected == pytest.approx(exact.outliers[0].expected, abs=0.05)


def test_a_search_sees_the_targets_runs_and_a_fair_draw_of_the_others(monkeypatch):
    monkeypatch.setattr(learning, "_LARGEST_SEARCH", 100)
    runs = make_runs(1)
    fidelity = np.repeat([0, 1, 2], [150, 150, 20])  # in the order in which they came
    many = Observations.of(np.repeat(runs.mixtures, 320, axis=0), fidelity, np.zeros(320))
    rows = learning._drawn(many, 2)
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(fidelity[rows])
    assert counts[2] == 20
    assert 25 <= counts[0] <= 55
    np.testing.assert_array_equal(learning._drawn(many, 2), rows)
    mostly = np.bincount(fidelity[learning._drawn(many, 1)])
    assert mostly[1] >= 50  # half of a search is the target's
    assert mostly[0] > 15
    few = learning._drawn(first(many, 100), 2)
    np.testing.assert_array_equal(few, np.arange(100))


def test_no_runs_are_refused_and_one_is_enough():
    runs = make_runs(1)
    assert np.isfinite(learn(runs, TWO).posterior.mean(runs.mixtures, runs.fidelity)).all()
    with pytest.raises(InvalidInputError, match="no runs"):
        learn(first(runs, 0), TWO)
