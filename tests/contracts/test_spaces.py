"""Every parameter space must pass all of these; listing it in the registry tests it."""

import json
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixwright.spaces as package
from mixwright.bayesopt.suggesting import candidates
from mixwright.constraints import compile_constraints
from mixwright.fitting import fit_study
from mixwright.model import MixtureModel
from mixwright.recommend import RECOMMENDERS, recommend
from mixwright.spaces import SPACES, space_from
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study
from mixwright.surrogates import SURROGATES

PARTS = {"base", "implied_mixture", "significant", "trades"}  # modules that are no spaces
RATERS = {"raters": ["edu", "a/b"]}
DOCUMENTS = {
    "mixture": {"kind": "mixture"},
    "meta_rater": {"kind": "meta_rater", "raters": ["edu", "dclm", "a/b"]},
    "quadmix": {"kind": "quadmix", **RATERS},
    "quadmix, log": {"kind": "quadmix", **RATERS, "steepness": "log"},
    "quadmix, odd limits": {
        "kind": "quadmix",
        **RATERS,
        "limits": {"lambda": 1e6 / 3, "omega": 2 / 3, "epsilon": 1 / 7},
    },
    "quadmix, one rater": {"kind": "quadmix", "raters": ["edu"]},
}


def make_study(document, tokens=1e9):
    domains = [Domain(name, tokens, 1 / 3) for name in ("web", "code/py", "math")]
    space = space_from(document, domains)
    return Study(
        domains=space.coordinates(domains),
        metrics=(Metric("loss"),),
        objective=np.ones(1),
        fidelities=(Fidelity("1m"), Fidelity("1b")),
        target_fidelity="1m",
        space=space,
    )


@pytest.fixture(params=sorted(DOCUMENTS))
def study(request):
    return make_study(DOCUMENTS[request.param])


def points_of(study, count=40, seed=0):
    """Points from everything that makes some: draws, spread, steps, designs and blends."""
    space, polytope, rng = study.space, compile_constraints(study), np.random.default_rng(seed)
    spread = space.spread(polytope, count, rng)
    made = [
        space.draw(study, polytope, count, rng),
        spread,
        space.steps(polytope, spread[0], spread, 0.3, count, rng),
        *(design(study, polytope, count, seed) for design in space.designs.values()),
        np.vstack([*space.baselines(study).values(), study.prior]),
    ]
    every = np.vstack(made)
    weights = rng.dirichlet(np.ones(len(every)), count)
    return np.vstack([every, weights @ every, (every + every[::-1]) / 2])


def test_every_module_is_registered():
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert modules - PARTS == set(SPACES)
    assert all(kind == space.kind for kind, space in SPACES.items())
    assert {document["kind"] for document in DOCUMENTS.values()} == set(SPACES)


def test_whatever_makes_points_makes_points_of_the_space(study):
    polytope, points = compile_constraints(study), points_of(study)
    assert study.space.contains(polytope, points).all()
    assert study.space.contains(polytope, study.space.canonical(points)).all()
    assert len(points) > 100


def test_what_is_off_the_simplices_is_outside(study):
    polytope, points = compile_constraints(study), points_of(study, 5)
    for row in points:
        moved = row.copy()
        moved[0] += 1e-3
        assert not study.space.contains(polytope, moved[None])[0]
        last = moved - 1e-3 * (np.arange(len(row)) == len(row) - 1)  # another simplex pays
        is_one_simplex = study.space.is_simplex
        assert study.space.contains(polytope, last[None])[0] == (is_one_simplex and last[-1] >= 0)


def test_describing_and_reading_give_the_same_bits(study):
    for point in study.space.canonical(points_of(study)):
        document = json.loads(json.dumps(study.space.describe(study, point)))
        assert list(study.space.wrong_parts(study, document)) == []
        again = study.space.parse(study, document)
        np.testing.assert_array_equal(again, point)
        assert study.space.describe(study, again) == document


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(DOCUMENTS)), st.integers(0, 2**32 - 1))
def test_canonical_points_stay_as_they_are(name, seed):
    study = make_study(DOCUMENTS[name])
    points = study.space.canonical(points_of(study, 4, seed))
    np.testing.assert_array_equal(study.space.canonical(points), points)
    rounding = 1e-15 if name == "mixture" else 1e-12
    np.testing.assert_allclose(points, points_of(study, 4, seed), atol=rounding)


