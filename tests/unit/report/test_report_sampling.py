"""The page of recommended parameters: of QuaDMix, and of Meta-rater."""

import numpy as np
import pytest
from test_report_page import HOSTILE, Document

from mixwright.quality.function import expected_copies_at
from mixwright.quality.implied import expected_shares
from mixwright.quality.notation import parse

DOMAINS, RATERS = ("web", "code", "books"), ("edu", "clean")


def theta(page):
    return parse(page.recommendation["parameters"], DOMAINS, RATERS)


def test_sections_are_those_that_make_sense(quadmix_page):
    tags = Document(quadmix_page.render()).tags
    assert [attrs["id"] for tag, attrs in tags if tag == "section"] == [
        "headline",
        "parameters",
        "functions",
        "implied",
        "runs",
        "held-out",
        "fidelities",
        "validation",
        "constraints",
        "provenance",
        "reading",
    ]


def test_what_is_recommended_is_said_in_words(quadmix_page):
    words = Document(quadmix_page.render()).words
    selected = (expected_shares(*theta(quadmix_page).scalars.values()) * 1e9).sum()
    assert "Keep the best 10.0 % of code , 5.0 % of web and 0.0 % of books : " in words
    assert f"{selected / 1e6:.3g}M tokens of 3B ." in words
    assert "0.025 lower than the best observed run" in words
    assert "lower than the mean of the sampler" in words


def test_every_parameter_stands_in_the_table(quadmix_page):
    words = Document(quadmix_page.render()).words
    assert "Weight of edu Weight of clean λ ω η ε" in words
    assert "web 75.0 % 25.0 % 400 0.05 0.5 0.001" in words
    assert "code 0.0 % 100.0 % 800 0.1 1 0" in words


def test_curves_are_the_sampling_function(quadmix_page):
    document = Document(quadmix_page.render())
    found = theta(quadmix_page)
    drawn = [name for name in document.data["pictures"] if name.startswith("copies")]
    assert len(drawn) == 3
    titles = [attrs["aria-label"] for _, attrs in document.tags if "data-picture" in attrs]
    for number, domain in enumerate(("code", "web", "books")):
        assert titles[number] == f"Expected copies of documents of {domain} by rank"
        picture = document.data["pictures"][f"copies-{number}"]
        (line,) = picture["data"]
        place = DOMAINS.index(domain)
        threshold = found.threshold[place]
        ranks, copies = np.array(line["x"]), np.array(line["y"])
        assert ranks[0] == 0
        assert (np.diff(copies) <= 1e-9).all()
        kept = ranks[: np.searchsorted(ranks, threshold)]
        wanted = expected_copies_at(kept, found, np.full(len(kept), place))
        np.testing.assert_allclose(copies[: len(kept)], wanted, rtol=1e-4)
        assert copies[-1] == pytest.approx(found.floor[place])
        assert picture["layout"]["xaxis"]["range"] == [0, pytest.approx(0.16)]


def test_the_implied_mixture_is_computed_without_a_sample(quadmix_page):
    words = Document(quadmix_page.render()).words
    tokens = expected_shares(*theta(quadmix_page).scalars.values())
    share = 100 * tokens[0] / tokens.sum()
    assert "Computed from the tokens of the study's domains" in words
    assert f"web {share:.2f} % 33.33 %" in words


def test_a_sampling_function_of_the_recommendation_knows_better(quadmix_page):
    tokens = {"web": 3e8, "code": 1e8, "books": 0.0}
    quadmix_page.implied = {
        "tokens": tokens,
        "distinct_tokens": {"web": 2e8, "code": 1e8, "books": 0.0},
        "available_tokens": dict.fromkeys(DOMAINS, 1e9),
        "available_of": "study",
    }
    words = Document(quadmix_page.render()).words
    assert "Estimated from the study's sample" in words
    assert "400M tokens of 3B" in words
    assert "web 75.00 % 33.33 % +41.67 300M 1B 1.50" in words
    assert "books 0.00 % 33.33 % -33.33 0 1B 0.00" in words


def test_without_tokens_the_page_says_what_is_missing(quadmix_page):
    quadmix_page.study["domains"][1]["tokens"] = None
    words = Document(quadmix_page.render()).words
    assert "The mixture of domains that comes out is not known" in words
    assert "% of books ." in words


def test_the_best_runs_are_named_with_what_they_keep(quadmix_page):
    document = Document(quadmix_page.render())
    runs = [run for run in quadmix_page.runs if run["fidelity"] == "small"]
    best = min(runs, key=lambda run: run["metrics"]["loss"])
    row = f"{best['external_id']} {best['metrics']['loss'] - 0.25:.5g} ω code 10.0 %"
    assert row in document.words
    assert "code 10.0" in document.data["labels"][0]


def test_every_picture_has_its_place_and_every_place_its_picture(quadmix_page):
    document = Document(quadmix_page.render())
    places = [attrs["data-picture"] for _, attrs in document.tags if "data-picture" in attrs]
    assert sorted(places) == sorted(document.data["pictures"])


def test_links_lead_to_sections_of_the_page(quadmix_page):
    document = Document(quadmix_page.render())
    ids = {attrs["id"] for _, attrs in document.tags if "id" in attrs}
    links = {attrs["href"][1:] for tag, attrs in document.tags if tag == "a"}
    assert "functions" in links
    assert links <= ids


def test_names_are_text_and_nothing_else(quadmix_page):
    for one in quadmix_page.study["domains"]:
        one["name"] = HOSTILE if one["name"] == "code" else one["name"]
    for document in (quadmix_page.recommendation, *quadmix_page.runs):
        parameters = dict(document["parameters"])
        document["parameters"] = {**parameters, HOSTILE: parameters["code"]}
        del document["parameters"]["code"]
    document = Document(quadmix_page.render())
    assert len(document.scripts) == 3
    assert document.words.count(HOSTILE) >= 4
    assert "<" not in document.scripts[0]


def test_weights_of_raters_are_a_mixture_of_raters(meta_rater_page):
    document = Document(meta_rater_page.render())
    assert "Rate documents by 60.0 % edu , 40.0 % clean ." in document.words
    assert "Effect of each rater" in document.words
    assert "Epochs are not known" not in document.words
    assert "slice-0" in document.data["pictures"]
    sections = [attrs["id"] for tag, attrs in document.tags if tag == "section"]
    assert "weights" in sections
    assert "implied" not in sections
