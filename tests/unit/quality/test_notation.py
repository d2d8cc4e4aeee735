"""Parameters as JSON: there and back, and every wrong part named."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.quality.notation import describe, parse, wrong_parts
from mixwright.quality.quadmix import Limits, space_of

DOMAINS, RATERS = ("web", "code"), ("edu", "dclm")


def some(**changed):
    one = {"rater_weights": {"edu": 0.25, "dclm": 0.75}}
    one |= {"lambda": 500, "omega": 0.05, "eta": 0.5, "epsilon": 0.0005}
    return {"web": one | changed, "code": dict(one)}


def test_drawn_parameters_come_back_from_their_description():
    space = space_of(DOMAINS, RATERS)
    for vector in space.sample(20, np.random.default_rng(0)):
        drawn = space.decode(vector)
        found = parse(describe(drawn, DOMAINS, RATERS), DOMAINS, RATERS)
        np.testing.assert_allclose(space.encode(found), vector, rtol=1e-15)


def test_rater_weights_are_made_to_sum_to_one():
    found = parse(some(rater_weights={"edu": 0.333, "dclm": 0.666}), DOMAINS, RATERS)
    assert found.rater_weights.sum(axis=1) == pytest.approx([1, 1], abs=1e-15)


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({}, {("web",), ("code",)}),
        ({**some(), "law": {}}, {("law",)}),
        ({**some(), "web": 3}, {("web",)}),
        (some(omega=1.5), {("web", "omega")}),
        (some(omega=float("nan"), eta=-1), {("web", "omega"), ("web", "eta")}),
        (some(eta=True), {("web", "eta")}),
        (some(**{"lambda": float("inf")}), {("web", "lambda")}),
        (some(rater_weights=[1]), {("web", "rater_weights")}),
        (some(rater_weights={"edu": 1.0}), {("web", "rater_weights", "dclm")}),
        (some(rater_weights={"edu": 0.9, "dclm": 0.9}), {("web", "rater_weights")}),
        (some(rater_weights={"edu": "1", "dclm": 1.0}), {("web", "rater_weights", "edu")}),
    ],
)
def test_every_wrong_part_is_named(document, places):
    assert {place for place, _ in wrong_parts(document, DOMAINS, RATERS)} == places
    with pytest.raises(InvalidInputError):
        parse(document, DOMAINS, RATERS)


def test_limits_bound_what_is_drawn_and_what_is_searched():
    space = space_of(["web"], ["edu"], limits=Limits(threshold=0.8, floor=0.3))
    drawn = space.sample(2000, np.random.default_rng(0))
    assert 0.75 < drawn[:, 2].max() <= 0.8
    assert 0.28 < drawn[:, 4].max() <= 0.3
    space.check(drawn[0])
    with pytest.raises(InvalidInputError, match=r"searched is 0 to 0\.1"):
        space_of(["web"], ["edu"]).check(np.array([1, 500, 0.5, 0.5, 0.0005]))


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"floor": 2}, {"steepness": 1}, {"exponent": np.nan}]
)
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(InvalidInputError):
        Limits(**wrong)
