import numpy as np
import pytest
from geometry_cases import (
    LawModel,
    TwoWells,
    box,
    make_runs,
    make_study,
    random_law,
)

from mixwright.constraints import compile_constraints
from mixwright.errors import InvalidInputError, NotEnoughRunsError, NotOnSimplexError
from mixwright.interior import find_centre
from mixwright.recommend import recommend

RUNS = make_runs(np.random.default_rng(0).dirichlet(np.ones(3), 30), np.arange(30.0))
TOWARDS_D0 = LawModel(np.array([[-1.0, 0.5, 1.0]]), np.ones(1), RUNS.mixtures)
WELLS = TwoWells(np.empty(0), np.empty(0), RUNS.mixtures)


def run(method, study=None, model=TOWARDS_D0, runs=RUNS, **options):
    study = make_study(3) if study is None else study
    return recommend(study, compile_constraints(study), model, runs, method=method, **options)


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(InvalidInputError, match="'best'; it must be one of regmix, exact"):
        run("best")


@pytest.mark.parametrize("strength", [-0.1, np.nan, np.inf])
def test_a_penalty_must_be_a_number_of_at_least_zero(strength):
    with pytest.raises(InvalidInputError, match="kl_to_prior"):
        run("exact", kl_to_prior=strength)


class TestRegmix:
    def test_the_mean_of_the_best_candidates_beats_the_prior(self):
        found = run("regmix", candidates=2000, top_k=32)
        answer = found.to_json(make_study(3))
        assert answer["objective"]["mean"] < answer["baselines"]["prior"]["objective"]["mean"]
        assert answer["objective"]["mean"] == TOWARDS_D0.objective_mean(found.weights[None])[0]

    def test_one_candidate_of_one_is_that_candidate(self):
        expected = np.random.default_rng(7).dirichlet(np.full(3, 1 / 3), 1)[0]
        found = run("regmix", candidates=1, top_k=1, seed=7)
        np.testing.assert_allclose(found.weights, expected, atol=1e-15)

    @pytest.mark.parametrize("top_k", [0, 101])
    def test_more_than_all_candidates_cannot_be_averaged(self, top_k):
        with pytest.raises(InvalidInputError, match=f"top_k is {top_k}"):
            run("regmix", candidates=100, top_k=top_k)

    def test_a_mean_between_two_optima_is_reported(self):
        equal = TwoWells(np.empty(0), np.empty(0), RUNS.mixtures)
        object.__setattr__(equal, "objective_mean", lambda w: -(w[:, 0] ** 2 + w[:, 1] ** 2))
        found = run("regmix", model=equal, candidates=3000, top_k=200)
        warning = next(w for w in found.warnings if "mean of the 200 best" in w)
        assert "worse than their average" in warning
        assert found.chosen.objective["mean"] > -0.9

    def test_a_mean_as_good_as_its_members_is_not_reported(self):
        found = run("regmix", candidates=2000, top_k=16)
        assert not any("mean of the" in warning for warning in found.warnings)

    def test_blocks_do_not_change_the_candidates(self, monkeypatch):
        expected = run("regmix", candidates=1000, top_k=20).weights
        monkeypatch.setattr("mixwright.recommend.regmix._BLOCK", 130)
        np.testing.assert_allclose(
            run("regmix", candidates=1000, top_k=20).weights, expected, atol=1e-15
        )

    def test_progress_rises_to_one(self):
        shares = []
        run("regmix", candidates=100, top_k=5, progress=shares.append)
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


