"""The exact proposer on a problem small enough for a grid search.

The solutions were computed apart from this code, by SciPy's SLSQP and by a grid of step 0.0025.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from geometry_cases import LawModel, make_runs, make_study

from mixwright.constraints import compile_constraints
from mixwright.recommend import recommend
from mixwright.simplex import kl_divergence

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/offline_known_answers.json"


@pytest.fixture(scope="module")
def problem():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    return json.loads(ANSWERS.read_text())["olmix_exact"]


@pytest.mark.parametrize(
    ("name", "strength", "is_capped"),
    [
        ("kl0", 0.0, False),
        ("kl0.05", 0.05, False),
        ("kl0.1", 0.1, False),
        ("kl0.1_caps", 0.1, True),
    ],
)
def test_the_exact_method_finds_the_published_optimum(problem, name, strength, is_capped):
    prior, expected = np.array(problem["prior"]), problem["solutions"][name]
    study = make_study(3, prior=prior, upper=problem["caps"] if is_capped else 1.0)
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    model = LawModel(np.array(problem["A"]), np.array(problem["metric_weights"]), mixtures)
    runs = make_runs(mixtures, np.zeros(20))
    found = recommend(
        study,
        compile_constraints(study),
        model,
        runs,
        method="exact",
        kl_to_prior=strength,
    ).weights
    np.testing.assert_allclose(found, expected["x"], atol=problem["tol"])
    value = model.objective_mean(found[None])[0] + strength * kl_divergence(found, prior)
    assert value == pytest.approx(expected["obj"], abs=1e-7)
