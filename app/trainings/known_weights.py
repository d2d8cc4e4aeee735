"""Which weights are in force, as far as a process knows without asking the database.

Nothing is known that the database did not say within `TRUSTED_SECONDS`: that is how far behind
another process an answer may be at most, whatever fails. What this process commits is never missed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.recent import Question, Recent

TRUSTED_SECONDS: Final = 1.5  # the database is asked once a second
_POLLED_SECONDS: Final = 60.0  # since the last poll: for so long it is asked


@dataclass(slots=True)
class Known:
    """Weights that were in force; a version's never change."""

    version: int
    etag: str
    study_id: str | None
    polled_at: float = field(default_factory=time.monotonic)


class KnownWeights(Recent[Known]):
    """By training."""

    def __init__(self) -> None:
        super().__init__(TRUSTED_SECONDS)

    def polled(self, training_id: str) -> Known | None:
        """Return what is in force, and note that someone wants to know."""
        known = self.get(training_id)
        if known is not None:
            known.polled_at = time.monotonic()
        return known

    def wanted(self) -> list[str]:
        """Return the trainings that were polled lately; forget the others."""
        since, wanted = time.monotonic() - _POLLED_SECONDS, []
        for training_id, known in self.items():
            if known.polled_at >= since:
                wanted.append(training_id)
            else:
                self.forget(training_id)
        return wanted

    def hear(self, versions: Mapping[str, int], question: Question | None = None) -> None:
        """Take in which versions are in force: as the answer to a question, or as an announcement.

        A training that a question was not answered for is not there any more.
        """
        for training_id, known in self.items():
            version = versions.get(training_id, known.version if question is None else None)
            if version != known.version:
                self.forget(training_id)
            elif question is not None:
                self.confirm(training_id, known, question)