class TestExact:
    def test_without_a_penalty_a_monotone_law_ends_in_a_corner(self):
        found = run("exact")
        np.testing.assert_allclose(found.weights, [1, 0, 0], atol=1e-9)

    def test_a_strong_penalty_keeps_the_prior(self):
        study = make_study(3, prior=[0.6, 0.3, 0.1])
        found = run("exact", study, kl_to_prior=1e4)
        np.testing.assert_allclose(found.weights, [0.6, 0.3, 0.1], atol=1e-3)

    def test_a_strong_penalty_keeps_the_prior_within_its_caps(self):
        study = make_study(3, prior=[0.6, 0.3, 0.1], upper=[0.4, 1, 1])
        found = run("exact", study, kl_to_prior=1e4)
        np.testing.assert_allclose(found.weights, [0.4, 0.45, 0.15], atol=1e-3)

    def test_a_penalty_keeps_every_domain_of_the_prior(self):
        study = make_study(3, prior=[0.6, 0.3, 0.1])
        assert (run("exact", study, kl_to_prior=0.2).weights > 0).all()

    def test_a_surrogate_without_gradient_is_refused_with_what_would_do(self):
        trees = LawModel(
            TOWARDS_D0.rates, TOWARDS_D0.scale, RUNS.mixtures, "lightgbm", False, False
        )
        with pytest.raises(InvalidInputError, match=r"lightgbm has none; use method regmix"):
            run("exact", model=trees)

    def test_the_deeper_of_two_wells_is_found_and_both_are_mentioned(self):
        # The prior lies in the shallower well.
        study = make_study(3, prior=[0.05, 0.9, 0.05])
        found = run("exact", study, model=WELLS)
        np.testing.assert_allclose(found.weights, [1, 0, 0], atol=1e-6)
        assert any("several optima" in warning for warning in found.warnings)

    def test_a_convex_objective_needs_no_such_warning(self):
        assert not any("optima" in warning for warning in run("exact").warnings)

    def test_shadow_prices_predict_what_relaxing_a_cap_brings(self):
        def capped(cap):
            return run("exact", make_study(3, upper=[cap, 1, 1]))

        found, step = capped(0.5), 1e-4
        active = {a["name"]: a for a in found.active_constraints}
        price = active["upper:d0"]["shadow_price"]
        saved = found.chosen.objective["mean"] - capped(0.5 + step).chosen.objective["mean"]
        assert price > 0.1
        assert saved / step == pytest.approx(price, rel=1e-3)

    def test_64_domains_with_caps_and_rows_reach_a_certified_minimum(self):
        rng = np.random.default_rng(0)
        prior = rng.dirichlet(np.full(64, 0.3))
        study = make_study(
            64,
            prior=prior,
            upper=3 / 64,
            linear=[(rng.random(64), 0.0, 0.5), (rng.random(64), 0.0, 0.6)],
        )
        model, polytope = random_law(1, 64), compile_constraints(study)
        runs = make_runs(model.mixtures, np.zeros(64))
        found = run("exact", study, model=model, runs=runs, kl_to_prior=0.01)
        centre = find_centre(polytope)

        def penalised(weights):
            used = weights > 0
            divergence = (weights * np.log(np.where(used, weights, 1) / prior))[used].sum()
            return model.objective_mean(weights[None])[0] + 0.01 * divergence

        best = penalised(found.weights)
        for share in (1e-3, 1e-2, 0.1, 1.0):
            assert best <= penalised((1 - share) * found.weights + share * centre) + 1e-12


class TestPool:
    POOL = np.array([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.95, 0.05, 0.0]])

    def test_the_best_of_the_pool_is_recommended_and_all_are_ranked(self):
        found = run("pool", pool=self.POOL)
        assert [place["index"] for place in found.ranking] == [2, 1, 0]
        np.testing.assert_allclose(found.weights, self.POOL[2])
        assert found.ranking[0]["objective"]["mean"] == found.chosen.objective["mean"]

    def test_an_infeasible_mixture_is_ranked_but_not_recommended(self):
        found = run("pool", make_study(3, upper=0.9), pool=self.POOL)
        np.testing.assert_allclose(found.weights, self.POOL[1])
        assert [place["index"] for place in found.ranking] == [2, 1, 0]
        assert any("1 of the 3 mixtures of the pool break" in w for w in found.warnings)

    def test_a_pool_of_infeasible_mixtures_is_refused(self):
        with pytest.raises(InvalidInputError, match="none of the 3"):
            run("pool", make_study(3, upper=0.5), pool=self.POOL)

    def test_there_must_be_a_pool(self):
        with pytest.raises(InvalidInputError, match="needs a pool"):
            run("pool")

    def test_a_pool_holds_mixtures(self):
        with pytest.raises(NotOnSimplexError, match=r"sum to 1\.2"):
            run("pool", pool=np.array([[0.4, 0.4, 0.4]]))

    def test_rounded_mixtures_are_normalised(self):
        found = run("pool", pool=np.array([[0.333, 0.333, 0.333]]))
        np.testing.assert_allclose(found.weights, 1 / 3, rtol=1e-12)

    def test_ranking_in_blocks_changes_nothing(self, monkeypatch):
        pool = np.random.default_rng(0).dirichlet(np.ones(3), 50)
        expected = run("pool", pool=pool).ranking
        monkeypatch.setattr("mixwright.recommend.evidence._RANKED_AT_ONCE", 7)
        assert run("pool", pool=pool).ranking == expected


