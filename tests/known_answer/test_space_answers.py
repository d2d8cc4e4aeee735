"""What a study's space computes is what the papers' algorithms do."""

import json
from pathlib import Path

import numpy as np
import pytest
from geometry_cases import LawModel, make_runs

from mixwright.constraints import compile_constraints
from mixwright.quality.quadmix import parameters_at
from mixwright.recommend import recommend
from mixwright.spaces import space_from
from mixwright.study import Domain, Fidelity, Metric, Study

ANSWERS = Path(__file__).parents[3] / "shared" / "known_answers" / "offline_known_answers.json"
pytestmark = pytest.mark.skipif(not ANSWERS.exists(), reason=f"no known answers at {ANSWERS}")


@pytest.fixture(scope="module")
def answers():
    return json.loads(ANSWERS.read_text())


def _study(document, domains):
    space = space_from(document, domains)
    fidelities, metrics = (Fidelity("1m"),), (Metric("loss"),)
    coordinates = space.coordinates(domains)
    return Study(coordinates, metrics, np.ones(1), fidelities, "1m", space=space)


class Bowl(LawModel):
    def objective_mean(self, mixtures):
        return ((mixtures - np.array([0.1, 0.2, 0.3, 0.4])) ** 2).sum(axis=1)


def test_the_mean_of_the_best_weights_of_raters(answers):
    known = answers["topk_mean_proposer"]
    domains = [Domain("web", None, 1.0)]
    study = _study({"kind": "meta_rater", "raters": ["a", "b", "c", "d"]}, domains)
    tried = np.random.default_rng(1).dirichlet(np.ones(4), 20)
    model = Bowl(np.empty(0), np.empty(0), tried)
    runs = make_runs(tried, np.zeros(20))
    polytope = compile_constraints(study)
    found = recommend(study, polytope, model, runs, method="regmix", candidates=50_000, seed=0)
    np.testing.assert_allclose(found.weights, known["mean"], rtol=1e-6)
    assert known["k"] == study.space.top_k


@pytest.mark.parametrize("steepness", ["linear", "log"])
def test_drawn_parameters_are_described_as_they_are(answers, steepness):
    known = answers["quadmix_param_sampling"]
    given = (known["a"], [known["b"]], [known["u_lambda_omega_eta_eps"]])
    drawn = parameters_at(*(np.array(one) for one in given), steepness=steepness)
    raters = [f"rater {i}" for i in range(drawn.rater_weights.shape[1])]
    document = {"kind": "quadmix", "raters": raters, "steepness": steepness}
    study = _study(document, [Domain("web", 1e9, 1.0)])
    space = study.space
    point = space.canonical(space.encode(space.vectors.encode(drawn)[None]))[0]
    theta = space.describe(study, point)["web"]
    np.testing.assert_allclose(list(theta["rater_weights"].values()), known["alpha_m"], rtol=1e-6)
    wanted = known["lambda_if_log_uniform_reading"] if steepness == "log" else known["lambda"]
    assert theta["lambda"] == pytest.approx(wanted, rel=1e-6)
    for name in ("omega", "eta", "epsilon"):
        assert theta[name] == pytest.approx(known[name], rel=1e-6)
    shares = point[len(raters) :: 2] * 5
    wanted = known["u_lambda_omega_eta_eps"]
    np.testing.assert_allclose(shares, wanted, rtol=1e-9)
