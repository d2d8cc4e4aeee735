"""Rounds of probes, as a server plans them (Aioli): short intervals on mixtures of their own.

A round begins at a step that no rank has planned. Losses are measured before it and at the end of
each interval; the last measurement completes a table, and the answer to that brings new weights
and the next plan. Then `remaining_steps` are trained with those weights before the next round.
All of it is in the state of a training: whoever resumes goes on in the middle of an interval.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from mixwright_client.ledger import Entry, LedgerError

Evaluate = Callable[[], Mapping[str, float]]
Plan = Mapping[str, Any]

_log = logging.getLogger(__name__)


class Round:
    """The probes of a plan, from a step on, and the losses that were measured.

    Args:
        plan: the server's, with `intervals`.
        start: the first step of the first probe, at least 1.
        losses: measured so far: numbers in the order of `columns`, None where one is not finite.

    Raises:
        LedgerError: the plan is none.

    Attributes:
        columns: the domains that are probed and measured.
        end: the first step after the probes.
        remaining: steps to train after that, before the next round.
    """

    def __init__(
        self, plan: Plan, start: int, losses: Sequence[Sequence[float | None]] = ()
    ) -> None:
        try:
            self.columns = [str(name) for name in plan["mixtures"]["columns"]]
            values = zip(plan["mixtures"]["rows"], plan["mixtures"]["values"])
            mixtures = {name: dict(zip(self.columns, row)) for name, row in values}
            probes = [mixtures[interval["probe"]] for interval in plan["intervals"]]
            self.rows = [plan["before"], *(interval["row"] for interval in plan["intervals"])]
            self.remaining, self._steps = int(plan["remaining_steps"]), int(plan["probe_steps"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise LedgerError(f"this is no plan of probes: {error!r}") from error
        if not probes or self._steps < 1 or self.remaining < 0:
            raise LedgerError("this is no plan of probes: it has no steps")
        for probe in mixtures.values():
            weights = {"version": 0, "effective_step": start, "weights": probe}
            Entry.from_json(weights).check(self.columns)
        self._probes = probes
        self.start, self.end = start, start + len(probes) * self._steps
        self.losses = [list(row) for row in losses]

    def mixture(self, step: int, served: Mapping[str, float]) -> Mapping[str, float]:
        """Return the weights of a step: those served, but in a probe's steps the probe's.

        Domains that the plan does not name are pinned and keep their share of what is served.
        """
        if not self.start <= step < self.end:
            return served
        probe = self._probes[(step - self.start) // self._steps]
        free = math.fsum(served[name] for name in probe)
        return {**served, **{name: free * share for name, share in probe.items()}}

    def free_from(self, step: int) -> int:
        """Return the first step from `step` on that is not a probe's."""
        return self.end if self.start <= step < self.end else step

    def is_due(self, step: int) -> bool:
        """Say whether the losses after a step are the next that are wanted."""
        return step + 1 == self.start + len(self.losses) * self._steps <= self.end

    def is_complete(self) -> bool:
        """Say whether all losses were measured, and are finite."""
        return len(self.losses) == len(self.rows) and all(None not in row for row in self.losses)

    def table(self) -> dict[str, Any]:
        """Return `probe_losses` as an observation carries them."""
        return {"rows": self.rows, "columns": self.columns, "values": self.losses}

    def to_json(self, step: int) -> dict[str, Any]:
        """Return what a checkpoint needs before a step, beside the plan."""
        measured = max(0, (step - self.start) // self._steps + 1)
        return {"start": self.start, "losses": self.losses[:measured]}


class Probing:
    """What a server wants measured, and how far that is; the same on every rank.

    Args:
        plan: the server's, of whatever kind; only one with `intervals` is followed here.
        domains: of the training.

    Attributes:
        round: None where there are no probes.
        evaluate: measures, on every rank; None where nobody does.
    """

    def __init__(self, plan: Plan, domains: Sequence[str]) -> None:
        self.plan, self.domains = plan, tuple(domains)
        self.round: Round | None = None
        self.evaluate: Evaluate | None = None

    def is_on(self) -> bool:
        """Say whether the server wants probes, and there is who measures them."""
        return self.evaluate is not None and bool(self.plan.get("intervals"))

    def measure(self, step: int, broadcast: Callable[[str], str]) -> dict[str, Any]:
        """Measure if a step was the last of an interval; every rank has to call it.

        Returns:
            `{"probe_losses": …}` where the round is complete with it, else nothing.

        Raises:
            ValueError: `evaluate` left out a domain.
        """
        if self.evaluate is None or self.round is None or not self.round.is_due(step):
            return {}
        found = _row(self.evaluate(), self.round.columns)
        self.round.losses.append(json.loads(broadcast(json.dumps(found))))
        return {"probe_losses": self.round.table()} if self.round.is_complete() else {}

    def next_plan(self, step: int, offer: tuple[int, Plan] | None) -> Plan | None:
        """Return the plan to go over to after a step, None to go on with what there is.

        Args:
            step: that has ended.
            offer: what the server wants measured next, and the step up to which it knew.
        """
        if self.round is None:
            return offer[1] if offer is not None else self.plan if self.is_on() else None
        last = self.round.end - 1
        if offer is not None and offer[0] >= last:
            return offer[1]
        if step < last or self.round.is_complete():
            return None
        _log.warning("losses of the probes are missing or not finite: the round begins again")
        return self.plan

    def start_of(self, plan: Plan, floor: int, effective_step: int) -> int | None:
        """Return the first step of a plan's probes, None if it has none or nobody measures.

        Args:
            plan: that `next_plan` returned.
            floor: the first step that no rank has planned.
            effective_step: that the newest weights hold from.

        Raises:
            LedgerError: the plan is not valid.
        """
        if self.evaluate is None or not plan.get("intervals"):
            return None
        start = 0
        if self.round is not None:
            start = max(self.round.end, effective_step) + self.round.remaining
        unknown = set(Round(plan, max(floor, start)).columns).difference(self.domains)
        if unknown:
            raise LedgerError(f"'{min(unknown)}' is to be probed, and is no domain of the training")
        return max(floor, start)

    def begin(self, plan: Plan, start: int | None) -> None:
        """Go over to a plan, and to its probes from a step on."""
        self.plan, self.round = plan, None if start is None else Round(plan, start)

    def state_dict(self, step: int) -> dict[str, Any]:
        """Return, as JSON, what is needed to go on from a step."""
        under_way = None if self.round is None else self.round.to_json(step)
        return {"plan": self.plan, "round": under_way}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a state was taken; one without a plan has no probes.

        Raises:
            LedgerError: its plan is none.
        """
        self.plan, under_way = state.get("plan") or {}, state.get("round")
        self.round = None if under_way is None else Round(self.plan, **under_way)


def _row(found: Mapping[str, float], columns: Sequence[str]) -> list[float | None]:
    """Return losses in the order of the columns."""
    missing = [name for name in columns if name not in found]
    if missing:
        raise ValueError(f"the losses that were evaluated have no '{missing[0]}'")
    losses = [float(found[name]) for name in columns]
    return [loss if math.isfinite(loss) else None for loss in losses]
