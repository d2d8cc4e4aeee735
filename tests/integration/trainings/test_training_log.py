"""What the log of a training gives back, and what survives faults, on both databases."""

import json

import numpy as np
import pytest
from small_training import triple
from sqlalchemy import select

from app.db.session import reading
from app.db.training_models import TrainingEventRow, TrainingRow
from app.trainings import service
from mixwright.reweighting.canonical import canonical
from mixwright.reweighting.ledger import (
    Approve,
    Observe,
    Remap,
    Resume,
    Rollback,
    standing_document,
    standing_from,
)
from mixwright.reweighting.training import fold

KINDS = {"observe": Observe, "resume": Resume, "rollback": Rollback, "approve": Approve}


def test_the_state_is_the_fold_of_the_log_bit_by_bit(observe, post, sessions, training):
    for step in range(1, 8):
        observe(step, 0.1 * step, None if step == 3 else 0.2)
    observe(2, 0.9, 0.9, 409)
    post("rollback", version=2)
    post("resume", step=5, version=5)
    observe(6, 0.3, 0.1)
    post("domains", domains=["a", "c"], origin={"c": "b"})
    post("observations", step=9, excess_losses={"a": 1.0, "c": 0.5})
    post("domains", domains=["a", "d"], options={"step_size": 0.5})
    post("observations", step=10, excess_losses={"a": 1.0, "d": 0.5})
    with reading(sessions) as session:
        row = session.get_one(TrainingRow, training)
        rules = service._rules(row)
        rows = session.scalars(select(TrainingEventRow).order_by(TrainingEventRow.number)).all()
        stored = [one.standing for one in rows]
        events = [as_event(one) for one in rows[1:]]
        versions = (row.version, row.weights)
    begun = standing_from(json.loads(stored[0]))
    for count in range(len(stored)):
        folded, ledger = fold(rules, begun, events[:count])
        assert canonical(standing_document(folded)) == stored[count]
    assert (folded.served.version, folded.served.named()) == versions
    assert len(ledger) == folded.last_version + 1


def as_event(row):
    if row.kind == "observe":
        return Observe(row.content)
    if row.kind == "remap":
        return Remap(**{**row.content, "domains": tuple(row.content["domains"])})
    return KINDS[row.kind](**row.content)


def test_a_server_that_dies_before_it_answers_gives_the_same_version_later(
    sessions, training, observe, ledger
):
    """Killed before the commit nothing was stored; killed after it the answer was."""
    from app.auth.access import ANONYMOUS
    from app.db.session import writing
    from app.trainings.schemas import ObservationCreate

    asked = ObservationCreate(step=5, excess_losses={"a": 0.5, "b": 0.1})

    lost = []

    def be_killed():
        with writing(sessions, lambda *_: None) as session:
            lost.append(service.observe(session, ANONYMOUS, training, asked))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_killed()
    assert ledger() == [(0, 0, "published")]
    with writing(sessions, lambda *_: None) as session:
        committed = service.observe(session, ANONYMOUS, training, asked)
    assert committed == lost[0]
    assert observe(5, 0.5, 0.1) == committed.model_dump()
    assert len(ledger()) == 2


def test_duplicates_and_replays_over_many_observations_leave_the_undisturbed_ledger(
    create, post, get
):
    rng = np.random.default_rng(0)
    told = [
        {"step": step, "excess_losses": {"a": float(a), "b": float(b)}}
        for step, (a, b) in enumerate(rng.uniform(0, 1, (150, 2)))
    ]
    quiet, noisy = create()["id"], create()["id"]
    for index, body in enumerate(told):
        expected = post("observations", to=quiet, **body)
        assert post("observations", to=noisy, **body) == expected
        again = told[rng.integers(max(0, index - 20), index + 1)]
        post("observations", to=noisy, **again)
    ledgers = [get("/ledger", to=one, limit=1000)["items"] for one in (quiet, noisy)]
    assert [triple(one) for one in ledgers[0]] == [triple(one) for one in ledgers[1]]
    assert len(ledgers[0]) == 151


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lost_late_and_repeated_messages_leave_the_undisturbed_ledger(create, post, get, sessions):
    """Of 2,000 observations each tenth answer is lost and each tenth message comes late again."""
    rng, count = np.random.default_rng(1), 2000
    told = [
        {"step": step, "excess_losses": {"a": float(a), "b": float(b)}}
        for step, (a, b) in enumerate(rng.uniform(0, 1, (count, 2)))
    ]
    training, late = create()["id"], []
    for body in told:
        first = post("observations", to=training, **body)
        if rng.random() < 0.1:  # the answer was lost
            assert post("observations", to=training, **body) == first
        if rng.random() < 0.1:  # a copy is still under way
            late.append((body, first))
        if late and rng.random() < 0.1:
            body, first = late.pop(rng.integers(len(late)))
            assert post("observations", to=training, **body) == first
    with reading(sessions) as session:
        begun = standing_from(
            json.loads(session.scalars(select(TrainingEventRow.standing)).first())
        )
        row = session.get_one(TrainingRow, training)
        rules, versions = service._rules(row), row.version
    _, expected = fold(rules, begun, [Observe(body) for body in told])
    found = every_version(get, training)
    assert [tuple(triple(one).values()) for one in found] == [
        (one.version, one.effective_step, one.named()) for one in expected
    ]
    assert len(found) == versions + 1 == count + 1


def every_version(get, training):
    items, cursor = [], {}
    while cursor is not None:
        page = get("/ledger", to=training, limit=1000, **cursor)
        items += page["items"]
        cursor = page["next_cursor"] and {"cursor": page["next_cursor"]}
    return items
