"""The canonical form of a schedule: every stage with its steps, tokens, weights, batch and rate."""

import json
from collections.abc import Sequence
from typing import Any

from mixwright.exports.canonical import PreparedMixture, as_count
from mixwright.exports.stages import ExportedSchedule, ExportedStage, PreparedStages
from mixwright.exports.units import Unit


def document(schedule: ExportedSchedule, stages: Sequence[PreparedMixture]) -> dict[str, Any]:
    """Return the canonical document of a schedule and its mixtures in token shares."""
    return {
        "schedule_id": schedule.schedule_id,
        "unit": Unit.TOKEN_SHARE.value,
        "domains": list(schedule.domains),
        "stages": [
            _stage(stage, mixture) for stage, mixture in zip(schedule.stages, stages, strict=True)
        ],
        "budget": {
            "tokens": as_count(schedule.token_budget),
            "steps": schedule.steps,
            "trained_tokens": schedule.tokens,
            "sequence_length": schedule.sequence_length,
        },
        "expected_epochs": {name: round(value, 6) for name, value in schedule.epochs.items()},
        "seed": schedule.seed,
    }


def _stage(stage: ExportedStage, mixture: PreparedMixture) -> dict[str, Any]:
    plan = {name: stage.plan[name] for name in ("batch_tokens", "learning_rate", "averaging")}
    selection = {"selection": stage.plan["selection"]} if "selection" in stage.plan else {}
    return {
        "name": stage.name,
        "start_step": stage.first_step,
        "steps": stage.steps,
        "start_token": stage.start_token,
        "end_token": stage.end_token,
        "weights": {name: float(share) for name, share in mixture.shares.items()},
        **selection,
        **plan,
    }


def render_canonical(prepared: PreparedStages, warnings: Sequence[str]) -> str:
    """Return the canonical JSON."""
    facts = document(prepared.schedule, prepared.stages)
    return json.dumps({**facts, "sha256": prepared.sha256}, indent=2) + "\n"