class TestBestObserved:
    def test_the_lowest_objective_at_the_target_fidelity_wins(self):
        runs = make_runs(
            [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]],
            [3.0, 2.0, 1.0],
            ["large", "large", "small"],
        )
        found = run("best_observed", runs=runs)
        np.testing.assert_allclose(found.weights, [0.2, 0.5, 0.3])
        baseline = found.to_json(make_study(3))["baselines"]["best_observed"]
        assert (baseline["run_id"], baseline["observed"], baseline["fidelity"]) == (
            "r1",
            2.0,
            "large",
        )

    def test_without_a_target_run_another_fidelity_stands_in_and_is_named(self):
        runs = make_runs([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], [3.0, 2.0], "small")
        found = run("best_observed", runs=runs)
        assert any("best of 2 at small" in warning for warning in found.warnings)

    def test_a_run_without_every_metric_does_not_count(self):
        study = make_study(3, metrics=("a", "b"))
        runs = make_runs([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], [[1.0, np.nan], [2.0, 4.0]])
        model = LawModel(TOWARDS_D0.rates, np.ones(1), RUNS.mixtures)
        object.__setattr__(model, "predict", lambda w: model_of_two(model, w))
        found = run("best_observed", study, model=model, runs=runs)
        np.testing.assert_allclose(found.weights, [0.2, 0.5, 0.3])
        assert found.baselines["best_observed"].observed["observed"] == 3.0

    def test_a_better_run_outside_the_constraints_is_passed_over(self):
        runs = make_runs([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]], [1.0, 2.0])
        found = run("best_observed", make_study(3, upper=0.6), runs=runs)
        np.testing.assert_allclose(found.weights, [0.2, 0.5, 0.3])

    def test_runs_all_outside_the_constraints_are_refused(self):
        runs = make_runs([[0.8, 0.1, 0.1]], [1.0])
        with pytest.raises(InvalidInputError, match="none of the 1 runs at large"):
            run("best_observed", make_study(3, upper=0.6), runs=runs)

    def test_no_usable_run_is_not_enough(self):
        with pytest.raises(NotEnoughRunsError, match="every metric"):
            run("best_observed", runs=make_runs([[0.8, 0.1, 0.1]], [np.nan]))


def model_of_two(model, mixtures):
    mean = np.repeat(model.objective_mean(mixtures)[:, None], 2, axis=1)
    return type(model.predict_objective(mixtures))(mean=mean, lower=mean, upper=mean)


class TestEvidence:
    def test_infeasible_baselines_are_flagged_and_predicted_all_the_same(self):
        study = make_study(3, prior=[0.8, 0.1, 0.1], upper=[0.5, 1, 1])
        baselines = run("exact", study).to_json(study)["baselines"]
        assert baselines["prior"]["feasible"] is False
        assert baselines["uniform"]["feasible"] is True
        expected = TOWARDS_D0.objective_mean(np.array([[0.8, 0.1, 0.1]]))[0]
        assert baselines["prior"]["objective"]["mean"] == expected

    def test_without_a_usable_run_there_is_no_best_observed(self):
        found = run("exact", runs=make_runs([[0.8, 0.1, 0.1]], [np.nan]))
        assert found.to_json(make_study(3))["baselines"]["best_observed"] is None

    def test_a_mixture_outside_the_runs_is_flagged_and_warned_of(self):
        found = run("exact")
        assert found.chosen.inside_hull is False
        assert any("extrapolates" in warning for warning in found.warnings)
        inside = run("best_observed")
        assert inside.chosen.inside_hull is True
        assert not any("extrapolates" in warning for warning in inside.warnings)

    def test_epochs_count_the_repetition_target_and_are_null_where_unknown(self):
        study = make_study(3, tokens=[1e9, None, 4e9], repetition=(1e10, 20.0))
        found = run("pool", study, pool=np.array([[0.2, 0.3, 0.5]]))
        assert found.to_json(study)["epochs"] == {
            "d0": pytest.approx(2.0),
            "d1": None,
            "d2": pytest.approx(1.25),
        }
        assert any("unknown tokens: d1" in warning for warning in found.warnings)

    def test_epochs_are_null_without_a_target(self):
        study = make_study(3, tokens=[1e9, 1e9, 4e9])
        assert set(run("best_observed", study).to_json(study)["epochs"].values()) == {None}

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"kl_to_prior": 0.1}, "kl_to_prior has no effect"),
            ({"pool": np.eye(3)}, "pool has no effect"),
        ],
    )
    def test_a_setting_without_effect_is_mentioned(self, options, said):
        assert any(said in warning for warning in run("best_observed", **options).warnings)

    def test_a_prediction_that_is_not_known_is_null(self):
        model = LawModel(TOWARDS_D0.rates, np.ones(1), RUNS.mixtures)
        blank = np.full((1, 1), np.nan)
        kind = type(model.predict_objective(RUNS.mixtures))
        object.__setattr__(model, "predict", lambda w: kind(mean=blank, lower=blank, upper=blank))
        answer = run("exact", model=model).to_json(make_study(3))
        assert answer["metrics"]["loss"] == {"mean": None, "lower": None, "upper": None}


def test_the_polytope_handed_in_is_the_one_obeyed():
    study = make_study(3)
    found = recommend(study, box(3, upper=0.5), TOWARDS_D0, RUNS, method="exact")
    np.testing.assert_allclose(found.weights, [0.5, 0.5, 0.0], atol=1e-9)


def test_a_baseline_that_is_predicted_to_be_better_is_named():
    worst = run("pool", pool=np.array([[0.0, 0.0, 1.0]]))
    assert any("baseline uniform is predicted to be better" in w for w in worst.warnings)
    assert not any("is predicted to be better" in w for w in run("exact").warnings)
