"""The page of a schedule: its stages drawn and as tables, epochs, warnings and evidence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.report.documents import Document
from app.report.filling import fill
from app.report.numbers import ABSENT, fixed, percent, significant, tokens
from app.report.schedule_pictures import pictures
from mixwright.schedules import PLANNERS, Schedule, Stage

_LOSSES = {
    "constant_batch": "A constant batch",
    "three_phases": "These three phases",
    "optimum": "The optimum of the law",
}


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage in words."""

    name: str
    tokens: str
    share: str
    steps: str
    data: str
    batch: str
    rate: str
    averaging: str


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain over all stages, and its share in each."""

    name: str
    share: str
    tokens: str
    epochs: str
    worth: str
    stages: list[str]


def render_schedule(study: Document, planned: Document, schedule: Schedule) -> str:
    """Return the page of a schedule as one HTML file with everything inside it.

    Args:
        study: as `GET /v1/studies/{study}` answers it.
        planned: the schedule as `GET /v1/schedules/{id}` answers it.
        schedule: the same, as the core has it.
    """
    panels = pictures(schedule)
    return fill(
        "schedule",
        {
            "study": study,
            "planned": planned,
            "planner": PLANNERS[planned["planner"]],
            "total": tokens(schedule.budget.tokens),
            "panels": panels,
            "stages": stage_rows(planned, schedule),
            "domains": domain_rows(planned, schedule),
            "losses": _losses(schedule.evidence),
            "evidence": _words(_short(schedule.evidence)),
            "provenance": _words({**planned["provenance"], "digest": planned["digest"]}),
            "options": _words(planned["options"]),
            "data": {"pictures": {panel.id: panel.picture for panel in panels}},
        },
    )


def stage_rows(planned: Document, schedule: Schedule) -> list[StageRow]:
    """Return a row for each stage."""
    steps = planned["steps"]["stages"]
    return [
        StageRow(
            name=stage.name,
            tokens=f"{tokens(stage.start_token)} to {tokens(stage.end_token)}",
            share=percent(stage.tokens / schedule.budget.tokens),
            steps=f"{own['first_step']:,} + {own['steps']:,}",
            data=_data(stage),
            batch=_movement(stage, "batch"),
            rate=_movement(stage, "rate"),
            averaging=_averaging(stage),
        )
        for stage, own in zip(schedule.stages, steps, strict=True)
    ]


def _data(stage: Stage) -> str:
    if stage.selection is None:
        return "mixture"
    conditions = [
        f"{one['column']}"
        + (f" above {one['above']:.4g}" if "above" in one else "")
        + (f" up to {one['up_to']:.4g}" if "up_to" in one else "")
        for one in stage.selection.get("where", ())
    ]
    return "; ".join(conditions) or json.dumps(
        {name: value for name, value in stage.selection.items() if name != "tokens"}
    )


def _movement(stage: Stage, which: str) -> str:
    curve = getattr(stage, which)
    write = tokens if which == "batch" else significant
    first, last = write(curve.at(stage.start_token)), write(curve.at(stage.end_token))
    return first if curve.shape == "constant" else f"{first} to {last}, {curve.shape}"


def _averaging(stage: Stage) -> str:
    one = stage.averaging
    if one is None:
        return ABSENT
    over = tokens(one.share * stage.tokens)
    return f"{one.method}, {one.checkpoints} checkpoints over the last {over}"


def domain_rows(planned: Document, schedule: Schedule) -> list[DomainRow]:
    """Return a row for each domain, the largest first."""
    shares = planned["effective_weights"]
    parts = [(stage.domain_tokens(), stage.tokens) for stage in schedule.stages]
    return [
        DomainRow(
            name=name,
            share=percent(shares[name], 2),
            tokens=tokens(schedule.domain_tokens[name]),
            epochs=fixed(planned["epochs"][name], 3),
            worth=ABSENT if planned["worth"][name] is None else percent(planned["worth"][name]),
            stages=[percent(own.get(name, 0.0) / total) for own, total in parts],
        )
        for name in sorted(shares, key=lambda name: -shares[name])
    ]


def _losses(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = evidence.get("loss", {})
    return [
        (words, significant(found[name], 5)) for name, words in _LOSSES.items() if name in found
    ]


def _words(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return terms and values, but for those that are drawn or in a table of their own."""
    return [
        (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value))
        for name, value in values.items()
        if value is not None and name not in ("optimum", "loss")
    ]


def _short(value: Any) -> Any:  # noqa: ANN401  - JSON
    """Return JSON values with numbers of four digits."""
    if isinstance(value, Mapping):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