def test_designs_are_canonical_and_reproducible(study):
    polytope = compile_constraints(study)
    for design in study.space.designs.values():
        first = design(study, polytope, 20, 7)
        np.testing.assert_array_equal(first, design(study, polytope, 20, 7))
        np.testing.assert_array_equal(first, study.space.canonical(first))
        assert len(np.unique(first, axis=0)) == 20
        assert not np.array_equal(first, design(study, polytope, 20, 8))


def test_candidates_of_bayesian_optimisation_are_canonical_points(study):
    polytope = compile_constraints(study)
    found = candidates(polytope, None, 3, study.space)
    assert study.space.contains(polytope, found).all()
    np.testing.assert_array_equal(found, study.space.canonical(found))
    np.testing.assert_array_equal(found, candidates(polytope, None, 3, study.space))


def test_the_coordinates_have_different_names_and_sum_to_one(study):
    assert len(set(study.domain_names)) == len(study.domains)
    assert abs(study.prior.sum() - 1) < 1e-12
    assert study.space.contains(compile_constraints(study), study.prior[None])[0]


def test_every_wrong_part_is_named(study):
    document = study.space.describe(study, study.prior)
    first = next(iter(document))
    for bad in (-1.0, float("nan"), "much", None, [], True):
        if isinstance(bad, float) or study.space.field == "parameters":
            places = [
                place for place, _ in study.space.wrong_parts(study, {**document, first: bad})
            ]
            assert places
    others = {"nowhere": 1.0, **{name: value for name, value in document.items() if name != first}}
    places = {place[0] for place, _ in study.space.wrong_parts(study, others)}
    assert places == {"nowhere", first}


@pytest.fixture(scope="module")
def runs_of():
    kept = {}

    def make(kind):
        if kind not in kept:
            study = make_study(DOCUMENTS[kind])
            design = next(iter(study.space.designs.values()))
            points = design(study, compile_constraints(study), 64, 1)
            slopes = np.random.default_rng(2).normal(size=points.shape[1])
            along = (points - points.mean(axis=0)) @ slopes
            along /= along.std()
            values = 3 + along + 0.2 * along**2
            ids = tuple(f"run_{i}" for i in range(len(points)))
            kept[kind] = (
                study,
                CompletedRuns(points, values[:, None], np.array(["1m"] * len(points)), ids),
            )
        return kept[kind]

    return make


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
@pytest.mark.parametrize("kind", sorted(SPACES))
def test_every_surrogate_learns_in_every_space(runs_of, kind, surrogate):
    if surrogate in ("lightgbm", "ensemble"):
        pytest.importorskip("lightgbm")
    study, runs = runs_of(kind)
    model, report = fit_study(study, runs, surrogate=surrogate)
    again = MixtureModel.from_bytes(model.to_bytes())
    queries = points_of(study, 10)
    np.testing.assert_array_equal(again.objective_mean(queries), model.objective_mean(queries))
    assert np.isfinite(model.objective_mean(queries)).all()
    assert report.objective.spearman > 0.3


@pytest.mark.parametrize("method", sorted(RECOMMENDERS))
@pytest.mark.parametrize("kind", sorted(SPACES))
def test_every_method_that_a_space_has_recommends_a_point_of_it(runs_of, kind, method):
    if (method == "exact" and kind == "quadmix") or (method == "evolve" and kind != "quadmix"):
        pytest.skip("the space has no such method")
    study, runs = runs_of(kind)
    polytope = compile_constraints(study)
    model, _ = fit_study(study, runs, surrogate="linear")
    pool = runs.mixtures[:5] if method == "pool" else None
    found = recommend(study, polytope, model, runs, method=method, candidates=20_000, pool=pool)
    assert study.space.contains(polytope, found.weights[None])[0]
    answer = found.to_json(study)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert list(study.space.wrong_parts(study, answer[study.space.field])) == []
    assert set(answer["baselines"]) == {*study.space.baselines(study), "best_observed"}
    means = [one["objective"]["mean"] for one in answer["baselines"].values()]
    if method not in ("pool", "best_observed"):
        assert found.chosen.objective["mean"] < min(means)
