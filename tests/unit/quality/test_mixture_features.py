"""What surrogates see of θ beside θ: the mixture that it implies."""

from dataclasses import replace

import numpy as np
import pytest
from quality_cases import raters_of, scored_documents

from mixwright.constraints import compile_constraints
from mixwright.fitting import fit_study
from mixwright.model import MixtureModel
from mixwright.quality.implied import fit_function, implied
from mixwright.recommend import recommend
from mixwright.spaces import space_from
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

NAMES, TOKENS = ("web", "code", "math"), np.array([6e9, 3e9, 1e9])
RATERS = ["edu", "perplexity"]


def make_study(tokens=TOKENS, **space):
    domains = [Domain(name, one, 1 / 3) for name, one in zip(NAMES, tokens, strict=True)]
    made = space_from({"kind": "quadmix", "raters": RATERS, **space}, domains)
    coordinates, fidelity = made.coordinates(domains), (Fidelity("1m"),)
    return Study(coordinates, (Metric("loss"),), np.ones(1), fidelity, "1m", space=made)


def draws(study, count, seed=0):
    return study.space.draw(study, compile_constraints(study), count, np.random.default_rng(seed))


def shares(study, points):
    tokens = study.space.vectors.expected_tokens(study.space.decode(points), TOKENS)
    return tokens / tokens.sum(axis=1, keepdims=True)


def make_runs(study, count=120):
    """Runs whose loss is the share of `web`, and nothing else."""
    points = study.space.canonical(draws(study, count))
    ids = tuple(f"run_{i}" for i in range(count))
    return CompletedRuns(points, shares(study, points)[:, :1], np.array(["1m"] * count), ids)


@pytest.mark.parametrize("steepness", ["linear", "log"])
def test_features_are_what_a_function_selects_of_documents(steepness):
    limits = {"omega": 0.4, "epsilon": 0.05}
    study = make_study(steepness=steepness, limits=limits)
    documents = scored_documents(30_000, 3, 0)  # 10,000 a domain: ranks within a hundredth
    for point in draws(study, 5):
        parameters = study.space.vectors.decode(study.space.decode(point[None])[0])
        function = fit_function(raters_of(documents), NAMES, parameters, documents)
        told = implied(function, documents, TOKENS)
        seen = 3 * study.space.features.beside(point[None])[0]
        np.testing.assert_array_equal(seen[: len(point)], 3 * (point / 3))
        np.testing.assert_allclose(seen[len(point) : -2], told.mixture, rtol=0.03)
        np.testing.assert_allclose(seen[-2], told.tokens.sum() / 3e10, rtol=0.02)


def test_features_lie_on_a_simplex_however_many_are_asked_for():
    study = make_study()
    points = draws(study, 4_001)
    seen = study.space.features.beside(points)
    np.testing.assert_allclose(seen.sum(axis=1), 1, atol=1e-12)
    assert (seen >= 0).all()
    np.testing.assert_array_equal(seen[-1:], study.space.features.beside(points[-1:]))
    assert study.space.features.beside(points[:0]).shape == (0, seen.shape[1])


def test_a_law_of_shares_is_learned_from_what_is_implied():
    """Least squares on θ alone cannot: the share of a domain depends on all of θ at once."""
    study, blind = make_study(), make_study([6e9, None, 1e9])
    assert blind.space.features is None
    queries = draws(study, 200, 1)
    errors = []
    for one in (study, blind):
        model, _ = fit_study(one, make_runs(study), surrogate="linear")
        errors.append(np.abs(model.objective_mean(queries) - shares(study, queries)[:, 0]).max())
    assert errors[0] < 1e-6
    assert errors[1] > 0.05


def test_a_stored_model_keeps_the_tokens_it_was_fitted_with():
    study = make_study()
    model, _ = fit_study(study, make_runs(study), surrogate="linear")
    again = MixtureModel.from_bytes(model.to_bytes())
    queries = draws(study, 20, 1)
    np.testing.assert_array_equal(again.objective_mean(queries), model.objective_mean(queries))
    np.testing.assert_array_equal(again.features.available, TOKENS)
    other = replace(model, features=make_study(TOKENS[::-1]).space.features)
    assert np.abs(other.objective_mean(queries) - model.objective_mean(queries)).max() > 0.05
    assert not model.is_differentiable
    assert not model.is_convex


def test_a_model_stored_before_there_were_features_is_read(monkeypatch):
    study = make_study([None] * 3)
    model, _ = fit_study(study, make_runs(make_study()), surrogate="linear")
    monkeypatch.setattr("mixwright.model._FORMAT", "mixwright-model/1")
    stored = model.to_bytes()
    monkeypatch.undo()
    again, queries = MixtureModel.from_bytes(stored), draws(study, 20, 1)
    np.testing.assert_array_equal(again.objective_mean(queries), model.objective_mean(queries))


def test_least_squares_need_runs_for_what_is_implied_too():
    known, unknown = make_study(), make_study([None] * 3)
    assert known.space.freedom(known) == unknown.space.freedom(unknown) + 3


def test_a_prediction_that_a_run_beats_is_recommended_with_a_warning():
    study, runs = make_study(), make_runs(make_study())
    lucky = replace(runs, values=np.where(np.arange(120)[:, None] == 7, -1.0, runs.values))
    polytope = compile_constraints(study)
    for measured, count in ((runs, 0), (lucky, 1)):
        model, _ = fit_study(study, runs, surrogate="linear")
        found = recommend(study, polytope, model, measured, method="evolve")
        about = [one for one in found.warnings if "run run_7 measured -1" in one]
        assert len(about) == count
