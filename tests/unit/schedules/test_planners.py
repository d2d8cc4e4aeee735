"""Every planner, and what each is for."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.schedules import PLANNERS, Budget, Documents, Problem, build_planner, planner_options
from mixwright.schedules.anneal import CONTROL, micro_anneals
from mixwright.schedules.composing import compose
from mixwright.schedules.frames import STAGES, quadrants
from mixwright.schedules.selecting import selected
from mixwright.schedules.steps import steps_of
from mixwright.schedules.trajectories import LossCurve, Trajectories
from mixwright.schedules.upsample_end import left_out
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

BUDGET = Budget(tokens=1e6, sequence_length=10, batch_tokens=1000, peak_learning_rate=1e-3)
WEIGHTS = {"web": 0.7, "code": 0.2, "math": 0.1}
NEEDED = {
    "continual": {"new_weights": {"math": 1.0}, "share": 0.3},
    "regmix_d": {"surrogate": "linear", "method": "best_observed", "ends": [0.5, 1.0]},
}


def documents(count=4000, seed=0):
    rng = np.random.default_rng(seed)
    weak = np.exp(rng.normal(4, 0.6, count))
    strong = weak * np.exp(-np.abs(rng.normal(0.3, 0.2, count)))
    return Documents(
        tuple(WEIGHTS),
        rng.integers(0, 3, count),
        rng.integers(10, 1000, count).astype(float),
        {"perplexity_strong": strong, "perplexity_weak": weak, "quality": rng.normal(size=count)},
    )


def trajectories(count=12):
    """Runs whose loss is lowest with much of the first domain early, and of the last at the end."""
    study = Study(
        tuple(Domain(name, None, 1 / 3) for name in WEIGHTS),
        (Metric("loss"),),
        np.ones(1),
        (Fidelity("1m"),),
        "1m",
    )
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), count)
    ids = tuple(f"run{i}" for i in range(count))
    tokens = np.array([10.0, 50.0, 100.0])
    curves = {
        name: LossCurve(tokens, np.array([[3.0], [3.0 - mixture[0]], [3.0 - mixture[2]]]))
        for name, mixture in zip(ids, mixtures, strict=True)
    }
    runs = CompletedRuns(mixtures, 3.0 - mixtures[:, 2:], np.full(count, "1m"), ids)
    return Trajectories(study, runs, curves, dict.fromkeys(ids, 100.0))


def problem(**changed):
    given = {
        "budget": BUDGET,
        "weights": WEIGHTS,
        "unique_tokens": {},
        "documents": documents(),
        "trajectories": trajectories(),
    }
    return Problem(**{**given, **changed})


def plan(name, options=None, **changed):
    return build_planner(name, {**NEEDED.get(name, {}), **(options or {})}).plan(problem(**changed))


@pytest.mark.parametrize("name", PLANNERS)
def test_stages_cover_the_budget_and_name_every_domain(name):
    schedule = plan(name)
    assert schedule.stages[0].start_token == 0
    assert schedule.stages[-1].end_token == BUDGET.tokens
    assert all(a.end_token == b.start_token for a, b in pairwise(schedule.stages))
    assert sum(schedule.domain_tokens.values()) == pytest.approx(BUDGET.tokens)
    assert set(schedule.effective_weights) == set(WEIGHTS)
    assert sum(schedule.effective_weights.values()) == pytest.approx(1.0)
    assert 0 <= BUDGET.tokens - steps_of(schedule).tokens < 4 * BUDGET.batch_tokens


@pytest.mark.parametrize("name", PLANNERS)
def test_a_plan_is_the_same_every_time(name):
    assert plan(name) == plan(name)


@pytest.mark.parametrize("name", PLANNERS)
def test_caps_hold_over_all_stages_together(name):
    unique = dict.fromkeys(WEIGHTS, 100_000.0)
    with pytest.raises(InfeasibleError, match="all stages together"):
        plan(name, unique_tokens=unique, max_epochs=2.0)
    plan(name, unique_tokens=unique, max_epochs=8.0)


@pytest.mark.parametrize("name", PLANNERS)
def test_an_unknown_option_is_refused_and_known_ones_are_described(name):
    described = planner_options(name)["properties"]
    assert all("description" in one for one in described.values())
    with pytest.raises(InvalidInputError, match="no option 'speed'"):
        build_planner(name, {"speed": 1})


def test_regmix_d_has_the_mixture_that_is_best_at_the_end_of_each_stage():
    given = trajectories()
    schedule = plan("regmix_d", trajectories=given)
    for stage, domain in zip(schedule.stages, (0, 2), strict=True):
        best = given.runs.mixtures[given.runs.mixtures[:, domain].argmax()]
        assert list(stage.weights.values()) == pytest.approx(best.tolist())
    with pytest.raises(InvalidInputError, match="loss curves"):
        plan("regmix_d", trajectories=None)


def test_an_unknown_planner_is_refused():
    with pytest.raises(InvalidInputError, match="it must be one of static"):
        build_planner("magic", {})


def test_static_has_one_stage_or_one_for_each_part_of_the_rate():
    assert [one.name for one in plan("static").stages] == ["all"]
    stages = plan("static", {"rate": "wsd", "warmup": 0.05, "decay": 0.2}).stages
    assert [one.name for one in stages] == ["warm-up", "stable", "decay"]
    assert stages[1].rate.at(5e5) == BUDGET.peak_learning_rate
    for shape, warmup in (("cosine", 0.01), ("linear", 0.1), ("linear", 0.03)):
        options = {"rate": shape, "final_rate": 0.1, "warmup": warmup}
        stages = plan("static", options).stages
        assert [one.name for one in stages] == ["warm-up", "decay"]
        assert stages[-1].rate.at(BUDGET.tokens) == pytest.approx(1e-4)


def test_upsampling_gives_more_to_what_is_worth_more_and_nothing_changes_where_all_is_equal():
    utilities = {"web": -0.01, "code": 0.01, "math": 0.2}
    tilted = plan("upsample_end", {"utilities": utilities}).stages[1].weights
    assert tilted["math"] > WEIGHTS["math"]
    assert tilted["web"] < WEIGHTS["web"]
    same = plan("upsample_end", {"utilities": dict.fromkeys(WEIGHTS, 0.5)}).stages[1].weights
    assert same == pytest.approx(WEIGHTS)
    by_default = plan("upsample_end").stages[1].weights
    assert by_default["math"] > WEIGHTS["math"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"utilities": {"web": 1.0}},
        {"final_weights": {"law": 1.0}},
        {"final_weights": {"web": 0.5}},
        {"final_weights": WEIGHTS, "utilities": WEIGHTS},
    ],
)
def test_upsampling_refuses_other_domains_and_mixtures_that_are_none(wrong):
    with pytest.raises(InvalidInputError):
        plan("upsample_end", wrong)


def test_an_anneal_falls_to_nothing_on_its_own_mixture():
    stages = plan("anneal", {"anneal_weights": {"math": 1.0}, "average": 5}).stages
    assert stages[1].rate.at(BUDGET.tokens) == 0
    assert stages[1].weights == {"web": 0.0, "code": 0.0, "math": 1.0}
    assert stages[1].averaging.checkpoints == 5


def test_micro_anneals_are_a_control_and_half_of_each_candidate():
    found = micro_anneals(WEIGHTS, ("math",))
    assert found[CONTROL] == WEIGHTS
    assert found["math"] == pytest.approx({"web": 0.35, "code": 0.1, "math": 0.55})
    with pytest.raises(InvalidInputError, match="'law' is not a domain"):
        micro_anneals(WEIGHTS, ("law",))


def test_each_domain_is_left_out_in_turn():
    found = left_out(WEIGHTS)
    assert list(found) == [CONTROL, *WEIGHTS]
    assert found["web"] == pytest.approx({"web": 0.0, "code": 2 / 3, "math": 1 / 3})
    with pytest.raises(InvalidInputError, match="all there is"):
        left_out({"web": 1.0, "code": 0.0})


def test_frames_stages_are_equal():
    sample = documents(20_000)
    strong, weak = sample.columns["perplexity_strong"], sample.columns["perplexity_weak"]
    sizes = np.bincount(quadrants(strong, weak, sample.tokens).stage, sample.tokens)
    assert sizes.max() / sizes.min() < 1.01


def test_the_selections_of_frames_choose_each_document_for_its_own_stage():
    """To the bit, though perplexities are equal: what is planned is what is trained."""
    rng = np.random.default_rng(3)
    weak = rng.integers(2, 40, 3000) / 7
    columns = {"perplexity_weak": weak, "perplexity_strong": weak * rng.integers(1, 12, 3000) / 11}
    few = Documents(("web",), np.zeros(3000, int), np.ones(3000), columns)
    schedule = plan("frames", documents=few, weights={"web": 1.0})
    chosen = [selected(stage.selection, columns) for stage in schedule.stages]
    stage = quadrants(columns["perplexity_strong"], weak, few.tokens).stage
    for place, one in enumerate(chosen):
        np.testing.assert_array_equal(one, stage == place)


def test_frames_in_reverse_or_with_repetition_is_told():
    assert not any("reverse" in one for one in plan("frames").warnings)
    schedule = plan("frames", {"reverse": True})
    assert [one.name for one in schedule.stages] == list(reversed(STAGES))
    assert any("reverse order" in one for one in schedule.warnings)
    few = plan("frames", unique_tokens={"web": 1e5, "code": None, "math": 1e6}).warnings
    assert any("to come once" in one and "'web' 3" in one and "math" not in one for one in few)
    assert not any("once" in one for one in plan("frames").warnings)


def test_frames_inside_a_decay_to_nothing_is_told():
    annealed = plan("anneal", {"share": 0.5})
    budget = replace(BUDGET, tokens=5e5)
    found = compose(plan("frames", budget=budget), annealed, begin=5e5)
    assert any("hardly be learned" in one for one in found.warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perplexity_strong": lambda v: np.where(v > np.median(v), np.nan, v)}, "no number"),
        ({"perplexity_strong": lambda v: -v}, "above 0"),
        ({"perplexity_strong": lambda v: v * 1e6}, "exchanged"),
        (
            {"perplexity_strong": np.ones_like, "perplexity_weak": lambda v: 1 + v},
            "no document is left",
        ),
    ],
)
def test_frames_refuses_perplexities_that_are_none(changes, message):
    sample = documents()
    columns = {name: changes.get(name, lambda v: v)(v) for name, v in sample.columns.items()}
    wrong = Documents(sample.domains, sample.domain_index, sample.tokens, columns)
    with pytest.raises(InvalidInputError, match=message):
        plan("frames", documents=wrong)


def test_frames_clips_infinities_and_tells_of_them_and_of_ties():
    sample = documents()
    strong = sample.columns["perplexity_strong"].copy()
    strong[:3] = np.inf
    strong[100:900] = np.median(strong)
    columns = {**sample.columns, "perplexity_strong": strong}
    changed = Documents(sample.domains, sample.domain_index, sample.tokens, columns)
    warnings = plan("frames", documents=changed).warnings
    assert any("infinite for 3 documents" in one for one in warnings)
    assert any("more tokens than the mean" in one for one in warnings)


def test_planners_that_need_documents_say_what_for():
    for name, what in (("frames", "perplexities"), ("quality_curriculum", "quality")):
        with pytest.raises(InvalidInputError, match=what):
            plan(name, documents=None)
        with pytest.raises(InvalidInputError, match="no column 'other'"):
            plan(name, {"strong" if name == "frames" else "column": "other"})


def test_a_curriculum_ascends_in_equal_stages_at_a_moderate_rate():
    schedule = plan("quality_curriculum", {"buckets": 5})
    lows = [one.selection["where"][0].get("above", -np.inf) for one in schedule.stages]
    assert lows == sorted(lows)
    assert max(one.tokens for one in schedule.stages) / min(
        one.tokens for one in schedule.stages
    ) == pytest.approx(1, abs=0.02)
    assert schedule.stages[-1].rate.at(BUDGET.tokens) == pytest.approx(1e-3 / 3)
    assert not any("hardly" in one for one in schedule.warnings)


def test_a_curriculum_under_full_decay_is_warned_of_and_one_with_averaging_is_not():
    for spent in ({"rate": "decay"}, {"rate": "both", "final_rate": 0.05}):
        told = plan("quality_curriculum", spent).warnings
        assert any("hardly be learned" in one for one in told)
    averaged = plan("quality_curriculum", {"rate": "averaging", "weights": "linear"})
    assert averaged.stages[-1].averaging.method == "linear"
    assert not any("hardly" in one for one in averaged.warnings)


def test_a_curriculum_of_equal_scores_is_refused():
    sample = documents()
    columns = {"quality": np.round(sample.columns["quality"])}
    tied = Documents(sample.domains, sample.domain_index, sample.tokens, columns)
    with pytest.raises(InvalidInputError, match="use fewer buckets"):
        plan("quality_curriculum", {"buckets": 20}, documents=tied)
