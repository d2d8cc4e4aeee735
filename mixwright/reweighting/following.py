"""Trainings whose weights follow a schedule: the ledger is the schedule's, written ahead.

What is observed is kept to be looked at and changes nothing. The entry in force is that of the
training's position, `lead_steps` ahead, so that a trainer hears of a stage before it begins. A
schedule may be replaced by one that differs in stages to come.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixwright.errors import InvalidInputError
from mixwright.reweighting.ledger import (
    Entry,
    Event,
    Follow,
    Observe,
    Outcome,
    Past,
    Resume,
    Standing,
)
from mixwright.reweighting.rules import ContradictionError, Rules, observed


def follow(rules: Rules, standing: Standing, event: Follow, past: Past) -> Outcome:
    """Write a schedule's stages into the ledger; those to come of another one are void.

    Raises:
        ContradictionError: a stage that has begun is another one in the schedule.
    """
    if event.schedule == standing.schedule:
        return Outcome(standing, applied=False, reason="it follows this schedule already")
    now = standing.position + rules.lead_steps
    begun = past.begun(0 if standing.schedule is None else now)
    stages = _entries(event, standing)
    _require_same(begun, stages)
    last = standing.last_version
    planned = tuple(
        replace(entry, version=last + number)
        for number, entry in enumerate(stages[len(begun) :], start=1)
    )
    after = replace(standing, schedule=event.schedule, last_version=last + len(planned))
    in_force = [entry for entry in (*begun, *planned) if entry.effective_step <= now][-1]
    served = _serving(after, in_force)
    return Outcome(served, planned=planned, void_above=begun[-1].version)


def following(rules: Rules, standing: Standing, event: Event, past: Past) -> Outcome:
    """Return what comes of an event of a training that follows a schedule.

    Raises:
        RefusedObservationError: an observation that cannot be used.
        ContradictionError: it would change weights that are the schedule's.
        InvalidInputError: it names a version that there is not.
    """
    if isinstance(event, Observe):
        told = observed(rules, standing, event, past)
        if told.step < standing.position:
            reason = f"step {told.step} is before {standing.position}, the last one"
            return Outcome(standing, applied=False, reason=reason)
        state = rules.reweighter.update(standing.state, told).state
        return _moved(rules, replace(standing, state=state), told.step, past)
    if isinstance(event, Resume):
        if past.entry(event.version) is None:
            raise InvalidInputError(f"there is no version {event.version}", field="version")
        state = past.standing_at(event.step).state
        return _moved(rules, replace(standing, state=state), event.step, past)
    raise ContradictionError(
        f"the weights follow the schedule '{standing.schedule}'; replace the schedule"
    )


def _moved(rules: Rules, standing: Standing, step: int, past: Past) -> Outcome:
    in_force = past.begun(step + rules.lead_steps)[-1]
    return Outcome(replace(_serving(standing, in_force), position=step))


def _serving(standing: Standing, entry: Entry) -> Standing:
    state = replace(standing.state, weights=entry.weights)
    return replace(standing, state=state, served=entry, newest=entry)


def _entries(event: Follow, standing: Standing) -> list[Entry]:
    """Return a stage's entry each, without versions."""
    names = standing.domains
    return [
        Entry(-1, step, names, np.array([weights[name] for name in names]))
        for step, weights in event.entries
    ]


def _require_same(begun: Sequence[Entry], stages: Sequence[Entry]) -> None:
    for place, old in enumerate(begun):
        new = stages[place] if place < len(stages) else None
        if (
            new is None
            or new.effective_step != old.effective_step
            or not np.array_equal(new.weights, old.weights)
        ):
            raise ContradictionError(
                f"stage {place + 1}, which began at step {old.effective_step}, is another one in "
                "the new schedule; only stages to come may change"
            )
