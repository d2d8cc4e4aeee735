"""How a process takes part in a training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable

from mixwright_client import ranks
from mixwright_client.courier import Pace

Broadcast = Callable[[str], str]


@dataclass(frozen=True)
class Settings:
    """How a process takes part in a training.

    Attributes:
        rank: rank 0 alone talks to the server; None to ask torch.distributed.
        broadcast: returns rank 0's text on every rank; None to use torch.distributed.
        sync_every: steps between hand-outs of new weights to the ranks.
        report_every: steps between reports of a `DomainLoss`; a mapping is always reported.
        prefetch_steps: how far a data loader plans ahead, `num_workers * prefetch_factor`.
        max_step: the largest total variation from one version to the next that is taken.
        folder: where what is still to be sent is kept; it has to outlive the process.
        pace: how often the server is talked to.
        patience: seconds that a hand-out waits until all that was told is answered; 0, so that
            the training never waits. Where it is always answered in time, and checkpoints are
            taken every so many `sync_every` steps, weights hold from the same steps in every
            repetition, whatever breaks down.
    """

    rank: int | None = None
    broadcast: Broadcast | None = None
    sync_every: int = 10
    report_every: int = 10
    prefetch_steps: int = 0
    max_step: float = 1.0
    folder: str | Path = "mixwright"
    pace: Pace = field(default_factory=Pace)
    patience: float = 0.0

    def settled(self) -> Settings:
        """Return the settings with what torch.distributed knows filled in."""
        rank = ranks.rank_and_world()[0] if self.rank is None else self.rank
        return replace(self, rank=rank, broadcast=self.broadcast or ranks.broadcast)

    @property
    def lead_steps(self) -> int:
        """Steps between an observation and the first that new weights can hold for."""
        return self.sync_every + self.prefetch_steps
