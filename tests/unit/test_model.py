import subprocess
import sys

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.model import MixtureModel
from mixwright.surrogates import SURROGATES, build_surrogate
from mixwright.surrogates.base import Prediction

MIXTURES = np.random.default_rng(0).dirichlet(np.ones(3), 60)
VALUES = np.column_stack([1 + MIXTURES[:, 0] ** 2, 2 - MIXTURES[:, 1], 3 * MIXTURES[:, 2] + 1])


class Known:
    """Predicts fixed numbers, so that the test is about the model around it."""

    is_differentiable = is_convex = False

    def predict(self, mixtures):
        mean = np.tile([10.0, 20.0], (len(mixtures), 1))
        return Prediction(mean, np.tile([1.0, 3.0], (len(mixtures), 1)))


def make_model(fitted, kind="linear", columns=(0, 1, 2), **changes):
    fields = {
        "kind": kind,
        "fitted": fitted,
        "fitted_metrics": np.array(columns),
        "mixtures": MIXTURES,
        "objective": np.array([1.0, 0.5, 0.25]),
        "signs": np.ones(3),
        "multipliers": np.full(len(columns), 2.0),
        "objective_multiplier": 2.0,
    }
    return MixtureModel(**{**fields, **changes})


def fitted_model(kind, **changes):
    return make_model(build_surrogate(kind, {}).fit(MIXTURES, VALUES, 0), kind, **changes)


def test_intervals_are_multiples_of_the_standard_deviation_in_the_metric_as_measured():
    model = make_model(
        Known(), columns=(0, 2), signs=np.array([1.0, 1.0, -1.0]), multipliers=np.array([2.0, 1.0])
    )
    predicted = model.predict(MIXTURES[:1])
    np.testing.assert_array_equal([[10, np.nan, -20]], predicted.mean)
    np.testing.assert_array_equal([[8, np.nan, -23]], predicted.lower)
    np.testing.assert_array_equal([[12, np.nan, -17]], predicted.upper)


def test_the_objective_adds_oriented_metrics_and_their_variances():
    model = make_model(Known(), columns=(0, 2), objective=np.array([3.0, 0.0, 4.0]))
    predicted = model.predict_objective(MIXTURES[:1])
    half = 2.0 * np.hypot(3 * 1.0, 4 * 3.0)
    np.testing.assert_allclose([110.0], predicted.mean)
    np.testing.assert_allclose([110.0 - half], predicted.lower)
    np.testing.assert_allclose([110.0 + half], predicted.upper)


def test_the_objective_of_many_mixtures_is_that_of_each():
    model = fitted_model("share_power")
    many = np.random.default_rng(1).dirichlet(np.ones(3), 70_000)
    some = [0, 32_767, 32_768, 69_999]
    np.testing.assert_allclose(
        model.predict_objective(many[some]).mean, model.objective_mean(many)[some], rtol=1e-12
    )


@pytest.mark.parametrize("kind", ["linear", "log_linear", "share_power", "gp", "auto"])
def test_the_objective_gradient_is_that_of_its_mean(kind):
    model = fitted_model(kind)
    points, step = MIXTURES[:4] * 0.7 + 0.1, 1e-6
    slopes = [
        (model.objective_mean(points + shift) - model.objective_mean(points - shift)) / (2 * step)
        for shift in np.eye(3) * step
    ]
    np.testing.assert_allclose(
        np.transpose(slopes), model.objective_gradient(points), rtol=1e-4, atol=1e-6
    )


def test_trees_have_no_gradient():
    model = fitted_model("lightgbm")
    assert not model.is_differentiable
    with pytest.raises(InvalidInputError, match="'lightgbm' has no gradient"):
        model.objective_gradient(MIXTURES)


@pytest.mark.parametrize(("kind", "convex"), [("share_power", True), ("gp", False)])
def test_convexity_needs_a_convex_law_and_weights_that_are_not_negative(kind, convex):
    assert fitted_model(kind).is_convex is convex
    assert not fitted_model(kind, objective=np.array([1.0, -0.5, 0.0])).is_convex


@pytest.mark.parametrize("kind", sorted(SURROGATES))
def test_a_round_trip_through_bytes_changes_no_bit(kind):
    model = fitted_model(kind)
    again = MixtureModel.from_bytes(model.to_bytes())
    assert model.to_bytes() == again.to_bytes()
    for part in ("mean", "lower", "upper"):
        np.testing.assert_array_equal(
            getattr(model.predict(MIXTURES), part), getattr(again.predict(MIXTURES), part)
        )
    np.testing.assert_array_equal(model.objective_mean(MIXTURES), again.objective_mean(MIXTURES))
    np.testing.assert_array_equal(model.mixtures, again.mixtures)


def test_a_stored_model_of_another_format_is_refused(monkeypatch):
    monkeypatch.setattr("mixwright.model._FORMAT", "mixwright-model/0")
    data = fitted_model("linear").to_bytes()
    monkeypatch.undo()
    with pytest.raises(InvalidInputError, match="mixwright-model/0"):
        MixtureModel.from_bytes(data)


def test_predicting_from_stored_trees_needs_no_training_library(tmp_path):
    (tmp_path / "model").write_bytes(fitted_model("lightgbm").to_bytes())
    script = (
        "import sys, pathlib\n"
        "for name in ('lightgbm', 'sklearn', 'torch', 'botorch'): sys.modules[name] = None\n"
        "from mixwright.model import MixtureModel\n"
        "model = MixtureModel.from_bytes(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(model.predict(model.mixtures[:1]).mean.shape)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 3)", done.stderr
