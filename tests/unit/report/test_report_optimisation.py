import json

import numpy as np
import pytest
from optimisation_history import a_step, an_optimisation
from test_report_page import Document

from app.report import belief_slices
from app.report.optimisation import (
    asked_in_words,
    fidelity_rows,
    longest,
    moved,
    outlier_rows,
    step_rows,
    weight_rows,
)
from app.report.optimisation_charts import MOST_STEPS
from app.report.optimisation_pictures import charts
from app.studies.definition import to_core
from mixwright.bayesopt import model

HOSTILE = "<script>alert(1)</script>"
SECTION = [
    "optimisation-regret",
    "optimisation-objective",
    "optimisation-gain",
    "optimisation-spent",
    "optimisation-correlation",
    "optimisation-noise",
    "optimisation-weights",
]


def opened(page, *items):
    """Return the page on a study with these optimisations."""
    page.history = {"items": list(items)}
    return Document(page.render())


def shown(page, *items):
    return longest(to_core(page.study), {"items": list(items)})


def drawn(page, item):
    return {chart.panel.id: chart for chart in charts(to_core(page.study), shown(page, item))}


def traces(chart):
    return chart.panel.picture["data"]


def with_front(item, metrics=("loss", "accuracy"), count=3):
    """Let the latest step have a front, along which the first metric rises and the others fall."""
    item["steps"][-1]["recommendation"]["front"] = [
        {
            "weights": {"web": 0.5 + 0.1 * n, "code": 0.5 - 0.1 * n, "books": 0.0},
            "metrics": {
                name: 2.0 + (n if index == 0 else -n) for index, name in enumerate(metrics)
            },
        }
        for n in range(count)
    ]
    return item


def with_outlier(item, run="run_small_2", metric=None):
    outlier = {"run": run, "metric": metric, "value": 9.25, "expected": 3.0625}
    item["steps"][-1]["outliers"].append(outlier)
    return item


