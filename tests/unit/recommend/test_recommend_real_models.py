"""Recommendations from fitted surrogates, not from fakes."""

import numpy as np
import pytest
from geometry_cases import make_runs, make_study

from mixwright.constraints import compile_constraints, is_feasible
from mixwright.errors import InvalidInputError
from mixwright.fitting import fit_study
from mixwright.model import MixtureModel
from mixwright.recommend import RECOMMENDERS, recommend

MIXTURES = np.random.default_rng(0).dirichlet(np.ones(4), 60)
RATES = np.array([-1.2, -0.4, 0.3, 0.6])
STUDY = make_study(4, upper=0.6)
RUNS = make_runs(MIXTURES, 2.0 + np.exp(MIXTURES @ RATES))


@pytest.fixture(scope="module", params=["linear", "log_linear", "share_power", "gp"])
def model(request):
    return fit_study(STUDY, RUNS, surrogate=request.param, fidelity="large")[0]


def run(method, model, **options):
    return recommend(
        STUDY,
        compile_constraints(STUDY),
        model,
        RUNS,
        method=method,
        candidates=3000,
        top_k=16,
        pool=MIXTURES[:20] if method == "pool" else None,
        **options,
    )


@pytest.mark.parametrize("method", sorted(set(RECOMMENDERS) - {"evolve"}))
def test_every_method_works_on_every_smooth_surrogate(model, method):
    found = run(method, model)
    assert is_feasible(compile_constraints(STUDY), found.weights[None])[0]
    baseline = found.baselines["prior"]
    assert found.chosen.objective["mean"] <= baseline.objective["mean"]


def test_the_minimum_is_no_worse_than_simulation(model):
    exact, simulated = run("exact", model), run("regmix", model)
    assert exact.chosen.objective["mean"] <= simulated.chosen.objective["mean"] + 1e-9


def test_the_planted_optimum_is_found(model):
    # The law falls fastest in d0, then d1: the cap of 0.6 and the rest.
    np.testing.assert_allclose(run("exact", model).weights, [0.6, 0.4, 0, 0], atol=0.02)


def test_a_stored_model_gives_the_same_recommendation(model):
    restored = MixtureModel.from_bytes(model.to_bytes())
    expected = run("exact", model, kl_to_prior=0.05).to_json(STUDY)
    assert run("exact", restored, kl_to_prior=0.05).to_json(STUDY) == expected


def test_trees_are_simulated_but_have_no_exact_minimum():
    model = fit_study(STUDY, RUNS, surrogate="lightgbm", fidelity="large")[0]
    found = run("regmix", model)
    assert found.weights[0] > 0.4
    with pytest.raises(InvalidInputError, match="use method regmix"):
        run("exact", model)
