import numpy as np

from app.report.calibration import MOST_POINTS, MOST_POINTS_IN_ALL, panels

METRICS = ("loss", "accuracy")


def series(count, missing=()):
    observed = [None if i in missing else float(i) for i in range(count)]
    predicted = [float(i) for i in range(count)]
    return {
        "observed": observed,
        "predicted": predicted,
        "lower": [value - 0.5 for value in predicted],
        "upper": [value + 0.5 for value in predicted],
    }


def shown(panel):
    return sum(len(trace["x"]) for trace in panel["picture"]["data"][1:])


def labels(panel):
    return sorted(row[0] for trace in panel["picture"]["data"][1:] for row in trace["customdata"])


def test_the_objective_comes_first_and_every_metric_has_a_panel(page):
    found = panels(METRICS, page.fit_report, np.arange(8))
    assert [panel["name"] for panel in found] == ["Objective", "loss", "accuracy"]


def test_the_caption_carries_the_statistics(page):
    assert panels(METRICS, page.fit_report, np.arange(8))[0]["caption"] == (
        "Objective: Spearman 0.930, R² 0.800, mean absolute error 0.0123, "
        "90 % intervals hold 87.5\xa0% of 8 runs"
    )


def test_undefined_statistics_are_dashes(page):
    page.fit_report["objective"] = dict.fromkeys(("spearman", "r2", "mae", "coverage")) | {
        "runs": 2
    }
    caption = panels(METRICS, page.fit_report, np.arange(8))[0]["caption"]
    assert caption.count("\N{EN DASH}") == 4


def test_points_are_told_apart_by_their_intervals(page):
    _, inside, outside = panels(METRICS, page.fit_report, np.arange(8))[0]["picture"]["data"]
    assert (len(inside["x"]), len(outside["x"])) == (7, 1)
    assert outside["customdata"][0][0] == 0


def test_values_agree_with_the_fit_report(page):
    panel = panels(METRICS, page.fit_report, np.arange(8))[1]
    points = {
        row[0]: (x, y)
        for trace in panel["picture"]["data"][1:]
        for row, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True)
    }
    columns = page.fit_report["out_of_fold"]["metrics"]["loss"]
    for index in range(8):
        expected = columns["observed"][index], columns["predicted"][index]
        assert np.allclose(points[index], expected, rtol=1e-5)


def test_runs_without_the_metric_are_left_out(page):
    page.fit_report["out_of_fold"]["objective"] = series(8, missing={1, 4})
    panel = panels(METRICS, page.fit_report, np.arange(100, 108))[0]
    assert labels(panel) == [100, 102, 103, 105, 106, 107]


def test_a_metric_that_was_not_fitted_has_no_panel(page):
    found = panels(("loss", "never measured", "accuracy"), page.fit_report, np.arange(8))
    assert [panel["name"] for panel in found] == ["Objective", "loss", "accuracy"]


def test_a_metric_without_held_out_values_has_no_picture(page):
    page.fit_report["out_of_fold"]["objective"] = series(8, missing=range(8))
    assert panels(METRICS, page.fit_report, np.arange(8))[0]["picture"] is None


def test_many_runs_are_thinned_and_the_panel_says_so(page):
    page.fit_report["out_of_fold"]["objective"] = series(5000)
    panel = panels(METRICS, page.fit_report, np.arange(5000))[0]
    assert shown(panel) == panel["shown"] == MOST_POINTS
    assert panel["note"] == "2000 of 5000 runs shown, evenly spread over the observed ranks."
    assert (labels(panel)[0], labels(panel)[-1]) == (0, 4999)


def test_many_metrics_share_the_points_of_a_page(page):
    names = [f"m{i}" for i in range(79)]
    page.fit_report["out_of_fold"]["metrics"] = dict.fromkeys(names, series(1300))
    page.fit_report["metrics"] = dict.fromkeys(names, page.fit_report["objective"])
    found = panels(names, page.fit_report, np.arange(1300))[1:]
    assert {shown(panel) for panel in found} == {MOST_POINTS_IN_ALL // 80}