class TestTheSection:
    @pytest.mark.parametrize("history", [None, {"items": []}, {"items": [an_optimisation(0)]}])
    def test_is_left_out_where_nothing_was_optimised(self, page, history):
        page.history = history
        html = page.render()
        assert "Bayesian" not in html
        assert 'id="optimisation"' not in html

    def test_stands_between_fidelities_and_validation(self, page):
        tags = opened(page, an_optimisation(5)).tags
        ids = [attrs["id"] for tag, attrs in tags if tag == "section"]
        at = ids.index("optimisation")
        assert (ids[at - 1], ids[at + 1]) == ("fidelities", "validation")
        assert {"href": "#optimisation"} in [attrs for tag, attrs in tags if tag == "a"]

    def test_every_picture_has_its_place_and_its_words(self, page):
        document = opened(page, with_front(an_optimisation(5)))
        places = {a["data-picture"]: a for _, a in document.tags if "data-picture" in a}
        assert sorted(places) == sorted(document.data["pictures"])
        assert {*SECTION, "optimisation-front", "belief-0"} <= set(places)
        assert all(attrs["aria-label"] for attrs in places.values())

    def test_says_what_going_on_is_worth_and_how_far_its_mixture_is(self, page):
        words = opened(page, an_optimisation(5)).words
        assert "5 steps; at the latest it knew 12 runs, which cost 30 in the study's unit." in words
        assert "Going on is worth 0.0031." in words
        # web .6 against .5, code .2 against .4, books .2 against .1
        assert "differs from the one at the top of this page in 20.0 % of the tokens" in words

    def test_of_several_optimisations_the_longest_is_shown(self, page):
        words = opened(page, an_optimisation(2), an_optimisation(3), an_optimisation(0)).words
        assert "3 steps" in words
        assert "1 other way of asking" in words
        assert "Asked for differently" not in words

    def test_of_equally_long_ones_the_latest_is_shown(self, page):
        older, newer = an_optimisation(2), an_optimisation(2, curves=True)
        newer["steps"][-1]["created_at"] = "2026-11-22T00:00:00Z"
        assert shown(page, newer, older).asked == shown(page, older, newer).asked != []

    def test_a_single_step(self, page):
        document = opened(page, an_optimisation(1))
        assert "1 step; at the latest it knew 4 runs" in document.words
        assert set(SECTION) <= set(document.data["pictures"])

    def test_nothing_left_to_run(self, page):
        item = an_optimisation(2)
        for step in item["steps"]:
            step["stopping"] = None
            for fidelity in step["fidelities"]:
                fidelity["gain"] = None
        document = opened(page, item)
        assert "nothing was left to run" in document.words
        absent = {"optimisation-regret", "optimisation-gain"}
        assert not absent & set(document.data["pictures"])
        assert set(SECTION) - absent <= set(document.data["pictures"])

    def test_no_correlation(self, page):
        item = an_optimisation(2)
        for step in item["steps"]:
            for fidelity in step["fidelities"]:
                fidelity["correlation"] = None
        document = opened(page, item)
        assert "optimisation-correlation" not in document.data["pictures"]
        assert "small 3 7.5 \N{EN DASH}" in document.words

    def test_the_same_inputs_give_the_same_page(self, page):
        page.history = {"items": [with_front(an_optimisation(4))]}
        assert page.render() == page.render()

    def test_hostile_names_are_text_and_nothing_else(self, page):
        domains, fidelities = (HOSTILE, "code", "books"), (HOSTILE, "large")
        item = an_optimisation(3, domains, fidelities, bounds={HOSTILE: 2.0})
        item["steps"][-1]["stopping"]["sentence"] = HOSTILE
        item["fidelity"] = HOSTILE
        with_outlier(with_front(item, (HOSTILE, "loss")), metric=HOSTILE)
        page.runs[4]["external_id"] = HOSTILE
        document = opened(page, item)
        assert len(document.scripts) == 3
        assert document.words.count(HOSTILE) >= 8
        pictures = json.dumps(document.data["pictures"])
        assert "<script>" not in pictures  # the plotting library reads markup in names
        assert "&lt;script&gt;" in pictures


