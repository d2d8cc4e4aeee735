"""The headline, the weights, the constraints and the tables."""

import numpy as np
import pytest

from app.report.constraints import active_constraints
from app.report.headline import cautions, changes, compare, promise, summarise
from app.report.runs import succeeded
from app.report.tables import candidate_rows, provenance_rows, transfer_rows, validation_rows
from app.report.weights import domain_table
from app.studies.definition import to_core


def doubts(page):
    return cautions(to_core(page.study), page.recommendation, page.fit_report, succeeded(page.runs))


class TestSummary:
    def test_names_the_largest_shares_until_they_are_nearly_all(self):
        found = summarise({"a": 0.02, "b": 0.6, "c": 0.33, "d": 0.05})
        assert found.leading == [("b", "60.0\xa0%"), ("c", "33.0\xa0%")]
        assert (found.other_count, found.other_share) == (2, "7.0\xa0%")

    def test_names_at_most_five(self):
        found = summarise({f"d{i}": 0.1 for i in range(10)})
        assert (len(found.leading), found.other_count, found.other_share) == (5, 5, "50.0\xa0%")

    def test_a_domain_without_share_is_not_counted_among_the_others(self):
        found = summarise({"a": 0.5, "b": 0.5, "c": 0.0})
        assert (found.other_count, found.unused_count) == (0, 1)


class TestComparison:
    def test_stands_on_one_scale(self, page):
        rows = {row.label: row for row in compare(page.recommendation, "small", {})}
        best, uniform = rows["Recommended"], rows["Uniform"]
        assert 0 < best.start < best.position < best.end < 100
        width = best.end - best.start
        assert uniform.end - uniform.start == pytest.approx(width, abs=0.01)
        moved = (uniform.position - best.position) / width
        assert moved == pytest.approx((2.062 - 2.005) / 0.2, abs=0.001)

    def test_numbers_are_those_of_the_recommendation(self, page):
        best, *_, observed = compare(page.recommendation, "small", {"run_small_3": "mine-3"})
        assert (best.mean, best.interval) == ("2.005", "1.905 to 2.105")
        assert (observed.note, observed.observed) == ("mine-3", "2.250")

    def test_is_said_in_a_sentence(self, page):
        assert promise(compare(page.recommendation, "small", {})) == (
            "0.010 lower than the prior, 0.057 lower than uniform weights and 0.025 lower than "
            "the best observed run, which measured 2.250"
        )

    def test_what_was_measured_at_another_fidelity_does_not_share_the_scale(self, page):
        before = compare(page.recommendation, "small", {})[0]
        page.recommendation["baselines"]["best_observed"] |= {"fidelity": "large", "observed": 1.0}
        best, *_, observed = compare(page.recommendation, "small", {})
        assert (observed.observed, observed.observed_position) == ("1.000 at large", None)
        assert best.end - best.start > before.end - before.start
        assert promise([best, observed]).endswith(", which measured 1.000 at large")

    def test_overlapping_intervals_are_known(self, page):
        page.recommendation["baselines"]["uniform"]["objective"] = {
            "mean": 3.0,
            "lower": 2.9,
            "upper": 3.1,
        }
        rows = {row.label: row.overlaps for row in compare(page.recommendation, "small", {})}
        assert rows["Prior"]
        assert not rows["Uniform"]

    def test_a_missing_baseline_is_left_out(self, page):
        page.recommendation["baselines"] = {"prior": None}
        rows = compare(page.recommendation, "small", {})
        assert [row.label for row in rows] == ["Recommended"]
        assert promise(rows) == ""

    def test_baselines_that_cannot_be_used_say_so(self, page):
        page.recommendation["baselines"]["prior"] |= {"feasible": False, "inside_hull": False}
        rows = {row.label: row.caveat for row in compare(page.recommendation, "small", {})}
        assert rows["Prior"] == "breaks the constraints, outside the sampled mixtures"


