"""The mean of the top 128 of 50,000 uniform candidates under a quadratic predictor."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from geometry_cases import LawModel, make_runs, make_study

from mixwright.constraints import compile_constraints
from mixwright.recommend import recommend

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/offline_known_answers.json"


@dataclass(frozen=True)
class Bowl(LawModel):
    def objective_mean(self, mixtures):
        return ((mixtures - np.array([0.1, 0.2, 0.3, 0.4])) ** 2).sum(axis=1)


def test_the_mean_of_the_top_k():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    known = json.loads(ANSWERS.read_text())["topk_mean_proposer"]
    mixtures = np.random.default_rng(1).dirichlet(np.ones(4), 20)
    study = make_study(4, prior=np.ones(4))  # the answer is for Dirichlet(1, 1, 1, 1)
    found = recommend(
        study,
        compile_constraints(study),
        Bowl(np.empty(0), np.empty(0), mixtures),
        make_runs(mixtures, np.zeros(20)),
        method="regmix",
        candidates=50_000,
        top_k=known["k"],
        seed=0,
    )
    np.testing.assert_allclose(found.weights, known["mean"], rtol=1e-6)
