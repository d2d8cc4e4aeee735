"""Answers that are remembered: how long, and what this process changes meanwhile."""

import pytest

from app.recent import Recent
from app.trainings.known_weights import Known, KnownWeights


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_an_answer_is_as_old_as_its_question(clock):
    recent = Recent(1.5)
    question = recent.question()
    clock[0] += 1.0
    recent.remember("a", 1, question)
    assert recent.get("a") == 1
    clock[0] += 0.6
    assert recent.get("a") is None


@pytest.mark.parametrize("forget", [lambda one: one.forget("a"), lambda one: one.forget_all()])
def test_an_answer_from_before_a_change_is_not_remembered(forget):
    recent = Recent(60.0)
    recent.remember("a", 1, recent.question())
    question = recent.question()
    forget(recent)
    assert recent.get("a") is None
    recent.remember("a", 1, question)
    assert recent.get("a") is None
    recent.remember("a", 2, recent.question())
    assert recent.get("a") == 2


def test_a_confirmed_answer_is_as_old_as_the_last_question(clock):
    recent, value = Recent(1.5), object()
    recent.remember("a", value, recent.question())
    clock[0] += 1.0
    recent.confirm("a", value, recent.question())
    recent.confirm("b", value, recent.question())
    recent.confirm("a", object(), recent.question())
    clock[0] += 1.0
    assert recent.get("a") is value
    assert recent.get("b") is None
    clock[0] += 1.0
    assert recent.get("a") is None


@pytest.fixture
def known(clock):
    weights = KnownWeights()
    for name in ("a", "b"):
        weights.remember(name, Known(3, f"tag of {name}", None, clock[0]), weights.question())
    return weights


def test_what_is_answered_confirms_or_refutes_and_what_is_gone_is_forgotten(clock, known):
    clock[0] += 1.0
    known.hear({"a": 3}, known.question())
    clock[0] += 1.0
    assert known.polled("a").etag == "tag of a"
    assert known.polled("b") is None
    known.hear({"a": 4}, known.question())
    assert known.polled("a") is None


def test_an_announcement_is_of_one_training_and_confirms_nothing(clock, known):
    known.hear({"a": 4})
    assert known.polled("a") is None
    assert known.polled("b").version == 3
    clock[0] += 1.0
    known.hear({"b": 3})
    clock[0] += 1.0
    assert known.polled("b") is None


def test_what_nobody_polls_is_not_asked_for(clock, known):
    clock[0] += 1.0
    known.polled("a")
    clock[0] += 59.5
    assert known.wanted() == ["a"]
    clock[0] += 1.0
    assert known.wanted() == []
    assert list(known.items()) == []
