"""The weights of a training: which version holds from which step, and what is refused.

Nothing is ever changed or taken away, so what was sampled up to any step can be told again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SUM_TOLERANCE = 1e-6  # answers of a server sum to 1 within 1e-9
_JUMP_TOLERANCE = 1e-9


class LedgerError(ValueError):
    """Weights, or the way they come, are not valid."""


@dataclass(frozen=True)
class Entry:
    """Weights and the step they hold from.

    Attributes:
        version: counts up, not necessarily by one.
        effective_step: of the optimiser, the first that the weights hold for.
        weights: by domain, summing to 1.
    """

    version: int
    effective_step: int
    weights: Mapping[str, float]

    @classmethod
    def from_json(cls, found: Any) -> Entry:  # noqa: ANN401  - JSON
        """Return the entry in a JSON object; its other fields are left out.

        Raises:
            LedgerError: it is no entry.
        """
        try:
            weights = {str(name): _number(weight) for name, weight in found["weights"].items()}
            return cls(_count(found["version"]), _count(found["effective_step"]), weights)
        except (KeyError, TypeError, AttributeError) as error:
            raise LedgerError(f"this is no entry of a ledger: {error!r}") from error

    def check(self, domains: Sequence[str]) -> None:
        """Check that the weights are of these domains and on the simplex.

        Raises:
            LedgerError: they are not.
        """
        wrong = sorted(set(self.weights) ^ set(domains))
        if wrong:
            what = "is unknown" if wrong[0] in self.weights else "is missing"
            raise LedgerError(f"version {self.version}: domain '{wrong[0]}' {what}")
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise LedgerError(f"version {self.version}: the weight of '{name}' is {weight}")
        total = math.fsum(self.weights.values())
        if abs(total - 1) > _SUM_TOLERANCE:
            raise LedgerError(f"version {self.version}: the weights sum to {total}, not to 1")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` takes."""
        return {
            "version": self.version,
            "effective_step": self.effective_step,
            "weights": dict(self.weights),
        }


class Ledger:
    """Versions of weights, each with the step it holds from.

    Args:
        domains: names, each once.
        first: what holds before anything else came.
        max_step: the largest total variation (half the sum of absolute changes) from one version
            to the next; from 0 to 1, and 1 allows everything.

    Raises:
        LedgerError: the first weights are not valid.
    """

    def __init__(self, domains: Sequence[str], first: Entry, max_step: float = 1.0) -> None:
        self.domains = tuple(domains)
        self.max_step = max_step
        first.check(self.domains)
        self._entries = [first]

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def newest(self) -> Entry:
        """The entry with the highest version."""
        return self._entries[-1]

    def add(self, entry: Entry) -> bool:
        """Append an entry; return False, with nothing changed, if its version came before.

        Raises:
            LedgerError: the weights are not valid, or too far from the newest; nothing changed.
        """
        if entry.version <= self.newest.version:
            return False
        entry.check(self.domains)
        self._check_jump(entry)
        self._entries.append(entry)
        return True

    def at(self, step: int) -> Entry:
        """Return the newest entry that holds at a step.

        Raises:
            LedgerError: the step is before the first entry.
        """
        for entry in reversed(self._entries):
            if entry.effective_step <= step:
                return entry
        raise LedgerError(f"the ledger begins after step {step}")

    def frozen_at(self, step: int) -> Ledger:
        """Return a ledger in which what holds at a step holds for ever after."""
        kept = [entry for entry in self._entries if entry.effective_step <= step]
        return Ledger.from_json(self.domains, [entry.to_json() for entry in kept], self.max_step)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the entries as JSON, oldest first."""
        return [entry.to_json() for entry in self._entries]

    @classmethod
    def from_json(cls, domains: Sequence[str], found: Any, max_step: float = 1.0) -> Ledger:  # noqa: ANN401
        """Return the ledger that was written by `to_json`.

        Jumps in it are not refused: they were made already.

        Raises:
            LedgerError: an entry is not valid, or versions do not count up.
        """
        entries = [Entry.from_json(item) for item in found]
        if not entries:
            raise LedgerError("a ledger needs a first entry")
        ledger = cls(domains, entries[0])
        for entry in entries[1:]:
            if not ledger.add(entry):
                raise LedgerError(f"version {entry.version} comes after a higher one")
        ledger.max_step = max_step
        return ledger

    def _check_jump(self, entry: Entry) -> None:
        before = self.newest.weights
        jump = math.fsum(abs(entry.weights[name] - before[name]) for name in self.domains) / 2
        if jump > self.max_step + _JUMP_TOLERANCE:
            raise LedgerError(
                f"version {entry.version} moves {jump:.4g} of the weight; "
                f"at most {self.max_step} is allowed"
            )


def _count(value: Any) -> int:  # noqa: ANN401  - JSON
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value


def _number(value: Any) -> float:  # noqa: ANN401  - JSON
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return float(value)
