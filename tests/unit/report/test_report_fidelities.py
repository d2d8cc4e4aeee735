import numpy as np
import pytest

from app.report.fidelities import MeasuredRuns, measured_runs, pairs, with_runs
from app.report.fidelity_pictures import (
    MOST_POINTS,
    distribution_panel,
    pair_panels,
    transfer_panels,
)
from app.report.runs import succeeded
from app.studies.definition import to_core


def measured(page):
    return measured_runs(to_core(page.study), succeeded(page.runs))


def some(objective, fidelity, mixtures):
    count = len(objective)
    return MeasuredRuns(
        np.array(mixtures), np.array(objective), np.array([fidelity] * count), np.arange(count)
    )


def joined(*parts):
    return MeasuredRuns(
        np.concatenate([p.mixtures for p in parts]),
        np.concatenate([p.objective for p in parts]),
        np.concatenate([p.fidelity for p in parts]),
        np.concatenate([p.label for p in parts]),
    )


MIXTURES = [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]


def test_objectives_follow_the_study(page):
    runs = measured(page)
    expected = [run["metrics"]["loss"] - 0.5 * run["metrics"]["accuracy"] for run in page.runs]
    assert runs.objective == pytest.approx(expected)


def test_runs_without_an_objective_are_left_out(page):
    del page.runs[0]["metrics"]["accuracy"]
    runs = measured(page)
    assert len(runs) == len(page.runs) - 1
    assert 0 not in runs.label


def test_fidelities_without_runs_are_left_out(page):
    page.runs = [run for run in page.runs if run["fidelity"] == "large"]
    assert with_runs(to_core(page.study), measured(page)) == ["large"]


def test_the_same_mixtures_are_matched_across_fidelities():
    runs = joined(some([1.0, 2.0, 3.0], "a", MIXTURES), some([6.0, 5.0, 4.0], "b", MIXTURES[::-1]))
    (pair,) = pairs(["a", "b"], runs)
    assert (pair.first, pair.second) == ("a", "b")
    assert pair.objective_second.tolist() == [4.0, 5.0, 6.0]
    assert pair.spearman == pytest.approx(1.0)


def test_repeated_runs_of_a_mixture_are_averaged():
    repeated = some([1.0, 3.0, 7.0, 8.0], "a", [MIXTURES[0], *MIXTURES])
    (pair,) = pairs(["a", "b"], joined(repeated, some([1.0, 2.0, 3.0], "b", MIXTURES)))
    assert pair.objective_first.tolist() == [2.0, 7.0, 8.0]


def test_too_few_shared_mixtures_are_no_pair():
    runs = joined(some([1.0, 2.0], "a", MIXTURES[:2]), some([1.0, 2.0], "b", MIXTURES[:2]))
    assert pairs(["a", "b"], runs) == []


def test_a_constant_objective_has_no_rank_correlation():
    runs = joined(some([1.0] * 3, "a", MIXTURES), some([1.0, 2.0, 3.0], "b", MIXTURES))
    (pair,) = pairs(["a", "b"], runs)
    assert pair.spearman is None
    assert pair_panels(["a", "b"], runs)[0].note == "Spearman \N{EN DASH}"


def test_a_strip_shows_every_run_once_and_the_recommendation_at_its_fidelity(page):
    panel = distribution_panel(["small", "large"], measured(page), "large", 1.5)
    strips, diamond = panel.picture["data"][:2], panel.picture["data"][-1]
    assert sorted(label for s in strips for (label,) in s["customdata"]) == list(range(16))
    assert (diamond["x"], diamond["y"]) == ([1.5], [1])
    assert panel.note == ""


def test_many_runs_are_thinned_and_the_page_says_so():
    rng = np.random.default_rng(0)
    runs = joined(
        some(rng.normal(size=5000), "a", rng.dirichlet([1, 1], 5000)),
        some(rng.normal(size=50), "b", rng.dirichlet([1, 1], 50)),
    )
    panel = distribution_panel(["a", "b"], runs, "a", 0.0)
    counts = [len(strip["x"]) for strip in panel.picture["data"][:2]]
    assert counts == [MOST_POINTS - 50, 50]
    assert panel.note == "2000 of 5050 shown, evenly spread over the ranks of each fidelity."


def test_predictions_are_shown_against_the_fidelities_that_were_not_fitted(page):
    (panel,) = transfer_panels(["small", "large"], measured(page), page.fit_report, page.model)
    (points,) = panel.picture["data"]
    assert panel.title == "Predicted at small, observed at large"
    assert panel.note == "Spearman 0.870"
    there = measured(page).at("large")
    assert sorted(points["y"]) == pytest.approx(
        sorted(page.model.objective_mean(there.mixtures)), rel=1e-5
    )
