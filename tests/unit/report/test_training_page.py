"""The parts of a training's page: which versions were in force, what is drawn, what is said."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from app.report.thinning import kept
from app.report.training_charts import charts, is_thinned, timeline
from app.report.training_curves import Past
from app.report.training_page import render_training
from app.report.training_tables import interventions, ledger_rows, option_rows
from app.trainings.history import Happening, History, Version
from app.trainings.schemas import Policy, TrainingRead
from mixwright.reweighting.base import State
from mixwright.reweighting.guards import Guards
from mixwright.reweighting.ledger import Entry, Standing

NOW = datetime(2026, 11, 21, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script>"


def version(number, effective_step, fate="published", **weights):
    return Version(number, effective_step, weights, fate, number, NOW)


def observed(number, step, applied=True, reason=None, **losses):
    content = {"step": step, "losses": losses}
    return Happening(number, "observe", step, step, content, NOW, applied, reason)


def happened(number, kind, position, **content):
    return Happening(number, kind, None, position, content, NOW, None, None)


def standing(weights, wanted=None, domains=("a", "b")):
    entry = Entry(1, 0, domains, np.array(weights))
    return Standing(State(domains, np.array(weights if wanted is None else wanted)), entry, entry)


def past(versions, happenings=(), **of_training):
    served = [one for one in versions if one.fate == "published"][-1]
    training = TrainingRead(
        **{
            "id": "trn_1",
            "name": "7b",
            "study_id": None,
            "domains": list(served.weights),
            "algorithm": "static",
            "options": {},
            "lead_steps": 0,
            "policy": Policy.AUTO,
            "seed": 0,
            "requires": {"fields": [], "optional": [], "every_steps": None, "cost": "nothing"},
            "plan": {},
            "position": 0,
            "refused": 0,
            "warnings": [],
            "created_at": NOW,
            "version": served.version,
            "effective_step": served.effective_step,
            "weights": served.weights,
            **of_training,
        }
    )
    standings = {
        one.event: standing(list(one.weights.values()), domains=tuple(one.weights))
        for one in versions
    }
    last = max(one.version for one in versions)
    return Past(History(training, versions, happenings, standings, {}, last, 9, '"tag"'))


def numbers(found):
    return [one.version for one in found]


class TestCurves:
    def test_a_version_that_was_overtaken_was_never_in_force(self):
        found = past(
            [
                version(0, 0, a=0.5, b=0.5),
                version(1, 100, a=0.6, b=0.4),
                version(2, 100, a=0.7, b=0.3),
                version(3, 200, "void", a=0.8, b=0.2),
                version(4, 150, a=0.9, b=0.1),
                version(5, 300, "proposed", a=1.0, b=0.0),
            ]
        )
        assert numbers(found.in_force) == [0, 2, 4]
        (a, _) = found.weights(["a", "b"])
        assert a.x.tolist() == [0, 100, 150, 150]
        assert a.y.tolist() == [0.5, 0.7, 0.9, 0.9]

    def test_the_domain_that_moves_over_the_widest_range_comes_first(self):
        first, second = version(0, 0, a=0.3, b=0.3, c=0.4), version(1, 9, a=0.3, b=0.1, c=0.6)
        back = version(2, 20, a=0.25, b=0.35, c=0.4)
        assert past([first, second, back]).domains == ["b", "c", "a"]

    def test_a_domain_that_came_later_has_a_gap_before(self):
        found = past([version(0, 0, a=1.0), version(1, 10, b=1.0)])
        a, b = (curve.y for curve in found.weights(["a", "b"]))
        assert a.tolist()[0] == b.tolist()[1] == 1.0
        assert np.isnan([a[1], b[0]]).all()
        (drawn, *_) = charts(found, 0)
        assert drawn.picture["shape"] == "hv"
        assert drawn.picture["curves"][1]["y"][:1] == [None]

    def test_what_a_resumption_took_back_is_not_drawn(self):
        found = past(
            [version(0, 0, a=0.5, b=0.5)],
            [
                observed(1, 10, a=3.0),
                observed(2, 20, a=2.9),
                observed(3, 30, a=2.8),
                happened(4, "resume", 20, step=20, version=0),
                observed(5, 40, a=2.0),
                observed(6, 15, a=2.5, applied=False, reason="late"),
            ],
        )
        (curve,) = found.measured("losses", ["a", "b"])
        assert curve.x.tolist() == [10, 15, 20, 40]
        assert curve.y.tolist() == [3.0, 2.5, 2.9, 2.0]
        assert found.taken_back == 1
        assert found.last_told.step == 15

    def test_of_probes_the_losses_after_the_last_are_drawn(self):
        seen = {
            "rows": ["before", "1:b"],
            "columns": ["b", "a"],
            "values": [[3.0, 2.0], [2.5, 1.5]],
        }
        told = Happening(1, "observe", 40, 40, {"probe_losses": seen}, NOW, True, None)
        found = past([version(0, 0, a=0.5, b=0.5)], [told])
        assert [panel.title for panel in charts(found, 0)] == ["Weights in force", "Probe losses"]
        a, b = found.measured("probe_losses", ["a", "b"])
        assert (a.x.tolist(), a.y.tolist(), b.y.tolist()) == ([40], [1.5], [2.5])

    def test_a_domain_that_was_not_seen_has_no_point_there(self):
        found = past(
            [version(0, 0, a=0.5, b=0.5)], [observed(1, 1, a=None, b=1.0), observed(2, 2, a=2.0)]
        )
        a, b = found.measured("losses", ["a", "b"])
        assert (a.x.tolist(), b.x.tolist()) == ([2], [1])


class TestThinning:
    def test_each_span_keeps_first_lowest_highest_and_last(self):
        x, y = np.arange(40.0), np.sin(np.arange(40.0))
        y[13], y[27] = 9.0, -9.0
        some = kept(x, y, 4)
        assert len(some) <= 16
        assert {0, 13, 27, 39} <= set(some.tolist())
        for span in range(4):
            inside = some[(some >= 9.75 * span) & (some < 9.75 * (span + 1))]
            whole = y[(x >= 9.75 * span) & (x < 9.75 * (span + 1))]
            assert (y[inside].min(), y[inside].max()) == (whole.min(), whole.max())

    def test_few_points_are_all_kept(self):
        assert kept(np.array([3.0, 3.0, 3.0]), np.zeros(3), 1).tolist() == [0, 1, 2]

    def test_points_of_one_step_are_thinned_too(self):
        assert len(kept(np.full(50, 7.0), np.arange(50.0), 5)) <= 4

    def test_a_long_training_of_many_domains_stays_small(self):
        rng = np.random.default_rng(0)
        names = [f"d{index}" for index in range(100)]
        many = [
            version(step, step, **dict(zip(names, rng.dirichlet(np.ones(100)), strict=True)))
            for step in range(1500)
        ]
        found = past(many)
        assert is_thinned(found)
        (panel,) = charts(found, 0)
        assert panel.picture["shape"] == "linear"
        points = [len(curve["x"]) for curve in panel.picture["curves"]]
        assert 50_000 < sum(points) <= 64_000
        assert "The lines are thinned" in " ".join(render_training(found.history).split())


class TestWords:
    def test_the_guards_say_what_they_held_back_and_lifted(self):
        guards = Guards(floor=0.1, max_step=0.2)
        stopped = standing([0.7, 0.3], wanted=[1.0, 0.0])
        assert list(interventions(guards, stopped)) == [
            "max_step 0.2: 25.0\N{NO-BREAK SPACE}% are still to be moved",
            "floor 0.1: it lifted b",
        ]
        served = standing([0.95, 0.05], wanted=[1.0, 0.0])
        assert len(list(interventions(guards, served))) == 1
        assert not list(interventions(Guards(floor=0.0), standing([0.5, 0.5])))

    def test_a_version_is_compared_with_the_one_in_force_before_it(self):
        found = past(
            [
                version(0, 0, a=0.5, b=0.5),
                version(1, 10, "void", a=0.9, b=0.1),
                version(2, 10, "proposed", a=0.8, b=0.2),
                version(3, 20, a=0.6, b=0.4),
            ],
            [happened(0, "begin", 0), observed(1, 10), observed(2, 10), observed(3, 20)],
        )
        rows = ledger_rows(found, Guards())
        assert [row.version for row in rows] == [3, 2, 1, 0]
        assert rows[0].moved == "a +10.00, b -10.00"
        assert rows[1].moved == "a +30.00, b -30.00"
        assert [row.why for row in rows[2:]] == ["observation of step 10", "registered"]

    def test_options_that_were_given_come_first(self):
        found = past([version(0, 0, a=1.0)], options={"max_step": 0.1})
        name, origin, value, about = option_rows(found.history.training)[0]
        assert (name, origin, value) == ("max_step", "given", "0.1")
        assert "total variation" in about

    def test_an_alarm_is_shown_before_anything_else(self):
        found = past([version(0, 0, a=1.0)], warnings=["the weight of 'a' is 1: others may starve"])
        page = render_training(found.history)
        assert "The weight of &#39;a&#39; is 1: others may starve." in page
        assert page.index("others may starve") < page.index("The weights are held as they are")

    def test_what_happened_has_a_row_for_each_kind(self):
        found = past(
            [version(0, 0, a=0.5, b=0.5), version(1, 5, "void", a=0.6, b=0.4)],
            [happened(1, "resume", 3, step=3, version=0), observed(2, 4, False, "it is <late>")],
        )
        panel = timeline(found)
        assert panel.picture["layout"]["yaxis"]["ticktext"] == ["resumed", "void", "not applied"]
        assert list(panel.picture["data"][2]["text"]) == ["step 4: it is &lt;late&gt;"]
        assert timeline(past([version(0, 0, a=1.0)])) is None


class TestSafety:
    @pytest.fixture
    def hostile(self):
        weights = {HOSTILE: 0.4, "b": 0.6}
        found = past(
            [version(0, 0, **weights), version(1, 5, **{HOSTILE: 0.5, "b": 0.5})],
            [observed(1, 5, False, f"no {HOSTILE}", **{HOSTILE: 2.0})],
            name=HOSTILE,
            warnings=[HOSTILE],
        )
        return render_training(found.history)

    def test_names_are_text_and_nothing_else(self, hostile):
        assert len(re.findall(r"<script", hostile)) == 3
        assert hostile.count("&lt;script&gt;") >= 6
        data = json.loads(re.search(r'id="report-data">(.*?)</script>', hostile)[1])
        assert HOSTILE in data["leading"]

    def test_only_its_own_server_may_be_asked(self, hostile):
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', hostile)[1]
        assert "default-src 'none'; connect-src 'self'; script-src 'sha256-" in policy
        assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
        markup = hostile.split("<script")[0]
        links = re.findall(r'(?:href|src)="([^"]*)"', markup)
        assert {link for link in links if not link.startswith("#")} == {
            "weights",
            "ledger",
            "events",
        }


def test_the_same_history_gives_the_same_page():
    found = past([version(0, 0, a=1.0)])
    assert render_training(found.history) == render_training(replace(found.history))
