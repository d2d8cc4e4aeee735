"""TiKMiX-M: candidates, when the search is left out, and that it finds what is better."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation, Table
from mixwright.reweighting.tikmix_m import around, top_mean

DOMAINS, PRIOR = ("a", "b", "c"), np.array([0.3, 0.3, 0.4])
INFLUENCE = np.array([[0.8, 0.3, 0.1], [0.2, 0.5, 0.6]])
QUICK = {"candidates": 64, "samples": 300, "rounds": 8, "top_k": 10}


def begin(**options):
    reweighter = build_reweighter("tikmix_m", {**QUICK, **options})
    return reweighter, reweighter.init(DOMAINS, PRIOR, 3)


def by_d():
    reweighter = build_reweighter("tikmix_d", {})
    told = Observation(1, tables={"influence": Table(("qa", "code"), DOMAINS, INFLUENCE)})
    return reweighter.update(reweighter.init(DOMAINS, PRIOR, 3), told).state.weights


def measured(reweighter, state, worth):
    """An observation in which both tasks gain `worth(mixture)` from every planned mixture."""
    planned = reweighter.plan(state)["mixtures"]
    gains = [worth(np.array([one[name] for name in DOMAINS])) for one in planned.values()]
    values = np.hstack([INFLUENCE, np.array([gains, gains]).reshape(2, -1)])
    table = Table(("qa", "code"), (*DOMAINS, *planned), values)
    return Observation(state.updates + 1, tables={"influence": table})


def test_candidates_lie_around_the_prior_and_are_the_same_again():
    reweighter, state = begin()
    planned = reweighter.plan(state)["mixtures"]
    mixtures = np.array([[one[name] for name in DOMAINS] for one in planned.values()])
    assert mixtures.shape == (64, 3)
    np.testing.assert_allclose(mixtures.sum(axis=1), 1.0, rtol=1e-12)
    assert (mixtures >= PRIOR / 2).all()
    assert (mixtures <= 2 * PRIOR).all()
    assert reweighter.plan(state)["mixtures"] == planned


def test_a_domain_without_prior_is_in_no_candidate():
    drawn = around(np.array([0.6, 0.0, 0.4]), 10, np.random.default_rng(0))
    assert len(drawn) == 10
    assert (drawn[:, 1] == 0).all()


def test_the_search_finds_what_measured_mixtures_promise():
    def worth(mixture):
        return 1.0 - ((mixture - np.array([0.5, 0.2, 0.3])) ** 2).sum()

    reweighter, state = begin()
    found = reweighter.update(state, measured(reweighter, state, worth))
    assert (found.diagnostics["search"], found.diagnostics["pairs"]) == ("done", 64)
    assert worth(found.state.weights) > worth(by_d()) + 0.01
    assert worth(found.state.weights) > 0.995


@pytest.mark.parametrize(
    ("options", "worth", "reason"),
    [
        ({"candidates": 29}, lambda mixture: mixture[0], "fewer than 30"),
        ({}, lambda mixture: np.nan if mixture[0] > 0.2 else 1.0, "fewer than 30"),
        ({"candidates": 0}, lambda mixture: 1.0, "fewer than 30"),
        ({}, lambda mixture: 1.0, "worth the same"),
    ],
)
def test_without_enough_to_learn_from_the_weights_are_those_of_d(options, worth, reason):
    reweighter, state = begin(**options)
    found = reweighter.update(state, measured(reweighter, state, worth))
    assert reason in found.diagnostics["search"]
    np.testing.assert_allclose(found.state.weights, by_d(), atol=1e-9)


def test_candidates_of_an_earlier_stage_do_not_count():
    reweighter, state = begin()
    told = measured(reweighter, state, lambda mixture: mixture[0])
    state = reweighter.update(state, told).state
    assert reweighter.update(state, told).diagnostics["pairs"] == 0


def test_the_search_narrows_unless_the_paper_is_followed():
    ours, papers = (begin(paper_order=flag)[0].concentrations() for flag in (False, True))
    assert (np.diff(ours) > 0).all()
    np.testing.assert_allclose([ours[0], ours[-1]], [20.0, 2000.0])
    np.testing.assert_array_equal(papers, ours[::-1])


def test_of_equal_scores_the_first_count():
    found = top_mean(np.eye(3), np.array([1.0, 1.0, 1.0]), 2)
    np.testing.assert_array_equal(found, [0.5, 0.5, 0.0])


def test_influence_of_a_domain_that_is_not_finite_is_refused():
    reweighter, state = begin()
    told = measured(reweighter, state, lambda mixture: mixture[0])
    told.tables["influence"].values[0, 1] = np.inf
    assert "not finite for b" in reweighter.update(state, told).reason


def test_domains_may_not_be_named_like_candidates():
    with pytest.raises(InvalidInputError, match="those of candidates"):
        build_reweighter("tikmix_m", {}).init(("a", "mixture/0/1"), np.array([0.5, 0.5]), 0)
