"""What ranks of a distributed training tell each other, by torch.distributed where it runs.

torch is never imported here unless the training itself has done so.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def is_distributed() -> bool:
    """Say whether a process group of torch.distributed is running."""
    if "torch" not in sys.modules:
        return False
    import torch.distributed as dist

    return bool(dist.is_available() and dist.is_initialized())


def rank_and_world() -> tuple[int, int]:
    """Return this process' rank and how many there are; 0 and 1 where nothing is distributed."""
    if not is_distributed():
        return 0, 1
    import torch.distributed as dist

    return dist.get_rank(), dist.get_world_size()


def broadcast(text: str) -> str:
    """Return rank 0's text on every rank; every rank has to call it."""
    if not is_distributed():
        return text
    import torch.distributed as dist

    box = [text]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def add_up(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's sum over all ranks, in its place; every rank has to call it."""
    if is_distributed():
        import torch.distributed as dist

        dist.all_reduce(tensor)
    return tensor


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensors `(n, …)` of all ranks one after the other; all have the same shape."""
    if not is_distributed():
        return tensor
    import torch
    import torch.distributed as dist

    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
