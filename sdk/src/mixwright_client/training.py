"""A training whose weights a server chooses.

The trainer calls `step_end` after every step, on every rank. It returns at once: what was seen is
appended to a file, and a thread of rank 0 sends it and fetches weights. Every few steps rank 0
tells the others what came; new weights hold from a step that no rank has planned yet. Without the
server, the last weights stay good for ever. Only `patience`, and `probe_with` where a probe ends,
take time.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Protocol

from mixwright_client.client import ClientError
from mixwright_client.courier import Courier
from mixwright_client.ledger import Entry, Ledger, LedgerError
from mixwright_client.probing import Evaluate, Probing
from mixwright_client.registration import Server, found_again, is_disabled, registered, way_to
from mixwright_client.sampler import BatchPlan, MixtureBatchSampler
from mixwright_client.settings import Settings
from mixwright_client.spool import Spool

_NO_NEWS: dict[str, Any] = {"entries": [], "plan": None, "start": None}
_log = logging.getLogger(__name__)


class Losses(Protocol):
    """What adds up losses on every rank: `DomainLoss`."""

    def report(self) -> Mapping[str, float | None]:
        """Return the mean of each domain over all ranks, None where nothing was seen."""
        ...


class Training:
    """Weights by step, and the reports they are chosen by.

    Made by `register`, `attach` or `from_state`, on every rank alike.

    Args:
        training: its id.
        ledger: the weights so far.
        settings: with a rank and a broadcast.
        courier: on rank 0; None on others, and where weights are frozen.
        frozen: whether the weights stay as they are, whatever comes.
    """

    def __init__(
        self,
        training: str,
        ledger: Ledger,
        settings: Settings,
        courier: Courier | None = None,
        frozen: bool = False,
    ) -> None:
        self.id, self.ledger, self.settings = training, ledger, settings
        self.frozen = frozen
        self.requires: Mapping[str, Any] = {}
        self._probing = Probing({}, ledger.domains)
        self._courier = courier
        self._sampler: MixtureBatchSampler | None = None
        self._sampler_state: Mapping[str, Any] | None = None
        self._last_step = -1
        if frozen:
            self.ledger = ledger.frozen_at(0)

    @classmethod
    def register(
        cls, server: Server, body: Mapping[str, Any], settings: Settings | None = None
    ) -> Training:
        """Create a training on the server, and return it on every rank.

        Args:
            server: `http(s)://…`, `file:///folder`, or a transport; only rank 0 uses it.
            body: of `POST /v1/trainings`, with `name`, `domains` and `algorithm`; `lead_steps` is
                filled in.
            settings: how this process takes part.

        Raises:
            ClientError: the server refused, or did not answer, or the folder cannot be used. With
                `MIXWRIGHT_DISABLE` set it is not asked, and `initial_weights` are needed.
        """
        settings = (settings or Settings()).settled()
        body = {"lead_steps": settings.lead_steps, **body}
        return cls._agreed(server, settings, lambda: registered(server, body))

    @classmethod
    def attach(cls, server: Server, training: str, settings: Settings | None = None) -> Training:
        """Return a training that is on the server already, on every rank.

        Raises:
            ClientError: the server refused, or did not answer, or the folder cannot be used.
        """
        settings = (settings or Settings()).settled()
        return cls._agreed(server, settings, lambda: found_again(server, training))

    @classmethod
    def from_state(
        cls, server: Server, state: Mapping[str, Any], settings: Settings | None = None
    ) -> Training:
        """Return a training as a checkpoint knows it, on every rank; the server may be away.

        Raises:
            ClientError: the folder cannot be used: another process of the training does, perhaps.
            LedgerError: as of `load_state_dict`.
        """
        settings = (settings or Settings()).settled()
        found = {"id": state["training"], "entries": state["ledger"], "domains": state["domains"]}
        training = cls._agreed(server, settings, lambda: found)
        training.load_state_dict(state)
        return training

    def weights(self, step: int) -> Mapping[str, float]:
        """Return the weights of a step by domain: those served, in a probe's steps the probe's."""
        served = self.ledger.at(step).weights
        round_ = self._probing.round
        return served if round_ is None else round_.mixture(step, served)

    @property
    def plan(self) -> Mapping[str, Any]:
        """What the server wants measured besides what it requires; empty if nothing."""
        return self._probing.plan

    def probe_with(self, evaluate: Evaluate) -> None:
        """Follow plans of probes, such as Aioli's. To be called on every rank, before the steps.

        Batches of a probe's steps are drawn with its mixture, and when its last step ends
        `step_end` measures, on every rank, and reports. Before the first step of a round the
        losses are measured too.

        Args:
            evaluate: returns the loss of every domain, nats per token (rank 0's are taken), on a
                held-out batch that is the same each time; it leaves the model as it was.
        """
        self._probing.evaluate = evaluate

    def batch_sampler(
        self, sizes: Mapping[str, int], plan: BatchPlan, steps: int | None = None
    ) -> MixtureBatchSampler:
        """Return a sampler that follows the weights; its counts are part of our state.

        Raises:
            ValueError: the domains are others than the training's.
        """
        if set(sizes) != set(self.ledger.domains):
            raise ValueError(f"the training's domains are {', '.join(self.ledger.domains)}")
        self._sampler = MixtureBatchSampler(sizes, self.weights, plan, steps)
        if self._sampler_state is not None:
            self._sampler.load_state_dict(self._sampler_state)
        return self._sampler

    def step_end(
        self,
        step: int,
        losses: Losses | Mapping[str, float | None] | None = None,
        measured: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell what a step showed. To be called on every rank; a second call for a step is none.

        Args:
            step: of the optimiser, that has just ended; the first is 0.
            losses: a `DomainLoss`, or nats per token by domain (rank 0's are taken).
            measured: other fields of an observation, such as `grad_norms_squared` (rank 0's).

        Raises:
            LedgerError: this rank has planned beyond `prefetch_steps`, or is at another step or
                version than rank 0, so that its batches would not be those of the others.
        """
        if step <= self._last_step:
            return
        self._last_step = step
        if self.frozen:
            return
        if self._courier is not None:
            self._courier.start()
        table = self._probing.measure(step, self._broadcast)
        self._report(step, losses, {**table, **(measured or {})}, bool(table))
        if (step + 1) % self.settings.sync_every == 0:
            self._hand_out(step)
            self._probing.measure(step, self._broadcast)  # before probes that begin at once

    def state_dict(self, step: int | None = None) -> dict[str, Any]:
        """Return, as JSON, what a checkpoint needs; the same on every rank.

        Args:
            step: the first that is not done; None for the one after the last `step_end`.
        """
        step = self._last_step + 1 if step is None else step
        return {
            "training": self.id,
            "domains": list(self.ledger.domains),
            "step": step,
            "ledger": self.ledger.to_json(),
            **self._probing.state_dict(step),
            "sampler": None if self._sampler is None else self._sampler.state_dict(step),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, on every rank: its ledger holds, and the server is told.

        Raises:
            LedgerError: it is of another training, its ledger is not valid, or rank 0's state is of
                another step or version.
        """
        if state["training"] != self.id:
            raise LedgerError(f"the state is of training {state['training']}, not of {self.id}")
        step = int(state["step"])
        ledger = Ledger.from_json(state["domains"], state["ledger"], self.settings.max_step)
        self.ledger = ledger.frozen_at(step) if self.frozen else ledger
        standing = self._standing(step)
        _check_agreement(json.loads(self._broadcast(json.dumps(standing))), standing)
        self._probing.load_state_dict({} if self.frozen else state)
        self._last_step = step - 1
        self._sampler_state = state["sampler"]
        if self._sampler is not None and self._sampler_state is not None:
            self._sampler.load_state_dict(self._sampler_state)
        if self._courier is not None:
            self._courier.resume(max(step - 1, 0), ledger.newest.version)

    def finish(self, seconds: float = 10.0) -> bool:
        """Send what is left, for so long at most; return whether all was answered.

        What is left after that stays in the folder, for the next process.
        """
        return self._courier is None or self._courier.finish(seconds)

    @classmethod
    def _agreed(
        cls, server: Server, settings: Settings, ask: Callable[[], dict[str, Any]]
    ) -> Training:
        """Return the training that rank 0 finds out about, on every rank."""
        found: dict[str, Any] = {}
        spool = None
        if settings.rank == 0:
            try:
                found = ask()
                found["frozen"] = is_disabled() or not found["id"]
                if not found["frozen"]:
                    spool = Spool(Path(settings.folder) / f"{found['id']}.jsonl")
            except (ClientError, OSError) as error:
                found = {"error": str(error)}
        assert settings.broadcast is not None  # noqa: S101  - settled
        found = json.loads(settings.broadcast(json.dumps(found)))
        if "error" in found:
            raise ClientError(found["error"])
        ledger = Ledger.from_json(found["domains"], found["entries"], settings.max_step)
        courier = None
        if spool is not None:
            way, newest = way_to(server), ledger.newest.version
            courier = Courier(way, found["id"], spool, newest, settings.pace)
        training = cls(found["id"], ledger, settings, courier, found["frozen"])
        training.requires = found.get("requires") or {}
        training._probing = Probing(found.get("plan") or {}, ledger.domains)
        return training

    def _report(
        self,
        step: int,
        losses: Losses | Mapping[str, float | None] | None,
        measured: Mapping[str, Any],
        has_table: bool,
    ) -> None:
        """Tell what a step showed; where there are probes, losses go with their table."""
        if self._probing.is_on() and not has_table:
            losses = None
        if losses is not None and not isinstance(losses, Mapping):
            is_due = has_table or (step + 1) % self.settings.report_every == 0
            losses = losses.report() if is_due else None
        if self._courier is None or (losses is None and not measured):
            return
        observation = {"step": step, "weights_version": self.ledger.at(step).version, **measured}
        if losses is not None:
            observation["losses"] = losses
        self._post("observations", observation)

    def _hand_out(self, step: int) -> None:
        """Give every rank what came, from the first step that no rank has planned."""
        planned = 0 if self._sampler is None else self._sampler.planned
        floor = max(step + 1 + self.settings.prefetch_steps, planned)
        standing = self._standing(step + 1)  # before rank 0 adds what came
        news = _NO_NEWS if self._courier is None else self._news(step, floor)
        news = json.loads(self._broadcast(json.dumps({**news, "standing": standing})))
        _check_agreement(news.get("standing"), standing)
        entries = list(map(Entry.from_json, news["entries"]))
        starts = [entry.effective_step for entry in entries] + [news["start"] or floor]
        if min(starts) < planned:
            raise LedgerError(
                f"this rank has planned {planned - step - 1} steps ahead; "
                f"set prefetch_steps, now {self.settings.prefetch_steps}, to that"
            )
        for entry in entries:
            self.ledger.add(entry)
        if news["plan"] is not None:
            self._probing.begin(news["plan"], news["start"])

    def _standing(self, step: int) -> dict[str, Any]:
        """Return what has to be the same on every rank, as JSON, before a step."""
        return {"step": step, **self.ledger.newest.to_json()}

    def _news(self, step: int, floor: int) -> dict[str, Any]:
        """Return the weights and the plan that came, with the steps that they hold from."""
        assert self._courier is not None  # noqa: S101  - rank 0
        if self.settings.patience and not self._courier.settle(self.settings.patience):
            _log.warning("no answer in %s seconds: training goes on", self.settings.patience)
        offers, offered_plan = self._courier.take()
        entries = [entry.to_json() for entry in self._taken(offers, floor)]
        plan, start = self._probing.next_plan(step, offered_plan), None
        if plan is not None:
            try:
                start = self._probing.start_of(plan, floor, self.ledger.newest.effective_step)
            except LedgerError as error:
                _log.warning("nothing is probed any more: %s", error)
                plan = {}
        return {"entries": entries, "plan": plan, "start": start}

    def _taken(self, offers: list[Entry], floor: int) -> list[Entry]:
        """Return the weights that are valid, as they will hold, and acknowledge them."""
        taken = []
        for offer in offers:
            start = max(offer.effective_step, floor)
            if self._probing.round is not None:
                start = self._probing.round.free_from(start)
            entry = replace(offer, effective_step=start)
            try:
                is_new = self.ledger.add(entry)
            except LedgerError as error:
                _log.warning("weights are refused, the last ones stay: %s", error)
                continue
            if is_new:
                taken.append(entry)
                ack = {"version": entry.version, "applied_step": entry.effective_step}
                self._post("acks", ack)
        return taken

    def _broadcast(self, text: str) -> str:
        assert self.settings.broadcast is not None  # noqa: S101  - settled
        return self.settings.broadcast(text)

    def _post(self, kind: str, body: dict[str, Any]) -> None:
        assert self._courier is not None  # noqa: S101  - rank 0
        try:
            try:
                self._courier.post(kind, body)
            except (TypeError, ValueError):  # NumPy's numbers, and some that are not finite
                self._courier.post(kind, _finite(body))
        except OSError:  # a full disk is no reason to stop training
            _log.exception("%s of step %s are lost", kind, body.get("step"))


def _check_agreement(first: Mapping[str, Any] | None, own: Mapping[str, Any]) -> None:
    """Refuse to go on beside a rank 0 that stands elsewhere, or tells of something else."""
    if first == own:
        return
    theirs, ours = (_place(first) if first else "elsewhere"), _place(own)
    raise LedgerError(
        f"ranks do not agree: rank 0 is {theirs}; this rank is {ours}. Load the same checkpoint on "
        "every rank, and call step_end on every rank for every step"
    )


def _place(standing: Mapping[str, Any]) -> str:
    step, version, start = (standing[name] for name in ("step", "version", "effective_step"))
    return f"before step {step}, with version {version} from step {start} on"


def _finite(value: Any) -> Any:  # noqa: ANN401  - JSON
    """Return JSON with null for every number that is not finite."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(inner) for inner in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return float(value) if math.isfinite(value) else None