class TestCautions:
    def test_a_sound_recommendation_has_none(self, page):
        assert doubts(page) == []

    def test_an_infeasible_mixture(self, page):
        page.recommendation["feasible"] = False
        assert "breaks a constraint" in doubts(page)[0]

    def test_an_infeasible_prior(self, page):
        page.recommendation["baselines"]["prior"]["feasible"] = False
        assert "prior breaks the constraints" in doubts(page)[0]

    def test_a_weak_fit(self, page):
        page.fit_report["objective"]["spearman"] = 0.41
        assert "only 0.41" in doubts(page)[0]

    def test_a_fit_that_could_not_be_judged(self, page):
        page.fit_report["objective"]["spearman"] = None
        assert "Too few runs" in doubts(page)[0]

    def test_intervals_that_are_too_narrow(self, page):
        page.fit_report["objective"]["coverage"] = 0.74
        assert "74\xa0%" in doubts(page)[0]

    def test_no_runs_at_the_target(self, page):
        page.fit_report["transfer"] = {}
        assert "target fidelity large" in doubts(page)[0]

    def test_a_ranking_that_does_not_carry_over(self, page):
        page.fit_report["transfer"]["large"]["objective"]["spearman"] = 0.33
        assert "0.33" in doubts(page)[0]

    def test_a_fit_at_the_target_needs_no_transfer(self, page):
        page.fit_report |= {"transfer": {}, "fidelity": "large"}
        assert doubts(page) == []

    def test_runs_retracted_since(self, page):
        page.runs[0]["state"] = "retracted"
        assert "1 of the runs behind this fit have been retracted" in doubts(page)[0]

    def test_runs_that_ended_since(self, page):
        page.fit_report["runs_available"] = 10
        assert doubts(page) == ["6 runs have ended since this fit and are not in it."]

    def test_a_study_that_was_changed_since(self, page):
        page.study["version"] = 3
        (found,) = changes(page.study, page.recommendation)
        assert "version 1, now 3" in found

    def test_an_unchanged_study(self, page):
        assert changes(page.study, page.recommendation) == []

    def test_what_the_fit_and_the_recommendation_say_is_passed_on_once(self, page):
        page.fit_report["warnings"] = ["fitted at small"]
        page.recommendation["warnings"] = ["look out", "fitted at small"]
        assert doubts(page) == ["Look out.", "Fitted at small."]


class TestWeights:
    def test_come_with_the_largest_first(self, page):
        rows = domain_table(to_core(page.study), page.recommendation).rows
        found = [(row.name, row.weight, row.prior, row.change) for row in rows]
        assert found == [
            ("web", "50.00\xa0%", "60.00\xa0%", "-10.00"),
            ("code", "40.00\xa0%", "30.00\xa0%", "+10.00"),
            ("books", "10.00\xa0%", "10.00\xa0%", "0"),
        ]

    def test_bars_are_in_proportion(self, page):
        rows = domain_table(to_core(page.study), page.recommendation).rows
        assert rows[0].prior_mark == 100.0
        assert rows[0].bar == pytest.approx(100 * 0.5 / 0.6, abs=0.001)
        assert rows[2].bar == rows[2].prior_mark == pytest.approx(100 * 0.1 / 0.6, abs=0.001)

    def test_a_domain_at_its_repetition_limit_is_marked(self, page):
        page.study["constraints"]["repetition"] = {"target_tokens": 1e10, "max_epochs": 4.0}
        page.recommendation["epochs"] = {"web": 4.0, "code": 3.9, "books": None}
        table = domain_table(to_core(page.study), page.recommendation)
        found = [(row.epochs, row.at_cap) for row in table.rows]
        assert found == [("4.00", True), ("3.90", False), ("\N{EN DASH}", False)]
        assert table.limit == "at most 4 epochs of any domain in 10B tokens"

    def test_columns_that_would_be_empty_are_left_out(self, page):
        for domain in page.study["domains"]:
            domain["tokens"] = None
        page.recommendation["epochs"] = dict.fromkeys(page.recommendation["epochs"])
        table = domain_table(to_core(page.study), page.recommendation)
        assert (table.has_tokens, table.has_epochs, table.has_bounds) == (False, False, False)

    def test_bounds_are_shown_where_there_are_any(self, page):
        page.study["domains"][1]["upper"] = 0.45
        table = domain_table(to_core(page.study), page.recommendation)
        assert [row.bounds for row in table.rows] == ["", "0\xa0% to 45\xa0%", ""]


