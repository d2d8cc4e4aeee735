"""Keeps a group's lease alive while it is trained, and carries loss curves to the server."""

import threading
import time
from types import TracebackType
from typing import Any, Self

import structlog

from mixwright_client.client import Client, ProblemError, UnreachableError

_LONGEST_PAUSE_SECONDS = 1.0  # so that a cancellation is soon heard of

log = structlog.get_logger()


class Heartbeat:
    """Renews the lease of a group in a thread for as long as the `with` block lasts.

    The server may be away for a while: training goes on, and points are sent when it is back.

    Args:
        client: talks to the server.
        group_id: the group.
        token: of its lease.
        lease_seconds: how long the server waits for a sign of life.
        total_tokens: of all runs of the group, for the speed.
    """

    def __init__(
        self, client: Client, group_id: str, token: int, lease_seconds: float, total_tokens: int
    ) -> None:
        self._client, self._path, self._token = client, f"/v1/groups/{group_id}/heartbeat", token
        self._pause = min(_LONGEST_PAUSE_SECONDS, lease_seconds / 4)
        self._total = total_tokens
        self._progress, self._marks = 0.0, [(time.monotonic(), 0.0)]
        self._points: list[dict[str, Any]] = []
        self._guard = threading.Lock()
        self._stop, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether the group was cancelled or is another worker's by now."""
        return self._lost.is_set()

    def report(self, progress: float) -> None:
        """Note that the share `progress` of the group's steps is done."""
        self._progress = progress

    def add_points(self, points: list[dict[str, Any]]) -> None:
        """Send these points of loss curves with the next sign of life."""
        with self._guard:
            self._points += points

    def __enter__(self) -> Self:
        """Start beating."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop beating, after a last beat that brings what is left of the points."""
        self._stop.set()
        self._thread.join()
        if error is None and not self.is_lost:
            self._send()

    def _beat(self) -> None:
        while not self._stop.wait(self._pause):
            self._send()
            if self.is_lost:
                return

    def _send(self) -> None:
        with self._guard:
            points = list(self._points)
        body = {"lease_token": self._token, "progress": self._progress, "points": points}
        try:
            self._client.post(self._path, {**body, "tokens_per_second": self._speed()})
        except UnreachableError as error:
            log.warning("the server does not answer, training goes on", error=str(error))
            return
        except ProblemError as error:
            log.warning("the group is lost, training stops", error=str(error))
            self._lost.set()
            return
        with self._guard:
            del self._points[: len(points)]

    def _speed(self) -> float | None:
        """Return tokens per second over the last beats, None before there is a difference."""
        self._marks = [*self._marks[-5:], (time.monotonic(), self._progress)]
        (begin, before), (end, now) = self._marks[0], self._marks[-1]
        return (now - before) * self._total / (end - begin) if now > before > 0 else None
