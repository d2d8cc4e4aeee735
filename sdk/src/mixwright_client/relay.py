"""Forwards between a folder and a server, for training jobs that have no route to it."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path

from mixwright_client.client import UnreachableError
from mixwright_client.transport import Answer, Request, Transport, connect, write_whole

_log = logging.getLogger(__name__)
_PAUSE = 0.2  # seconds between looks at the folder
_PAUSE_AWAY = 5.0  # seconds, while the server does not answer


def relay(folder: Path, url: str, stop: threading.Event | None = None) -> None:
    """Forward requests from a folder to a server, and its answers back, until told to stop.

    Any number of relays may be started one after the other, but one at a time for a folder. The
    token comes from the environment, `MIXWRIGHT_TOKEN`; it never enters the folder.

    Args:
        folder: what training jobs know as `file:///folder`.
        url: of the server, `http(s)://…`.
        stop: set it to end; without it, the relay goes on for ever.
    """
    stop = stop or threading.Event()
    server = connect(url)
    try:
        while not stop.is_set():
            stop.wait(_PAUSE if forward(folder, server) else _PAUSE_AWAY)
    finally:
        server.close()


def forward(folder: Path, server: Transport) -> bool:
    """Forward what waits in a folder, oldest first; return whether the server answered it all.

    What is not answered stays, and holds up what came after it: order matters. An answer is
    written before its request is taken away, so a relay that dies between forwards it again.
    """
    for path in sorted((folder / "requests").glob("[0-9]*.json")):
        try:
            answer = _answer_to(path, server)
        except UnreachableError as error:
            _log.warning("%s waits: %s", path.name, error)
            return False
        write_whole(folder / "answers" / path.name, json.dumps(asdict(answer)))
        path.unlink()
    return True


def _answer_to(path: Path, server: Transport) -> Answer:
    try:
        request = Request(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        _log.warning("%s is no request: %s", path.name, error)
        return Answer(400, {"detail": f"{path.name} is no request: {error}"})
    return server.send(request)
