"""What the database said lately: for questions that come more often than their answers change."""

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")

_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """When the database was asked: at a time, and after so many changes by this process."""

    asked_at: float
    changes: int


class Recent(Generic[Value]):
    """Answers by key, none older than `seconds`, and none older than what this process committed.

    An answer is as old as its question. `forget` is called once a change is committed: an answer
    to a question that was asked before is then not remembered any more.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[str, tuple[Value, float]] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def question(self) -> Question:
        """Return what is to be taken before the database is asked."""
        return Question(time.monotonic(), self._changes)

    def get(self, key: str) -> Value | None:
        """Return an answer that may still be given."""
        kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept[1] > self._seconds:
            return None
        return kept[0]

    def remember(self, key: str, value: Value, question: Question) -> None:
        """Keep an answer, unless something changed since the question."""
        with self._lock:
            if question.changes == self._changes:
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[key] = (value, question.asked_at)

    def forget(self, key: str) -> None:
        """Note that the answer has changed."""
        with self._lock:
            self._changes += 1
            self._kept.pop(key, None)

    def forget_all(self) -> None:
        """Note that any answer may have changed."""
        with self._lock:
            self._changes += 1
            self._kept.clear()

    def items(self) -> Collection[tuple[str, Value]]:
        """Return all that is kept, answers that are too old too."""
        with self._lock:
            return [(key, value) for key, (value, _) in self._kept.items()]

    def confirm(self, key: str, value: Value, question: Question) -> None:
        """Note that a later question had the same answer, if it is still kept."""
        with self._lock:
            kept, asked_at = self._kept.get(key, (None, 0.0))
            if kept is value:
                self._kept[key] = (value, max(asked_at, question.asked_at))
