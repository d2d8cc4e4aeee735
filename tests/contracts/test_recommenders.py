"""Every recommendation method must pass all of these; listing it in the registry tests it."""

import json
import pkgutil

import numpy as np
import pytest
from geometry_cases import (
    SEEDS,
    TwoWells,
    make_runs,
    make_study,
    random_law,
    reorder_study,
)
from hypothesis import given, settings

import mixwright.recommend as package
from mixwright.constraints import compile_constraints, is_feasible
from mixwright.recommend import RECOMMENDERS, recommend

K = 5
KEYS = {
    "method",
    "weights",
    "objective",
    "metrics",
    "baselines",
    "feasible",
    "inside_hull",
    "active_constraints",
    "epochs",
    "warnings",
}


OF_MIXTURES = sorted(set(RECOMMENDERS) - {"evolve"})  # which is for QuaDMix


@pytest.fixture(params=OF_MIXTURES)
def method(request):
    return request.param


def make_case(seed=0, cap=0.45):
    """A capped study with a linear constraint, its runs, and a pool; some of each infeasible."""
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(K, 3.0))
    study = make_study(
        K,
        prior=prior,
        tokens=[1e9, 2e9, None, 4e9, 5e9],
        repetition=(1e10, 4.0),
        upper=cap,
        linear=[([1, 1, 0, 0, 0], 0.05, 0.9)],
    )
    mixtures = rng.dirichlet(np.ones(K), 40)
    mixtures[0] = 1 / K
    return study, random_law(seed, K), make_runs(mixtures, rng.normal(size=40)), mixtures


def run(method, case, **options):
    study, model, runs, pool = case
    return recommend(
        study,
        compile_constraints(study),
        model,
        runs,
        method=method,
        candidates=2000,
        top_k=16,
        pool=pool if method == "pool" else None,
        **options,
    )


def test_every_module_is_registered():
    shared = {"base", "evidence", "recommendation"}
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)} - shared
    assert modules == set(RECOMMENDERS)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_weights_sum_to_one_and_satisfy_the_constraints(seed):
    case = make_case(seed)
    for method in OF_MIXTURES:
        found = run(method, case)
        assert abs(found.weights.sum() - 1) <= 1e-9
        assert is_feasible(compile_constraints(case[0]), found.weights[None], 1e-9)[0]
        assert found.chosen.feasible


def test_equal_seeds_give_equal_recommendations(method):
    first, second = (run(method, make_case(), seed=3).to_json(make_case()[0]) for _ in range(2))
    assert first == second


def test_the_answer_is_plain_json_with_the_promised_fields(method):
    case = make_case()
    answer = run(method, case).to_json(case[0])
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert set(answer) - {"ranking"} == KEYS
    assert ("ranking" in answer) == (method == "pool")
    assert set(answer["weights"]) == set(case[0].domain_names)
    assert set(answer["metrics"]) == {"loss"}
    assert set(answer["baselines"]) == {"prior", "uniform", "best_observed"}


def test_the_order_of_domains_does_not_matter(method):
    study, model, runs, pool = make_case(4)
    order = np.array([3, 0, 4, 1, 2])
    shuffled = (
        reorder_study(study, order),
        type(model)(model.rates[:, order], model.scale, model.mixtures[:, order]),
        make_runs(runs.mixtures[:, order], runs.values),
        pool[:, order],
    )
    expected = run(method, (study, model, runs, pool)).weights[order]
    np.testing.assert_allclose(run(method, shuffled).weights, expected, atol=1e-6)


def test_the_order_of_domains_does_not_matter_where_there_are_several_optima():
    study, _, runs, _ = make_case(4)
    order = np.array([3, 0, 4, 1, 2])
    # Both wells are at the same domains, wherever those stand.
    wells = TwoWells(np.empty(0), np.empty(0), runs.mixtures)

    class Shuffled(TwoWells):
        def objective_mean(self, mixtures):
            return wells.objective_mean(mixtures[:, np.argsort(order)])

        def objective_gradient(self, mixtures):
            return wells.objective_gradient(mixtures[:, np.argsort(order)])[:, order]

    moved = Shuffled(np.empty(0), np.empty(0), runs.mixtures[:, order])
    expected = run("exact", (study, wells, runs, None)).weights[order]
    reordered = reorder_study(study, order)
    actual = run("exact", (reordered, moved, make_runs(moved.mixtures, runs.values), None))
    np.testing.assert_allclose(actual.weights, expected, atol=1e-6)


def test_what_is_handed_in_is_left_alone(method):
    case = make_case()
    _, model, runs, pool = case
    before = runs.mixtures.copy(), pool.copy(), model.mixtures.copy()
    run(method, case)
    for expected, actual in zip(before, (runs.mixtures, pool, model.mixtures), strict=True):
        np.testing.assert_array_equal(actual, expected)
