import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.report.slice_pictures import MOST_SLICES, objective_range, slice_panels, ticks
from app.report.slices import POINTS, effect_slices, slice_rows, varied
from mixwright.study import Domain

WEIGHTS = np.array([0.5, 0.4, 0.1])


def domains(lower=0.0, upper=1.0):
    names = (("web", 0.6), ("code", 0.3), ("books", 0.1))
    return [Domain(name, None, prior, lower, upper) for name, prior in names]


def test_the_other_domains_keep_their_proportions():
    (mixture,) = varied(WEIGHTS, WEIGHTS, 2, np.array([0.55]))
    assert mixture == pytest.approx([0.25, 0.2, 0.55])


@given(
    st.lists(st.floats(0.001, 1.0), min_size=2, max_size=12),
    st.integers(0, 11),
    st.floats(0.0, 1.0),
)
def test_varied_mixtures_stay_on_the_simplex(raw, index, share):
    weights = np.array(raw) / np.sum(raw)
    index %= len(weights)
    (mixture,) = varied(weights, weights, index, np.array([share]))
    assert mixture.sum() == pytest.approx(1.0, abs=1e-12)
    assert (mixture >= 0).all()
    assert mixture[index] == share


def test_a_mixture_of_one_domain_alone_is_diluted_as_the_prior_would():
    alone, prior = np.array([1.0, 0.0, 0.0]), np.array([0.2, 0.6, 0.2])
    (mixture,) = varied(alone, prior, 0, np.array([0.6]))
    assert mixture == pytest.approx([0.6, 0.3, 0.1])


def test_without_a_prior_elsewhere_the_rest_is_equal():
    alone = np.array([1.0, 0.0, 0.0])
    (mixture,) = varied(alone, alone, 0, np.array([0.6]))
    assert mixture == pytest.approx([0.6, 0.2, 0.2])


def test_a_study_of_one_domain_has_one_mixture():
    assert varied(np.ones(1), np.ones(1), 0, np.array([0.2, 1.0])).tolist() == [[1.0], [1.0]]


def test_a_slice_is_what_the_model_predicts_between_the_bounds(page):
    found = {s.domain: s for s in effect_slices(domains(0.05, 0.8), WEIGHTS, page.model)}
    web = found["web"]
    assert (len(web.share), web.share[0], web.share[-1]) == (POINTS, 0.05, 0.8)
    at_upper = np.array([[0.8, 0.16, 0.04]])
    expected = page.model.predict_objective(at_upper)
    assert web.mean[-1] == pytest.approx(expected.mean[0])
    assert web.lower[-1] == pytest.approx(expected.lower[0])
    assert web.upper[-1] == pytest.approx(expected.upper[0])
    assert web.at_recommended == pytest.approx((1.905, 2.005, 2.105))
    column = page.model.mixtures[:, 0]
    assert web.sampled == (column.min(), column.max())


def test_slices_come_with_the_largest_effect_first(page):
    effects = [s.effect for s in effect_slices(domains(), WEIGHTS, page.model)]
    assert effects == sorted(effects, reverse=True)
    assert effects[0] > effects[-1]


def test_the_effect_counts_only_shares_that_are_near_and_were_tried(page):
    web = next(s for s in effect_slices(domains(), WEIGHTS, page.model) if s.domain == "web")
    counted = (np.abs(web.share - 0.5) <= 0.25) & web.is_sampled
    assert 0 < counted.sum() < POINTS
    assert web.effect == pytest.approx(np.ptp(web.mean[counted]))


def test_all_pictures_have_one_vertical_scale(page):
    found = effect_slices(domains(), WEIGHTS, page.model)
    ranges = {tuple(p.picture["layout"]["yaxis"]["range"]) for p in slice_panels(found)}
    (found_range,) = ranges
    assert found_range == tuple(objective_range(found))
    near = [mean for s in found for mean in s.mean[np.abs(s.share - s.recommended) <= 0.25]]
    assert found_range[0] < 1.905
    assert found_range[1] > max(2.105, *near)


def test_a_picture_marks_prior_and_recommendation(page):
    found = effect_slices(domains(), WEIGHTS, page.model)
    panel = next(p for p in slice_panels(found) if p.title == "code")
    line = next(s for s in panel.picture["layout"]["shapes"] if s["type"] == "line")
    marker = panel.picture["data"][-1]
    assert line["x0"] == line["x1"] == pytest.approx(0.3**0.5, abs=1e-5)
    assert marker["x"][0] == pytest.approx(0.4**0.5, abs=1e-5)
    assert marker["y"][0] == pytest.approx(2.005)


def test_shares_that_were_not_tried_are_grey(page):
    found = effect_slices(domains(), WEIGHTS, page.model)
    for effect_slice, panel in zip(found, slice_panels(found), strict=True):
        grey = [s for s in panel.picture["layout"]["shapes"] if s["type"] == "rect"]
        low, high = (x**0.5 for x in effect_slice.sampled)
        assert grey[0]["x1"] == pytest.approx(low, abs=1e-4)
        assert grey[-1]["x0"] == pytest.approx(high, abs=1e-4)


def test_a_hundred_domains_give_a_table_of_all_and_pictures_of_some(page):
    many = [Domain(f"d{i}", None, 0.01) for i in range(100)]

    class Flat:
        mixtures = np.full((4, 100), 0.01)

        def predict_objective(self, mixtures):
            return page.model.predict_objective(mixtures[:, :3])

    found = effect_slices(many, np.full(100, 0.01), Flat())
    assert len(slice_rows(found)) == 100
    assert len(slice_panels(found)) == MOST_SLICES


def test_a_domain_that_cannot_move_has_a_row_and_no_picture(page):
    frozen = [Domain("web", None, 0.6, 0.5, 0.5), *domains()[1:]]
    found = effect_slices(frozen, WEIGHTS, page.model)
    assert len(slice_rows(found)) == 3
    assert sorted(panel.title for panel in slice_panels(found)) == ["books", "code"]


def test_a_study_that_cannot_move_has_no_pictures(page):
    frozen = [Domain(d.name, None, d.prior, d.prior, d.prior) for d in domains()]
    assert slice_panels(effect_slices(frozen, WEIGHTS, page.model)) == []


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 0.3), (0.2, 0.21), (0.0, 1e-3)])
def test_a_share_axis_has_at_least_two_ticks_inside_its_bounds(low, high):
    found = ticks(low, high)
    assert len(found) >= 2
    assert all(low <= share <= high for share in found)
