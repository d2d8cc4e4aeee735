"""Weights of checkpoints that are averaged.

Source:
    "How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining"
    (arXiv:2511.18903): averaging the last checkpoints under a constant rate, in place of its decay
    [X abstract]. Simple, exponential and linear weights are named there; how exactly they are
    defined was not found: these are the usual ones [R].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Averaging:
    """Checkpoints of a stage that are averaged when it has ended.

    Attributes:
        method: "simple", "exponential" or "linear" weights.
        checkpoints: how many, evenly spaced over the last `share` of the stage, the last at its
            end.
        share: of the stage's tokens, above 0 and at most 1.
        decay: of exponential weights, what the average keeps at each checkpoint.
    """

    method: str = "simple"
    checkpoints: int = 6
    share: float = 0.2
    decay: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in ("simple", "exponential", "linear"):
            raise InvalidInputError(
                f"averaging by '{self.method}'; it must be simple, exponential or linear", "method"
            )
        if self.checkpoints < 2 or not 0 < self.share <= 1 or not 0 < self.decay < 1:
            raise InvalidInputError(
                "averaging needs two checkpoints, a share above 0 and at most 1, and a decay "
                "between 0 and 1",
                "averaging",
            )

    @property
    def weights(self) -> FloatArray:
        """Of the checkpoints, oldest first, `(c,)`; see `weights_for`."""
        return weights_for(self.method, self.checkpoints, self.decay)

    def to_json(self) -> dict[str, Any]:
        """Return the averaging as JSON values."""
        answer = {"method": self.method, "checkpoints": self.checkpoints, "share": self.share}
        return answer | ({"decay": self.decay} if self.method == "exponential" else {})


def weights_for(method: str, count: int, decay: float = 0.5) -> FloatArray:
    """Return the weights of `count` checkpoints `(c,)`, oldest first, sum 1.

    Args:
        method: "simple" (all alike), "linear" (in proportion to their place, 1 to c) or
            "exponential" (θ ← decay θ + (1 - decay) θ_k, from the first checkpoint on).
        count: number of checkpoints.
        decay: of exponential weights, between 0 and 1.

    Raises:
        InvalidInputError: an unknown method, no checkpoint, or a decay out of range.
    """
    if count < 1:
        raise InvalidInputError("there is no checkpoint to average", "checkpoints")
    if method == "simple":
        return np.full(count, 1.0 / count)
    if method == "linear":
        places = np.arange(1.0, count + 1)
        return np.asarray(places / places.sum())
    if method != "exponential":
        raise InvalidInputError(
            f"method is '{method}'; it must be simple, linear or exponential", "method"
        )
    if not 0 < decay < 1:
        raise InvalidInputError(f"decay is {decay}; it must be between 0 and 1", "decay")
    weights = (1 - decay) * decay ** np.arange(count - 1.0, -1.0, -1.0)
    weights[0] = decay ** (count - 1)
    return np.asarray(weights)
