"""What is asked of an optimiser, and what it answers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.suggestions.schemas import Options, Reason, Step


@dataclass(frozen=True, slots=True)
class Question:
    """How runs are asked for.

    Attributes:
        fidelity: to propose at; None for whichever teaches most.
        seed: of everything random.
        options: how.
    """

    fidelity: str | None
    seed: int
    options: Options

    @classmethod
    def of_document(cls, stored: Mapping[str, Any]) -> "Question":
        """Return the question that `document` described."""
        return cls(stored["fidelity"], stored["seed"], Options(**stored["options"]))

    @property
    def document(self) -> dict[str, Any]:
        """The question as JSON."""
        options = self.options.model_dump(mode="json")
        return {"fidelity": self.fidelity, "seed": self.seed, "options": options}

    @property
    def sha256(self) -> str:
        """What tells it from others."""
        return hashlib.sha256(json.dumps(self.document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mixture to train.

    Attributes:
        weights: by domain.
        fidelity: its name.
        pool_index: its place in the pool; None without one.
        gain: what it is expected to gain, for as much as a target run costs; None where unknown.
    """

    weights: dict[str, float]
    fidelity: str
    pool_index: int | None = None
    gain: float | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """What an optimiser, or a design, came to.

    Attributes:
        proposals: up to as many as were asked for.
        reason: why there are fewer; None if there are not.
        step: what is known; None before any run has what is wanted, and of a design.
    """

    proposals: list[Proposal]
    reason: Reason | None
    step: Step | None = None
