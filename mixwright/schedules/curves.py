"""How a batch size or a learning rate moves over tokens. A shape is one line of `SHAPES`.

Source:
    Warm-up, constant and decay shapes are standard (WSD: Hu et al., "MiniCPM", arXiv:2404.06395)
    [R]. Of the two conventions for a step, ours is that a warm-up is read at the step's end, so
    that the first step moves, and everything else at its beginning, so that the last step does
    not quite reach the end.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mixwright.errors import InvalidInputError

_SLIVER: Final = 1e-9  # of the tokens

Shape = Callable[[float, float, float], float]
"""From start, end and the share that is done, 0 to 1, to a value."""


def _geometric(start: float, end: float, done: float) -> float:
    return float(start * (end / start) ** done)


SHAPES: Final[Mapping[str, Shape]] = {
    "constant": lambda start, end, done: start,
    "warmup": lambda start, end, done: start + (end - start) * done,
    "linear": lambda start, end, done: start + (end - start) * done,
    "cosine": lambda start, end, done: end + (start - end) * (1 + math.cos(math.pi * done)) / 2,
    "one_minus_sqrt": lambda start, end, done: end + (start - end) * (1 - math.sqrt(done)),
    "geometric": _geometric,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A value over the tokens of a training, from `start` at `start_token` to `end`.

    It may reach beyond the stage that shows it: stages that share a curve share one movement.

    Attributes:
        start_token: where it begins.
        end_token: where it ends, later.
        start: value at the beginning, at least 0.
        end: value at the end, at least 0.
        shape: a key of `SHAPES`.

    Raises:
        InvalidInputError: an unknown shape; a value that is negative or not finite; `constant`
            between two values; `geometric` from or to 0; an end that is not after the start.
    """

    start_token: float
    end_token: float
    start: float
    end: float
    shape: str = "constant"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            known = ", ".join(SHAPES)
            raise InvalidInputError(f"shape is '{self.shape}'; it must be one of {known}", "shape")
        if not all(math.isfinite(one) and one >= 0 for one in (self.start, self.end)):
            raise InvalidInputError(
                f"a curve from {self.start} to {self.end}; both must be finite and at least 0",
                "start",
            )
        if self.shape == "constant" and self.start != self.end:
            raise InvalidInputError(
                f"a constant curve from {self.start:g} to {self.end:g}; use another shape", "shape"
            )
        if self.shape == "geometric" and not (self.start > 0 and self.end > 0):
            raise InvalidInputError("a geometric curve must begin and end above 0", "shape")
        if not 0 <= self.start_token < self.end_token < math.inf:
            raise InvalidInputError(
                f"a curve over tokens {self.start_token:g} to {self.end_token:g}", "end_token"
            )

    @classmethod
    def constant(cls, value: float, end_token: float) -> "Curve":
        """Return a value that stays from the first token on."""
        return cls(0.0, end_token, value, value)

    @property
    def falls(self) -> bool:
        """Whether it ends below its start."""
        return self.end < self.start

    def at(self, token: float) -> float:
        """Return the value at a token; before and after, those of the ends."""
        done = (token - self.start_token) / (self.end_token - self.start_token)
        return SHAPES[self.shape](self.start, self.end, min(max(done, 0.0), 1.0))

    def of_step(self, token: float, tokens: float) -> float:
        """Return the value of the step that begins at `token` and trains on `tokens`."""
        return self.at(token + tokens if self.shape == "warmup" else token)

    def until(self, end_token: float) -> "Curve":
        """Return a constant as it is said of a stage that ends there; others as they are."""
        return replace(self, end_token=end_token) if self.shape == "constant" else self

    def moved(self, tokens: float) -> "Curve":
        """Return the curve as many tokens later."""
        begin, end = self.start_token + tokens, self.end_token + tokens
        return replace(self, start_token=begin, end_token=end)

    def to_json(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        return {
            "start": self.start,
            "end": self.end,
            "shape": self.shape,
            "start_token": self.start_token,
            "end_token": self.end_token,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Curve":
        """Return the curve that `to_json` wrote."""
        return cls(**document)


def wsd(
    total: float,
    peak: float,
    end: float = 0.0,
    warmup: float = 0.0,
    decay: float = 0.2,
    shape: str = "linear",
) -> tuple[Curve, ...]:
    """Return warm-up, stable part and decay, those of them that last.

    Args:
        total: tokens of the training.
        peak: largest value.
        end: value at the end of the decay.
        warmup: share of the tokens.
        decay: share of the tokens.
        shape: of the decay: linear, cosine, one_minus_sqrt or geometric.

    Raises:
        InvalidInputError: the shares are negative or more than all.
    """
    if min(warmup, decay) < 0 or warmup + decay > 1 + _SLIVER:
        raise InvalidInputError(
            f"warm-up {warmup:g} and decay {decay:g} must be shares that leave at least 0 to the "
            "stable part",
            "decay",
        )
    rises, falls = warmup * total, (1 - decay) * total
    if abs(falls - rises) < _SLIVER * total:  # rounding left a gap or a stable part of nothing
        falls = rises
    parts = [
        (0.0, rises, 0.0, peak, "warmup"),
        (rises, falls, peak, peak, "constant"),
        (falls, total, peak, end, shape),
    ]
    return tuple(Curve(*part) for part in parts if part[1] > part[0])
