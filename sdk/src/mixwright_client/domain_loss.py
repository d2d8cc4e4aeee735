"""Mean training loss of each domain, added up where it arises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mixwright_client import ranks

if TYPE_CHECKING:
    import torch


class DomainLoss:
    """Sums of losses and counts of tokens by domain, on the device that they arise on.

    Adding waits for nothing: no rank and no transfer from the device. Reporting is one all-reduce
    of two numbers a domain, and one transfer.

    Args:
        domains: names; ids are places in it.
        device: of the losses.
    """

    def __init__(self, domains: Sequence[str], device: torch.device | str = "cpu") -> None:
        import torch

        self.domains = tuple(domains)
        shape = (2, len(self.domains))  # sums of losses, counts of tokens
        self._sums = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(
        self, losses: torch.Tensor, domain_ids: torch.Tensor, mask: torch.Tensor | None = None
    ) -> None:
        """Add what a micro-batch showed.

        Args:
            losses: nats, shape `(B, T)` for tokens or `(B,)` for sequences.
            domain_ids: integers, shape `(B,)`, or `(B, T)` where sequences are packed of several
                documents.
            mask: of the shape of `losses`; what counts, as numbers or booleans. None for all.

        Raises:
            ValueError: the shapes do not fit.
        """
        import torch

        losses = losses.detach()
        if domain_ids.shape != losses.shape[: domain_ids.dim()] or domain_ids.dim() == 0:
            raise ValueError(
                f"domain ids {tuple(domain_ids.shape)} do not fit losses {tuple(losses.shape)}"
            )
        wide = domain_ids.reshape(domain_ids.shape + (1,) * (losses.dim() - domain_ids.dim()))
        ids = wide.expand_as(losses).reshape(-1)
        counted = torch.ones_like(losses) if mask is None else mask.expand_as(losses)
        counted = counted.to(torch.float64)
        kept = torch.where(counted > 0, losses.to(torch.float64), 0.0)  # padding may be NaN
        rows = torch.stack([kept * counted, counted]).reshape(2, -1)
        self._sums.index_add_(1, ids, rows)

    def report(self) -> dict[str, float | None]:
        """Return each domain's mean over all ranks since the last report, and start afresh.

        None for a domain that was not seen, or whose loss was not finite. Every rank has to call.
        """
        sums, counts = ranks.add_up(self._sums.clone()).tolist()
        self._sums.zero_()
        means = [total / count if count else None for total, count in zip(sums, counts)]
        return {
            name: mean if mean is not None and abs(mean) < float("inf") else None
            for name, mean in zip(self.domains, means)
        }
