"""How many proxies fit on the device, and how many sequences at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from mixwright.errors import InvalidInputError
from mixwright.proxies import ProxyModel

_USED_SHARE = 0.85  # of what is free; the rest is for fragmentation and other processes


class ModelTooLargeError(InvalidInputError):
    """Not even one proxy, one sequence at a time, fits into memory."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What fits.

    Attributes:
        width: proxies in one fused step.
        micro_batch: sequences of each at a time.
    """

    width: int
    micro_batch: int

    def smaller(self) -> "Fit":
        """Return what to try when memory ran out: half the micro-batch first, then half the width.

        Raises:
            ModelTooLargeError: nothing is left to halve.
        """
        if self.micro_batch > 1:
            return Fit(self.width, self.micro_batch // 2)
        if self.width > 1:
            return Fit(self.width // 2, 1)
        raise ModelTooLargeError(_MESSAGE, "model")


_MESSAGE = (
    "one proxy, one sequence at a time, does not fit into the device's memory; train a smaller "
    "model, a shorter context or a smaller vocabulary, or use a larger device"
)


def fit(peak_bytes: Callable[[int, int], int], free: int, width: int, sequences: int) -> Fit:
    """Return the widest step that fits, up to `width`, a power of two where it is less.

    Two steps, of one and of two proxies, tell what a proxy needs; a proxy too large for whole
    batches is tried with half the sequences, and so on.

    Args:
        peak_bytes: measures a step of `(proxies, sequences)`, bytes.
        free: bytes.
        width: proxies wanted.
        sequences: of a batch.

    Raises:
        ModelTooLargeError: nothing fits.
    """
    usable = int(_USED_SHARE * free)
    one = peak_bytes(1, sequences)
    while one > usable:
        if sequences == 1:
            raise ModelTooLargeError(_MESSAGE, "model")
        sequences //= 2
        one = peak_bytes(1, sequences)
    each = max(1, peak_bytes(2, sequences) - one)
    room = 1 + (usable - one) // each
    return Fit(width if room >= width else 1 << (int(room).bit_length() - 1), sequences)


def free_bytes(device: torch.device) -> int:
    """Return how much memory of the device is free."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def estimated_bytes(model: ProxyModel, proxies: int, sequences: int) -> int:
    """Return about what a step takes in float32, where it cannot be measured.

    Parameters, gradients, two moments and one scratch copy; per position the tensors that are
    kept for the backward pass, and three times the logits.
    """
    positions = sequences * model.context
    kept = model.layers * (16 * model.width + 5 * model.feed_forward) + 4 * model.width
    return proxies * (20 * model.parameters + 4 * positions * (kept + 3 * model.vocabulary))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory ran out, on a GPU or for the processor."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
