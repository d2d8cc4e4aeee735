"""Weights as a file that a trainer reads again while it runs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from mixwright_client.client import UnreachableError
from mixwright_client.ledger import Entry, LedgerError
from mixwright_client.transport import Request, Transport, connect, write_whole

_log = logging.getLogger(__name__)


def write_weights(path: Path, weights: Mapping[str, float]) -> None:
    """Write weights as a JSON object by domain; readers see the old file or the new one."""
    write_whole(path, json.dumps(dict(weights), indent=1) + "\n")


def pull(
    server: str, training: str, path: Path, *, seconds: float = 10.0, stop: threading.Event
) -> None:
    """Keep a file at a training's newest weights, until told to stop.

    The file changes only for weights that are valid; while the server is away it stays. Whoever
    reads it decides from which step on they hold: nothing is acknowledged.

    Args:
        server: `http(s)://…` or `file:///folder`.
        training: its id.
        path: of the file.
        seconds: between questions.
        stop: set it to end.
    """
    transport, version = connect(server), -1
    try:
        while not stop.is_set():
            version = pull_once(transport, training, path, version)
            stop.wait(seconds)
    finally:
        transport.close()


def pull_once(transport: Transport, training: str, path: Path, version: int = -1) -> int:
    """Write the newest weights to a file if they are newer than a version; return theirs."""
    try:
        entry = _newest(transport, training)
    except (UnreachableError, LedgerError) as error:
        _log.warning("%s stays as it is: %s", path, error)
        return version
    if entry.version <= version:
        return version
    write_weights(path, entry.weights)
    return entry.version


class WeightsFile:
    """A file of weights, as a trainer reads it.

    Args:
        path: of the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def changed(self) -> dict[str, float] | None:
        """Return the weights if the file is another than at the last call, else None.

        A file whose weights are not valid is left out, with a warning.
        """
        try:
            found, text = self._path.stat(), self._path.read_text()
            if (found.st_ino, found.st_mtime_ns) == self._seen:
                return None
            self._seen = (found.st_ino, found.st_mtime_ns)
            content = {"version": 0, "effective_step": 0, "weights": json.loads(text)}
            entry = Entry.from_json(content)
            entry.check(tuple(entry.weights))
            return dict(entry.weights)
        except FileNotFoundError:
            return None
        except ValueError as error:
            _log.warning("%s is left out: %s", self._path, error)
            return None


def _newest(transport: Transport, training: str) -> Entry:
    answer = transport.send(Request("GET", f"/v1/trainings/{training}/weights"))
    if answer.status != 200:
        raise UnreachableError(f"the server answered {answer.status}: {answer.body}")
    entry = Entry.from_json(answer.body)
    entry.check(tuple(entry.weights))
    return entry
