"""The thread that talks to the server, so that training never waits for it.

What is to be said goes into a spool and is sent in its order, each thing until it was answered.
While the server is away the waits grow to five minutes; nothing is lost and nothing is raised.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mixwright_client.client import UnreachableError
from mixwright_client.ledger import Entry, LedgerError
from mixwright_client.spool import Spool
from mixwright_client.transport import TIMEOUT, Answer, Request, Transport

_log = logging.getLogger(__name__)
_LONGEST_WAIT = 300.0  # seconds
_HURRIED_WAIT = 0.1  # seconds, once training has ended
_FOR_GOOD = frozenset({400, 409, 413, 422})  # asked again, the answer would be the same


@dataclass(frozen=True)
class Pace:
    """How often the server is talked to.

    Attributes:
        poll: seconds between questions for new weights.
        retry: seconds before a second attempt; doubled with each one that follows, up to 300.
    """

    poll: float = 10.0
    retry: float = 1.0


@dataclass(frozen=True)
class _Resume:
    position: int  # after it in the spool
    step: int
    version: int

    def voids(self, position: int, record: dict[str, Any]) -> bool:
        """Say whether a record before it was of what is not part of the training any more."""
        if position >= self.position:
            return False
        body = record["body"]
        if record["kind"] == "observations":
            return bool(body["step"] > self.step)
        return bool(record["kind"] == "acks" and body["version"] > self.version)


class Courier:
    """Sends what is in a spool, and brings weights.

    Args:
        transport: the way to the server.
        training: its id.
        spool: of this training alone.
        newest: the version that is known.
        pace: how often to talk.
    """

    def __init__(
        self, transport: Transport, training: str, spool: Spool, newest: int, pace: Pace
    ) -> None:
        self._transport, self._path = transport, f"/v1/trainings/{training}"
        self._spool, self._pace = spool, pace
        self._newest, self._etag, self._asked = newest, "", float("-inf")
        self._offers: list[Entry] = []
        self._plan: tuple[int, Mapping[str, Any]] | None = None
        self._resumes = [
            _Resume(position, record["body"]["step"], record["body"]["version"])
            for position, record in spool.pending()
            if record["kind"] == "resume"
        ]
        self._lock = threading.Lock()
        self._wake, self._hurry, self._stop = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run, name="mixwright", daemon=True)

    def start(self) -> None:
        """Begin to talk; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def post(self, kind: str, body: dict[str, Any]) -> None:
        """Have something sent: to "observations" or "acks".

        Raises:
            OSError: the spool cannot be written.
        """
        self._spool.append({"kind": kind, "body": body})
        self._wake.set()

    def resume(self, step: int, version: int) -> None:
        """Tell the server that all after a step is void; weights from before it are not taken.

        Raises:
            OSError: the spool cannot be written.
        """
        body = {"step": step, "version": version}
        with self._lock:
            record = {"kind": "resume", "key": uuid.uuid4().hex, "body": body}
            self._resumes.append(_Resume(self._spool.append(record), step, version))
            self._offers, self._newest, self._etag, self._plan = [], version, "", None
        self._wake.set()

    def take(self) -> tuple[list[Entry], tuple[int, Mapping[str, Any]] | None]:
        """Return what came since the last call.

        Returns:
            Weights, oldest first; and the last plan with the step up to which the server knew.
        """
        with self._lock:
            (offers, self._offers), (plan, self._plan) = (self._offers, []), (self._plan, None)
        return offers, plan

    def settle(self, seconds: float) -> bool:
        """Wait until all was answered, for so long at most; return whether it was."""
        if self._spool.is_empty():
            return True
        deadline = time.monotonic() + seconds
        self.start()
        self._hurry.set()
        self._wake.set()
        while self._thread.is_alive() and not self._spool.is_empty():
            if time.monotonic() > deadline:
                break
            time.sleep(_HURRIED_WAIT / 10)
        self._hurry.clear()
        return self._spool.is_empty()

    def finish(self, seconds: float) -> bool:
        """Send what is left, for so long at most, and end; return whether all was answered."""
        deadline = time.monotonic() + seconds
        self.start()
        self.settle(seconds)
        for event in (self._stop, self._hurry, self._wake):
            event.set()
        self._thread.join(max(0.0, deadline - time.monotonic()) + TIMEOUT)
        if not self._thread.is_alive():
            self._transport.close()
            self._spool.close()
        return self._spool.is_empty()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._send_all()
                self._ask()
                failures = 0
            except UnreachableError as error:
                failures += 1
                if failures & (failures - 1) == 0:  # less and less often
                    _log.warning("the last weights stay, attempt %d: %s", failures, error)
            except Exception:  # noqa: BLE001  - a fault here must not end the thread, much less the training
                failures += 1
                _log.exception("the last weights stay")
            self._rest(failures)

    def _rest(self, failures: int) -> None:
        if self._hurry.is_set():
            self._stop.wait(_HURRIED_WAIT)
        elif failures:
            self._hurry.wait(backed_off(self._pace.retry, failures, random.random()))  # noqa: S311
        else:
            self._wake.wait(self._pace.poll)

    def _send_all(self) -> None:
        for position, record in self._spool.pending():
            if self._stop.is_set():
                return
            answer = None
            if not any(resume.voids(position, record) for resume in self._resumes):
                answer = self._delivered(record)
            if record["kind"] == "resume":
                with self._lock:
                    self._resumes = [item for item in self._resumes if item.position != position]
                self._asked = float("-inf")
            if answer is not None and record["kind"] != "acks":
                self._offer(answer, record["body"]["step"])
            self._spool.advance(position)  # last: whoever waits for it finds what came

    def _delivered(self, record: dict[str, Any]) -> Answer | None:
        """Return the answer to a record; None if it is refused for good."""
        kind, body = record["kind"], record["body"]
        answer = self._transport.send(
            Request("POST", f"{self._path}/{kind}", body, record.get("key", ""))
        )
        if answer.status < 300:
            return answer
        if _is_final(answer, kind):
            _log.warning("the server refused %s %s: %s", kind, body, answer.body)
            return None
        raise UnreachableError(f"the server answered {answer.status} to {kind}: {answer.body}")

    def _ask(self) -> None:
        if time.monotonic() - self._asked < self._pace.poll:
            return
        answer = self._transport.send(Request("GET", f"{self._path}/weights", etag=self._etag))
        self._asked = time.monotonic()
        if answer.status == 200:
            self._etag = answer.etag
            self._offer(answer)
        elif answer.status != 304:
            raise UnreachableError(f"the server answered {answer.status}: {answer.body}")

    def _offer(self, answer: Answer, step: int | None = None) -> None:
        """Have taken what an answer brings: to what was told of a step, or to a question."""
        try:
            entry = Entry.from_json(answer.body)
        except LedgerError as error:
            _log.warning("what the server sent is left out: %s", error)
            return
        with self._lock:
            if self._resumes:
                return
            if step is not None and isinstance(answer.body.get("plan"), Mapping):
                self._plan = (step, answer.body["plan"])
            if entry.version > self._newest:
                self._newest = entry.version
                self._offers.append(entry)


def backed_off(first: float, failures: int, chance: float) -> float:
    """Return the seconds to wait after failures in a row: doubled each time, at most 300.

    Args:
        first: the wait after one failure.
        failures: at least 1.
        chance: in [0, 1); spreads clients out, from half to one and a half of the wait.
    """
    grown = first * 2.0 ** min(failures - 1, 60)
    return min(_LONGEST_WAIT, grown * (0.5 + chance))


def _is_final(answer: Answer, kind: str) -> bool:
    if answer.again:
        return False
    return answer.status in _FOR_GOOD or (kind == "acks" and answer.status == 404)
