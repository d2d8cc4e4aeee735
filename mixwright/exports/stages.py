"""The stages that go into an export, and what is final about them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixwright.errors import InvalidInputError
from mixwright.exports.base import ExportedMixture
from mixwright.exports.canonical import PreparedMixture
from mixwright.exports.units import Unit


@dataclass(frozen=True, slots=True)
class ExportedStage:
    """A stage in whole steps.

    Attributes:
        name: of the stage.
        mixture: its shares; its token budget is the stage's.
        first_step: counted from 0.
        steps: how many, at least 1.
        start_token: where the first step begins.
        end_token: where the last one ends.
        plan: the stage as JSON values, for formats that carry batch, rate and selection.
    """

    name: str
    mixture: ExportedMixture
    first_step: int
    steps: int
    start_token: int
    end_token: int
    plan: Mapping[str, Any]

    @property
    def tokens(self) -> int:
        """How many it trains on."""
        return self.end_token - self.start_token


@dataclass(frozen=True, slots=True)
class ExportedSchedule:
    """A schedule with what is known about its data.

    Attributes:
        schedule_id: what the exported text cites.
        stages: in order, each with a step at least.
        token_budget: of the schedule; whole steps may use less.
        sequence_length: tokens of a sequence.
        batches: first step, start token and tokens of a batch, wherever it changes.
        epochs: of each domain over all stages, where known.
        seed: for the loader, or None.

    Raises:
        InvalidInputError: there is no stage with a step.
    """

    schedule_id: str
    stages: tuple[ExportedStage, ...]
    token_budget: float
    sequence_length: int
    batches: tuple[tuple[int, int, int], ...]
    epochs: Mapping[str, float]
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise InvalidInputError("the schedule has no step", "stages")

    @property
    def domains(self) -> tuple[str, ...]:
        """In registered order."""
        return self.stages[0].mixture.domains

    @property
    def steps(self) -> int:
        """Of all stages."""
        return self.stages[-1].first_step + self.stages[-1].steps

    @property
    def tokens(self) -> int:
        """That all steps train on."""
        return self.stages[-1].end_token

    @property
    def has_ramp(self) -> bool:
        """Whether the batch size changes."""
        return len({batch for _, _, batch in self.batches}) > 1

    @property
    def selects(self) -> bool:
        """Whether stages select documents."""
        return any("selection" in stage.plan for stage in self.stages)

    def start_of(self, step: int) -> int:
        """Return the token at which a step begins."""
        first, token, batch = next(one for one in reversed(self.batches) if one[0] <= step)
        return token + (step - first) * batch


@dataclass(frozen=True, slots=True)
class PreparedStages:
    """Stages whose numbers are final.

    Attributes:
        schedule: as given, or as the target can begin its stages.
        unit: of the mixtures' values.
        stages: mixture of each stage.
        sha256: digest of the canonical JSON.
    """

    schedule: ExportedSchedule
    unit: Unit
    stages: tuple[PreparedMixture, ...]
    sha256: str

    @property
    def domains(self) -> tuple[str, ...]:
        """Kept domains, in the order in which stages bring them: a later one comes last."""
        return tuple(dict.fromkeys(name for one in self.stages for name in one.domains))

    def path(self, domain: str) -> str:
        """Return where a domain's data lies, or a placeholder."""
        return self.stages[0].path(domain)


def schedule_header(prepared: PreparedStages, warnings: Sequence[str]) -> str:
    """Return the lines, each starting with "#", that say where the numbers come from."""
    schedule = prepared.schedule
    facts = {
        "schedule_id": schedule.schedule_id,
        "unit": prepared.unit.value,
        "seed": schedule.seed,
        "tokens": schedule.tokens,
        "steps": schedule.steps,
        "sha256": prepared.sha256,
        "expected_epochs": {name: round(value, 4) for name, value in schedule.epochs.items()},
    }
    lines = [
        f"# {key}: {json.dumps(value)}" for key, value in facts.items() if value not in (None, {})
    ]
    lines += [f"# warning: {json.dumps(one)[1:-1]}" for one in warnings]
    return "\n".join(lines) + "\n"
