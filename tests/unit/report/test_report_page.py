import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from app.report import page as page_module

SECTIONS = [
    "headline",
    "weights",
    "held-out",
    "slices",
    "fidelities",
    "validation",
    "constraints",
    "provenance",
    "reading",
]
HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "input", "line", "circle", "rect"}


class Document(HTMLParser):
    """A page taken apart: its tags with attributes, its text, the contents of its scripts."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.styles, self.text = [], [], [], []
        self._inside = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            (self.scripts if tag == "script" else self.styles).append("")

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles[-1] += data
        else:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())

    @property
    def data(self):
        return json.loads(self.scripts[0])


def rename_domain(page, old, new):
    """Give a domain another name everywhere."""
    for domain in page.study["domains"]:
        domain["name"] = new if domain["name"] == old else domain["name"]
    mixtures = [page.recommendation["weights"], page.recommendation["epochs"]]
    for mixture in [*mixtures, *(run["weights"] for run in page.runs)]:
        mixture[new] = mixture.pop(old)


def rename_metric(page, old, new):
    """Give a metric another name everywhere."""
    for metric in page.study["metrics"]:
        metric["name"] = new if metric["name"] == old else metric["name"]
    report = page.fit_report
    keyed = [page.study["objective"], report["metrics"], report["out_of_fold"]["metrics"]]
    keyed += [there["metrics"] for there in report["transfer"].values()]
    for values in [*keyed, *(run["metrics"] for run in page.runs)]:
        values[new] = values.pop(old)


class TestContent:
    def test_every_section_is_there_in_the_readers_order(self, page):
        tags = Document(page.render()).tags
        assert [attrs["id"] for tag, attrs in tags if tag == "section"] == SECTIONS

    def test_the_headline_says_mixture_and_promise(self, page):
        words = Document(page.render()).words
        assert "Train on 50.0 % web , 40.0 % code and 10.0 % from 1 other domain." in words
        assert (
            "Its predicted objective is 2.005 (90 % interval 1.905 to 2.105; lower is better): "
            "0.010 lower than the prior, 0.057 lower than uniform weights and 0.025 lower than "
            "the best observed run, which measured 2.250."
        ) in words
        assert "for a run at fidelity small, where the surrogate was fitted" in words

    def test_a_mixture_outside_the_sampled_ones_says_so_beside_its_name(self, page):
        page.recommendation["inside_hull"] = False
        assert "Recommended outside the sampled mixtures" in Document(page.render()).words

    def test_cautions_are_shown_only_where_there_are_some(self, page):
        assert "Before you use it" not in Document(page.render()).words
        page.recommendation["warnings"] = ["the mixture extrapolates"]
        assert "Before you use it The mixture extrapolates." in Document(page.render()).words

    def test_the_choice_of_the_surrogate_is_explained(self, page):
        words = Document(page.render()).words
        assert "Surrogate share_power . It had the smallest error." in words
        assert "share_power 0.21 linear 0.61" in words

    def test_every_picture_has_its_place_and_every_place_its_picture(self, page):
        document = Document(page.render())
        places = [a["data-picture"] for _, a in document.tags if "data-picture" in a]
        assert sorted(places) == sorted(document.data["pictures"])
        assert len(set(places)) == len(places) == 6  # 3 slices, strips, transfer, same mixtures

    def test_every_point_has_a_label(self, page):
        data = Document(page.render()).data
        drawn = [*data["pictures"].values(), *(panel["picture"] for panel in data["calibration"])]
        labelled = [
            row[0]
            for picture in drawn
            for trace in picture["data"]
            if trace.get("hovertemplate", "").startswith("%{text}")
            for row in trace["customdata"]
        ]
        assert len(labelled) == 3 * 8 + 16 + 8 + 8
        assert max(labelled) < len(data["labels"])

    def test_a_point_carries_the_label_of_its_own_run(self, page):
        data = Document(page.render()).data
        observed = page.fit_report["out_of_fold"]["metrics"]["loss"]["observed"]
        traces = data["calibration"][1]["picture"]["data"][1:]
        for trace in traces:
            for x, row in zip(trace["x"], trace["customdata"], strict=True):
                index = int(np.argmin(np.abs(np.array(observed) - x)))
                assert f"<b>small-{index}</b><br>run_small_{index}" in data["labels"][row[0]]


class TestAbsentPieces:
    def test_one_fidelity_alone(self, page):
        page.runs = [run for run in page.runs if run["fidelity"] == "small"]
        page.study |= {"fidelities": page.study["fidelities"][:1], "target_fidelity": "small"}
        page.fit_report |= {"transfer": {}, "runs_available": 8}
        document = Document(page.render())
        assert "All runs have the fidelity small" in document.words
        assert "Rank correlation (Spearman) of the fit" not in document.words
        assert not [name for name in document.data["pictures"] if name.startswith("transfer")]

    def test_no_active_constraints(self, page):
        assert "None: no bound" in Document(page.render()).words

    def test_no_token_counts(self, page):
        page.recommendation["epochs"] = dict.fromkeys(page.recommendation["epochs"])
        assert "Epochs are not known" in Document(page.render()).words

    def test_no_run_with_every_metric_of_the_objective(self, page):
        for run in page.runs:
            del run["metrics"]["accuracy"]
        document = Document(page.render())
        assert "No run has every metric of the objective." in document.words
        assert "fidelities" not in document.data["pictures"]

    def test_a_held_out_run_that_was_retracted_keeps_its_point(self, page):
        page.runs[0]["state"] = "retracted"
        data = Document(page.render()).data
        assert data["labels"][-1] == "<b>run_small_0</b>"
        assert data["calibration"][0]["shown"] == 8

    def test_a_weight_that_a_solver_left_just_below_zero_is_zero(self, page):
        page.recommendation["weights"] = {"web": 0.6, "code": 0.4, "books": -1e-17}
        document = Document(page.render())
        bars = [attrs["width"] for tag, attrs in document.tags if tag == "rect"]
        assert bars[-1] == "0.0%"
        assert "books 0.00 % 10.00 %" in document.words

    def test_no_baselines(self, page):
        page.recommendation["baselines"] = {}
        assert "lower is better)." in Document(page.render()).words

    def test_a_number_that_is_none_is_never_stored(self, page):
        page.fit_report["out_of_fold"]["objective"]["upper"][3] = float("nan")
        with pytest.raises(ValueError, match="not JSON compliant"):
            page.render()


class TestSafety:
    @pytest.fixture
    def hostile(self, page):
        rename_domain(page, "code", HOSTILE)
        rename_metric(page, "loss", f"loss{HOSTILE}")
        page.study["name"] = HOSTILE
        page.fit_report["warnings"] = [f"metric '{HOSTILE}' is constant"]
        page.runs[0] |= {"external_id": "</script><img src=x onerror=alert(1)>"}
        page.recommendation["active_constraints"] = [
            {"name": f"lower:{HOSTILE}", "kind": "lower", "bound": 0.4, "value": 0.4}
        ]
        return page

    def test_names_are_text_and_nothing_else(self, hostile, page):
        document = Document(hostile.render())
        assert len(document.scripts) == 3
        assert document.words.count(HOSTILE) >= 8
        assert not [tag for tag, _ in document.tags if tag == "img"]

    def test_names_survive_inside_the_data(self, hostile):
        document = Document(hostile.render())
        assert document.data["calibration"][1]["name"] == f"loss{HOSTILE}"
        assert "<" not in document.scripts[0]

    def test_labels_hold_no_markup_of_their_own(self, hostile):
        for text in Document(hostile.render()).data["labels"]:
            assert re.findall(r"<[^>]*>", text) == ["<b>", "</b>", "<br>", "<br>"]

    def test_no_element_has_an_event_handler(self, hostile):
        attributes = [name for _, attrs in Document(hostile.render()).tags for name in attrs]
        assert not [name for name in attributes if name.startswith("on")]

    def test_nothing_is_loaded(self, page):
        document = Document(page.render())
        assert not [tag for tag, _ in document.tags if tag in ("link", "img", "iframe", "object")]
        loads = [
            value
            for _, attrs in document.tags
            for name, value in attrs.items()
            if name in ("src", "href", "action", "srcset", "data")
        ]
        assert loads
        assert all(value.startswith("#") for value in loads)
        assert not re.search(r"url\(|@import|https?:", "".join(document.styles))

    def test_the_policy_admits_its_own_scripts_and_no_connection(self, page):
        document = Document(page.render())
        (policy,) = [
            attrs["content"]
            for tag, attrs in document.tags
            if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
        ]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        digests = [
            f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
            for script in document.scripts[1:]
        ]
        assert directives["default-src"] == "'none'"
        assert directives["script-src"].split() == digests
        assert "connect-src" not in directives
        assert "http" not in policy

    def test_links_lead_to_sections_of_the_page(self, page):
        document = Document(page.render())
        ids = {attrs["id"] for _, attrs in document.tags if "id" in attrs}
        links = [attrs["href"][1:] for tag, attrs in document.tags if tag == "a"]
        assert links
        assert set(links) <= ids


def test_the_same_inputs_give_the_same_page(page):
    assert page.render() == page.render()


def test_importing_the_report_does_not_import_the_plotting_library():
    code = "import sys, app.report.page; assert 'plotly' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_vendored_library_is_the_one_the_installed_package_writes_for():
    from plotly.offline import get_plotlyjs_version

    opening = (Path(page_module.__file__).parent / "static/plotly-basic.min.js").read_text()[:200]
    vendored = re.search(r"v(\d+)\.(\d+)", opening).groups()
    assert vendored[0] == get_plotlyjs_version().split(".")[0]