class TestConstraints:
    def test_domains_without_share_are_one_sentence(self, page):
        active = [{"name": "lower:web", "kind": "lower", "bound": 0.0, "value": 0.0}]
        found = active_constraints(to_core(page.study), active)
        assert (found.rows, found.without_share) == ([], ["web"])

    def test_a_limit_of_a_domain_names_it(self, page):
        active = [
            {"name": "lower:web", "kind": "lower", "bound": 0.1, "value": 0.1},
            {"name": "repetition:a:b", "kind": "repetition", "bound": 0.4, "value": 0.4},
        ]
        found = active_constraints(to_core(page.study), active).rows
        assert [(row.subject, row.kind) for row in found] == [
            ("web", "Lower bound"),
            ("a:b", "Repetition limit"),
        ]
        assert (found[1].value, found[1].bound) == ("40.00\xa0%", "40.00\xa0%")

    def test_a_linear_constraint_is_written_out(self, page):
        page.study["constraints"]["linear"] = [
            {"coefficients": {"web": 1.0, "books": 2.5}, "lower": None, "upper": 0.9}
        ]
        active = [{"name": "linear:0:upper", "kind": "linear", "bound": 0.9, "value": 0.9}]
        (row,) = active_constraints(to_core(page.study), active).rows
        assert row.subject == "web + 2.5 books, upper limit"

    def test_a_constraint_of_a_study_that_was_changed_keeps_its_name(self, page):
        active = [{"name": "linear:2:upper", "kind": "linear", "bound": 0.9, "value": 0.9}]
        (row,) = active_constraints(to_core(page.study), active).rows
        assert row.subject == "2:upper"

    def test_a_shadow_price_is_told_per_percentage_point(self, page):
        active = {"name": "upper:web", "kind": "upper", "bound": 0.5, "value": 0.5}
        rows = active_constraints(
            to_core(page.study), [active, active | {"shadow_price": 1.25}]
        ).rows
        assert [row.gain for row in rows] == ["", "0.0125"]


class TestTables:
    def test_validation_has_the_objective_and_every_metric(self, page):
        objective, loss, accuracy = validation_rows(to_core(page.study), page.fit_report)
        assert objective.statistics == ["0.930", "0.800", "0.0123", "0.875"]
        assert (loss.objective_weight, loss.transfer) == ("1", ["0.850"])
        assert accuracy.statistics[0] == accuracy.transfer[0] == "\N{EN DASH}"

    def test_a_metric_that_was_not_fitted_has_dashes(self, page):
        del page.fit_report["metrics"]["accuracy"]
        row = validation_rows(to_core(page.study), page.fit_report)[2]
        assert (row.name, set(row.statistics), row.runs) == ("accuracy", {"\N{EN DASH}"}, "0")

    def test_transfer_names_the_worst_metric(self, page):
        metrics = page.fit_report["transfer"]["large"]["metrics"]
        metrics["accuracy"]["spearman"] = 0.15
        (row,) = transfer_rows(page.fit_report, "large")
        assert (row.objective, row.mean) == ("0.870", "0.500")
        assert (row.worst, row.worst_metric, row.is_target) == ("0.150", "accuracy", True)

    def test_candidates_come_with_the_best_first(self, page):
        assert candidate_rows(page.fit_report) == [("share_power", "0.21"), ("linear", "0.61")]

    def test_provenance_has_what_is_needed_to_repeat(self, page):
        found = dict(provenance_rows(to_core(page.study), page.recommendation, page.fit_report))
        expected = {"fit_3", "d1d1", "11", "0.1.0", "abcd", "exact", "2026-11-20T12:00:00Z"}
        assert expected <= set(found.values())
        assert found["Runs used"] == "8 of 16"


def test_everything_the_page_shows_is_a_number_or_a_dash(page):
    rows = validation_rows(to_core(page.study), page.fit_report)
    shown = [value for row in rows for value in [*row.statistics, *row.transfer]]
    numbers = [float(value) for value in shown if value != "\N{EN DASH}"]
    assert np.isfinite(numbers).all()