class TestWords:
    def test_the_default_way_of_asking_is_not_named(self, page):
        assert asked_in_words(to_core(page.study), an_optimisation(1)) == []

    def test_another_way_of_asking_is_named(self, page):
        bounds = {"loss": 2.5, "accuracy": 0.4, "gone": 1.0}
        item = an_optimisation(1, recipe="admire", wanted="bounded", bounds=bounds, curves=True) | {
            "fidelity": "small"
        }
        assert asked_in_words(to_core(page.study), item) == [
            "runs were proposed at small only",
            "they were chosen by ADMIRE's scripts",
            "what is wanted is the best objective while metrics stay within bounds",
            "accuracy has to be at least 0.4",
            "gone has to be at most 1",
            "loss has to be at most 2.5",
            "points of loss curves were learned from too",
        ]

    def test_what_moves_between_mixtures(self):
        assert moved({"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.8}) == pytest.approx(0.3)
        assert moved({"a": 1.0}, {"b": 1.0}) == 1.0

    def test_steps_have_what_was_thought(self, page):
        first, *_, last = step_rows(shown(page, an_optimisation(3)))
        assert (first.time, first.runs, first.spent) == ("2026-11-20 00:00", "4", "10")
        assert (first.objective, first.interval) == ("2.400", "2.200 to 2.600")
        assert (last.regret, last.bound, last.gain) == ("0.05", "0.12", "0.013")

    def test_many_steps_are_thinned_and_the_ends_are_kept(self, page):
        found = shown(page, an_optimisation(1000))
        rows = step_rows(found)
        assert (len(rows), rows[0].runs, rows[-1].runs) == (30, "4", "2002")
        assert len(found.some(MOST_STEPS)) == MOST_STEPS
        assert "30 of 1000 steps" in opened(page, an_optimisation(1000)).words

    def test_fidelities_have_what_is_known_of_them(self, page):
        small, large = fidelity_rows(shown(page, an_optimisation(3)), "large")
        assert (small.correlation, small.interval, small.is_target) == (
            "0.90",
            "0.50 to 0.97",
            False,
        )
        assert (large.correlation, large.interval, large.is_target) == ("1.00", "", True)
        assert (small.runs, small.spent, small.noise, small.gain) == ("4", "10", "0.02", "0.01")

    def test_weights_stand_beside_those_of_the_page(self, page):
        rows = weight_rows(shown(page, an_optimisation(3)), {"web": 0.5, "code": 0.5})
        web, books, _ = rows
        assert (web.first, web.latest, web.change) == ("40.00\xa0%", "60.00\xa0%", "+20.00")
        assert (web.recommended, books.recommended) == ("50.00\xa0%", "\N{EN DASH}")


class TestOutliers:
    def test_are_named_with_what_was_expected(self, page):
        document = opened(page, with_outlier(an_optimisation(2), metric="loss"))
        assert "small-2 : 9.25 for loss, where 3.0625 is expected" in document.words
        assert "A run cannot be right" in document.words.split("Recommendation against")[0]

    def test_of_the_objective(self, page):
        (row,) = outlier_rows(shown(page, with_outlier(an_optimisation(1))), {"run_small_2": "x"})
        assert (row.run, row.outcome) == ("x", "the objective")

    def test_that_were_retracted_are_told_no_more(self, page):
        item = with_outlier(an_optimisation(2))
        page.runs = [
            run | {"state": "retracted"} if run["id"] == "run_small_2" else run for run in page.runs
        ]
        assert "Runs without weight" not in opened(page, item).words

    def test_there_are_none(self, page):
        words = opened(page, an_optimisation(2)).words
        assert "Runs without weight" not in words
        assert "cannot be right" not in words


class TestPictures:
    def test_regret_falls_over_spend(self, page):
        chart = drawn(page, an_optimisation(5))["optimisation-regret"]
        bound, expected = traces(chart)
        assert expected["x"] == [10.0, 15.0, 20.0, 25.0, 30.0]
        assert expected["y"] == pytest.approx([0.2 * 0.5**n for n in range(5)])
        assert bound["y"][0] == 0.5
        assert chart.panel.picture["layout"]["yaxis"]["type"] == "log"
        assert "expected from 0.2 to 0.0125" in chart.alt

    def test_values_near_each_other_have_a_linear_axis_from_zero(self, page):
        vertical = drawn(page, an_optimisation(2))["optimisation-regret"].panel.picture["layout"]
        assert vertical["yaxis"]["rangemode"] == "tozero"

    def test_a_step_without_a_verdict_is_a_gap(self, page):
        item = an_optimisation(3)
        item["steps"][1]["stopping"] = None
        assert traces(drawn(page, item)["optimisation-regret"])[1]["y"][1] is None

    def test_a_regret_of_zero_on_a_logarithmic_axis_is_told(self, page):
        item = an_optimisation(5)
        item["steps"][-1]["stopping"]["regret"]["mean"] = 0.0
        chart = drawn(page, item)["optimisation-regret"]
        assert "Values of zero" in chart.panel.note
        assert np.isfinite(chart.panel.picture["layout"]["yaxis"]["range"]).all()

    def test_where_costs_are_not_known_runs_are_counted(self, page):
        item = an_optimisation(3)
        for step in item["steps"]:
            step["spent"] = 0.0
            for fidelity in step["fidelities"]:
                fidelity["spent"] = 0.0
        found = drawn(page, item)
        assert traces(found["optimisation-regret"])[0]["x"] == [4.0, 6.0, 8.0]
        assert found["optimisation-spent"].panel.title == "Runs by fidelity"
        assert traces(found["optimisation-spent"])[0]["y"] == [2, 3, 4]

    def test_the_objective_has_its_interval(self, page):
        band, curve = traces(drawn(page, an_optimisation(2))["optimisation-objective"])
        assert curve["y"] == pytest.approx([2.4, 2.1])
        assert band["y"] == pytest.approx([2.6, 2.3, 1.9, 2.2])
        assert "error_y" not in curve

    def test_a_single_step_has_an_error_bar(self, page):
        curve = traces(drawn(page, an_optimisation(1))["optimisation-objective"])[1]
        assert curve["error_y"]["array"] == pytest.approx([0.2])
        assert curve["error_y"]["arrayminus"] == pytest.approx([0.2])

    def test_every_fidelity_has_its_gain(self, page):
        item = an_optimisation(3)
        item["steps"][0]["fidelities"][1]["gain"] = None
        chart = drawn(page, item)["optimisation-gain"]
        assert [key[1] for key in chart.keys] == ["small", "large"]
        assert traces(chart)[1]["y"] == pytest.approx([None, 0.02, 0.01])
        assert traces(chart)[0]["x"] == [1.0, 2.0, 3.0]

    def test_a_gain_in_a_goal_is_not_one_in_the_objective(self, page):
        notes = [
            drawn(page, an_optimisation(2, wanted=wanted))["optimisation-gain"].panel.note
            for wanted in ("objective", "worst_case")
        ]
        assert [" not in the objective" in note for note in notes] == [False, True]

    def test_a_fidelity_that_came_later_has_a_gap(self, page):
        item = an_optimisation(3)
        del item["steps"][0]["fidelities"][0]
        assert traces(drawn(page, item)["optimisation-gain"])[0]["y"][0] is None

    def test_the_targets_correlation_with_itself_is_not_drawn(self, page):
        chart = drawn(page, an_optimisation(3))["optimisation-correlation"]
        (points,) = traces(chart)
        assert points["x"] == pytest.approx([0.9])
        assert points["error_x"]["array"] == pytest.approx([0.07])
        assert points["error_x"]["arrayminus"] == pytest.approx([0.4])
        assert chart.panel.picture["layout"]["yaxis"]["ticktext"] == ["small"]

    def test_domains_beyond_the_largest_are_drawn_together(self, page):
        domains = tuple(f"domain {n}" for n in range(10))
        chart = drawn(page, an_optimisation(2, domains))["optimisation-weights"]
        assert [key[1] for key in chart.keys][-1] == "3 other domains, together"
        shares = np.array([trace["y"] for trace in traces(chart)])
        assert shares.sum(axis=0) == pytest.approx([1.0, 1.0])
        assert traces(chart)[0]["y"] == pytest.approx([0.4, 0.6])

    def test_a_front_has_its_recommended_mixture(self, page):
        chart = drawn(page, with_front(an_optimisation(2)))["optimisation-front"]
        others, first = traces(chart)
        assert (first["x"], first["y"]) == ([2.0], [2.0])
        assert others["x"] == [3.0, 4.0]
        assert first["customdata"] == ["code 50\xa0%, web 50\xa0%, books 0\xa0%"]
        titles = [
            chart.panel.picture["layout"][name]["title"]["text"] for name in ("xaxis", "yaxis")
        ]
        assert titles == ["loss, lower is better", "accuracy, higher is better"]

    def test_a_front_of_more_metrics_is_told_to_be_in_the_table(self, page):
        metrics = ("loss", "accuracy", "perplexity")
        item = with_front(an_optimisation(2), metrics)
        assert "Two of the 3 metrics" in drawn(page, item)["optimisation-front"].panel.note
        document = opened(page, item)
        assert "Largest shares loss accuracy perplexity" in document.words
        assert [a for tag, a in document.tags if tag == "details" and "open" in a]

    def test_a_front_of_one_metric_is_a_table_alone(self, page):
        item = with_front(an_optimisation(2), ("loss",))
        assert "optimisation-front" not in drawn(page, item)
        assert "The front as a table" in opened(page, item).words

    def test_no_front(self, page):
        assert "optimisation-front" not in drawn(page, an_optimisation(2))
        assert "The front as a table" not in opened(page, an_optimisation(2)).words


class TestBelief:
    def slices(self, page, **changes):
        core = to_core(page.study)
        weights = np.array([0.5, 0.4, 0.1])
        known = {"runs": page.runs, "without": (), "domains": core.domain_names} | changes
        return {
            one.domain: one
            for one in belief_slices.belief_slices(
                core, known["runs"], known["without"], weights, known["domains"]
            )
        }

    def test_is_of_the_target(self, page):
        found = self.slices(page)
        # the bowl is 2 at its best and small; at large it is 1 lower, and accuracy takes .25
        truth = 3.0 - 1.0 - 0.25
        assert set(found) == {"web", "code", "books"}
        assert found["web"].at_recommended[1] == pytest.approx(truth, abs=0.1)
        assert (found["web"].lower <= found["web"].mean).all()

    def test_a_run_without_weight_is_not_learned_from(self, page):
        before = self.slices(page)["web"].at_recommended[1]
        page.runs[1]["metrics"]["loss"] = 50.0
        assert page.runs[1]["fidelity"] == "large"
        found = self.slices(page, without={page.runs[1]["id"]})["web"].at_recommended[1]
        assert found == pytest.approx(before, abs=0.1)

    def test_only_some_domains_are_varied(self, page):
        assert set(self.slices(page, domains=("code", "web"))) == {"code", "web"}

    def test_needs_runs_at_the_target(self, page):
        page.runs = [run for run in page.runs if run["fidelity"] == "small"]
        assert self.slices(page) == {}
        assert "What its model believes" not in opened(page, an_optimisation(2)).words

    def test_needs_a_few_runs(self, page):
        assert self.slices(page, runs=page.runs[:3]) == {}
        assert self.slices(page, runs=[]) == {}

    def test_a_fit_of_the_same_kind_at_the_target_has_it_already(self, page):
        page.fit_report["chosen"]["surrogate"] = "multi_fidelity_gp"
        transfer = {"small": page.fit_report["transfer"]["large"]}
        page.fit_report |= {"fidelity": "large", "transfer": transfer}
        document = opened(page, an_optimisation(2))
        assert not [name for name in document.data["pictures"] if name.startswith("belief")]
        assert "the fit is of the same kind" in document.words

    def test_of_many_runs_some_are_searched(self, page, monkeypatch):
        """The search for hyperparameters would take half a minute if it were on all of them."""
        fit, searched = model.fit, []

        def spy(observations, structure):
            searched.append(len(observations.values))
            return fit(observations, structure)

        monkeypatch.setattr(model, "fit", spy)
        rng = np.random.default_rng(0)
        runs = []
        for index, mixture in enumerate(rng.dirichlet(np.ones(3), 500)):
            run = page.runs[index % 2]
            loss = 3.0 + float(np.sum(mixture**2)) + rng.normal(scale=0.05)
            weights = dict(zip(run["weights"], map(float, mixture), strict=True))
            metrics = {"loss": loss, "accuracy": 0.5}
            runs.append(run | {"id": f"run_{index}", "weights": weights, "metrics": metrics})
        assert len(self.slices(page, runs=runs)) == 3
        assert searched == [belief_slices.SEARCHED]


def test_a_step_is_complete():
    """The made-up steps are what the API answers."""
    from app.suggestions.schemas import OptimisationsRead

    item = with_outlier(with_front(an_optimisation(2)))
    read = OptimisationsRead(items=[item])
    assert len(read.items[0].steps) == 2
    assert set(a_step(0, 1, ("a", "b"), ("x",))) == set(item["steps"][0])
