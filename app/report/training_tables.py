"""The tables of a training's page: domains, ledger, remarks on observations, options."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.report.numbers import ABSENT, percent, percentage_points, sentence, significant
from app.report.training_curves import Past
from app.trainings.history import NEWEST, Happening, Version
from app.trainings.schemas import Fate, TrainingRead
from mixwright.reweighting.guards import Guards, guarded_schema, total_variation
from mixwright.reweighting.ledger import Standing

MOST_NAMED: Final = 3
"""Domains that a line of the ledger names."""
_WHY: Final = {
    "begin": "registered",
    "observe": "observation of step {step}",
    "resume": "resumed at step {step} from version {version}",
    "rollback": "back to version {version}",
    "remap": "other domains",
    "follow": "the schedule {schedule}",
}


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain: its weight at first and now, and what was last observed of it."""

    name: str
    first: str
    now: str
    change: str
    measured: list[str]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A version, the newest first."""

    version: int
    effective_step: int
    used_from: str
    fate: str
    why: str
    moved: str
    guards: list[str]
    at: datetime


def domain_rows(past: Past) -> list[DomainRow]:
    """Return every domain there was, the one that moved most first."""
    now = past.history.training.weights
    last = {
        measure: {curve.domain: curve.y[-1] for curve in past.measured(measure, past.domains)}
        for measure in past.measures
    }
    return [
        _domain_row(name, first_weight(past, name), now.get(name), [
            significant(last[measure].get(name), 4) for measure in past.measures
        ])
        for name in past.domains
    ]  # fmt: skip


def _domain_row(name: str, first: float, now: float | None, measured: list[str]) -> DomainRow:
    if now is None:
        return DomainRow(name, percent(first), ABSENT, ABSENT, measured)
    return DomainRow(name, percent(first), percent(now), percentage_points(now - first), measured)


def first_weight(past: Past, name: str) -> float:
    """Return the weight that a domain began with."""
    return next(one.weights[name] for one in past.in_force if name in one.weights)


def ledger_rows(past: Past, guards: Guards) -> list[LedgerRow]:
    """Return the newest versions, and why each came."""
    versions = past.history.versions
    events = {one.number: one for one in past.history.happenings}
    return [
        LedgerRow(
            one.version,
            one.effective_step,
            str(past.history.applied.get(one.version, ABSENT)),
            one.fate,
            _why(events.get(one.event)),
            _moved(_before(versions[:place], one), one),
            _of_guards(one, events.get(one.event), past.history.standings[one.event], guards),
            one.created_at,
        )
        for place, one in reversed([*enumerate(versions)][-NEWEST:])
    ]


def _why(event: Happening | None) -> str:
    """Return what made a version; of one that was left out for length, an observation."""
    return "an observation" if event is None else _WHY[event.kind].format(**event.content)


def _before(earlier: Sequence[Version], version: Version) -> Version | None:
    """Return what a version followed: the last one in force, for a void one also a void one."""
    fates = {Fate.PUBLISHED, version.fate} - {Fate.PROPOSED}
    return next((one for one in reversed(earlier) if one.fate in fates), None)


def _moved(before: Version | None, after: Version) -> str:
    """Return how the shares changed that changed by most since the version before."""
    if before is None or before.weights.keys() != after.weights.keys():
        return ABSENT
    changes = {name: after.weights[name] - share for name, share in before.weights.items()}
    most = sorted(changes, key=lambda name: -abs(changes[name]))[:MOST_NAMED]
    said = [f"{name} {percentage_points(changes[name])}" for name in most if changes[name]]
    return ", ".join(said) or ABSENT


def _of_guards(
    entry: Version, event: Happening | None, standing: Standing, guards: Guards
) -> list[str]:
    """Return what the guards changed in what the algorithm wanted."""
    if event is not None and event.kind != "observe":
        return []
    return list(interventions(guards, standing))


def interventions(guards: Guards, standing: Standing) -> Iterator[str]:
    """Yield, in words, what the guards made of an algorithm's weights in the newest entry.

    Args:
        guards: of the training.
        standing: after the observation that made the entry.
    """
    state, served = standing.state, standing.newest
    left = total_variation(guards.output(state.weights, standing.domains), served.weights)
    if left > 1e-9:
        yield f"max_step {guards.max_step:g}: {percent(left)} are still to be moved"
    least = guards.floor / len(state.weights)
    lifted = [name for name, p in zip(state.domains, state.weights, strict=True) if p < least]
    if lifted:
        more = f" and {len(lifted) - MOST_NAMED} more" if len(lifted) > MOST_NAMED else ""
        yield f"floor {guards.floor:g}: it lifted {', '.join(lifted[:MOST_NAMED])}{more}"


def remarks(past: Past) -> list[Happening]:
    """Return observations of which something was said, the newest first."""
    said = [one for one in past.history.happenings if one.kind == "observe" and one.reason]
    return said[: -NEWEST - 1 : -1]


def needs(training: TrainingRead) -> list[tuple[str, str]]:
    """Return what the algorithm needs of its trainer, as terms with their values."""
    told = training.requires
    fields = [one if isinstance(one, str) else " or ".join(one) for one in told["fields"]]
    every = told["every_steps"]
    return [
        ("Every observation carries", ", ".join(fields) or "nothing"),
        ("It may carry", ", ".join(told["optional"]) or "nothing more"),
        ("How often", "as its plan says" if every is None else f"every {every} steps"),
        ("What it costs", sentence(told["cost"])),
        ("Measured next", _json(training.plan) if training.plan else "nothing besides"),
    ]


def option_rows(training: TrainingRead) -> list[tuple[str, str, str, str]]:
    """Return each option: its name, whether it was given, its value, and what it is."""
    declared: dict[str, Any] = guarded_schema(training.algorithm)["properties"]
    given = training.options
    return [
        (
            name,
            "given" if name in given else "default",
            _json(given.get(name, about.get("default"))),
            about.get("description", ""),
        )
        for name, about in sorted(
            declared.items(), key=lambda item: (item[0] not in given, item[0])
        )
    ]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
