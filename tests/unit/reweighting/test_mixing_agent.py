"""The mixing agent: what it learns from a log, and what it does without one."""

import json

import numpy as np
import pytest
from scipy.optimize import check_grad

from mixwright.errors import InvalidInputError
from mixwright.options import schema
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation
from mixwright.reweighting.mixing_agent import MixingAgent, _objective

DOMAINS, EVEN = ("books", "code", "web"), np.full(3, 1 / 3)


def log(good="code", count=6, stages=10, domains=DOMAINS):
    """Trainings at random mixtures, in which one domain raises the score."""
    rng, logged = np.random.default_rng(0), []
    for _ in range(count):
        score, one = 0.3, []
        for mixture in rng.dirichlet(np.full(len(domains), 2.0), stages):
            score += 0.1 * mixture[domains.index(good)]
            named = dict(zip(domains, mixture.tolist(), strict=True))
            one.append({"mixture": named, "scores": {"mmlu": score}})
        logged.append(one)
    return logged


def begin(domains=DOMAINS, **options):
    agent = build_reweighter("mixing_agent", options)
    return agent, agent.init(domains, np.full(len(domains), 1 / len(domains)), 0)


def run(agent, state, scores):
    for score in scores:
        found = agent.update(state, Observation(state.updates + 1, scores={"mmlu": score}))
        assert found.reason is None
        state = found.state
    return state


@pytest.mark.parametrize("good", DOMAINS)
def test_what_paid_off_in_the_log_is_raised(good):
    agent, state = begin(trajectories=log(good))
    weights = run(agent, state, [0.30, 0.33, 0.36, 0.40]).weights
    assert weights[DOMAINS.index(good)] == weights.max()
    assert weights.max() > 0.4


def test_a_score_that_should_fall_turns_the_agent_round():
    agent, state = begin(trajectories=log(), score_weights={"mmlu": -1.0})
    state = run(agent, state, [0.3, 0.33, 0.36])
    assert state.weights[1] < 0.3
    utilities = [stage["utility"] for stage in state.memory["stages"]]
    assert utilities == sorted(utilities, reverse=True)


def test_what_was_learned_holds_for_other_domains():
    agent, state = begin(("code", "law", "news", "web"), trajectories=log())
    weights = run(agent, state, [0.30, 0.33, 0.36]).weights
    assert weights[0] == weights.max()


def test_without_trajectories_the_weights_stay_and_it_says_why():
    agent, state = begin()
    found = agent.update(state, Observation(1, scores={"mmlu": 0.3}))
    assert "no trajectories" in found.reason
    assert found.state is state


def test_scores_are_carried_forward_but_not_made_up():
    logged = log()
    for one in logged:
        for stage in one:
            stage["scores"]["math"] = 0.5
    agent, state = begin(trajectories=logged)
    first = agent.update(state, Observation(1, scores={"mmlu": 0.3}))
    assert first.reason == "score math was never told"
    state = agent.update(state, Observation(1, scores={"mmlu": 0.3, "math": 0.5})).state
    later = agent.update(state, Observation(2, scores={"mmlu": 0.4}))
    assert later.state.memory["scores"] == {"mmlu": 0.4, "math": 0.5}
    assert "no scores of" in agent.update(state, Observation(2, scores={"other": 1.0})).reason
    assert "not finite" in agent.update(state, Observation(2, scores={"mmlu": np.inf})).reason


def test_candidates_move_from_the_weights_that_were_used():
    agent, state = begin(trajectories=log())
    used = np.array([0.8, 0.1, 0.1])
    told = Observation(1, scores={"mmlu": 0.3}, sampled=used)
    stage = agent.update(state, told).state.memory["stages"][0]
    assert list(stage["mixture"].values()) == used.tolist()


def test_only_so_much_is_looked_back_on():
    agent, state = begin(trajectories=log(), history=2)
    state = run(agent, state, [0.3, 0.31, 0.32, 0.33, 0.34])
    assert len(state.memory["stages"]) == 3
    assert state.memory["first"] < state.memory["stages"][0]["utility"]


def test_the_gradient_of_learning_is_the_slope():
    rng = np.random.default_rng(0)
    scaled, targets = rng.normal(size=(6, 4, 3)), rng.normal(size=6)
    error = check_grad(
        lambda theta: _objective(theta, scaled, targets, 0.7)[0],
        lambda theta: _objective(theta, scaled, targets, 0.7)[1],
        rng.normal(size=3),
    )
    assert error < 1e-6


def spoilt(change):
    logged = log(count=2, stages=3)
    change(logged)
    return logged


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda logged: logged[0][0]["mixture"].update(code=2.0), "sum"),
        (lambda logged: logged[1][0].update(scores={}), "no score mmlu"),
        (lambda logged: [s.update(scores={"mmlu": 1.0}) for one in logged for s in one], "nothing"),
        (lambda logged: [one.__delitem__(slice(1, None)) for one in logged], "nothing to learn"),
        (lambda logged: logged[0][0].pop("scores"), "records of mixture and scores"),
        (lambda logged: logged[0][0].update(scores=None), "records of mixture and scores"),
        (lambda logged: logged[0][0]["scores"].update(mmlu=np.nan), "numbers by name"),
        (lambda logged: logged.append({"mixture": {}}), "records of mixture and scores"),
    ],
)
def test_a_log_that_teaches_nothing_is_refused(change, reason):
    with pytest.raises(InvalidInputError, match=reason) as error:
        begin(trajectories=spoilt(change))
    assert error.value.field == "options/trajectories"


def test_the_schema_of_a_log_is_json():
    declared = schema(MixingAgent)["properties"]["trajectories"]
    json.dumps(declared)
    assert declared["default"] == []
    assert declared["items"]["items"]["required"] == ["mixture", "scores"]
