"""Ways to a server: over HTTP, or through a folder that a relay reads.

A request and its answer are the same JSON on either way. Sending is one attempt that takes seconds
at most; trying again is the caller's business, and does no harm.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from mixwright_client.client import UnreachableError

if TYPE_CHECKING:
    import httpx

TIMEOUT = 2.0  # seconds
_GLANCE = 0.02  # seconds between looks for an answer


@dataclass(frozen=True)
class Request:
    """What is asked of a server.

    Attributes:
        method: of HTTP.
        path: from the root of the server.
        body: JSON, or None.
        key: the `Idempotency-Key`, or "".
        etag: what is known already, or "".
    """

    method: str
    path: str
    body: Any = None
    key: str = ""
    etag: str = ""


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: of HTTP.
        body: JSON; None where there is none.
        etag: of the body, or "".
        again: whether the server asks to be asked again later.
    """

    status: int
    body: Any = None
    etag: str = ""
    again: bool = False


class Transport(Protocol):
    """A way to a server."""

    def send(self, request: Request) -> Answer:
        """Return the answer, whatever its status.

        Raises:
            UnreachableError: none came; the server may have acted all the same.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def connect(server: str) -> Transport:
    """Return the way to a server, `http(s)://…` or `file:///folder`.

    The token comes from the environment, `MIXWRIGHT_TOKEN`.

    Raises:
        ValueError: the address is of neither kind.
    """
    parts = urlsplit(server)
    if parts.scheme in ("http", "https"):
        return HttpTransport(server, os.environ.get("MIXWRIGHT_TOKEN", ""))
    if parts.scheme == "file" and parts.path:
        return FolderTransport(Path(unquote(parts.path)))
    raise ValueError(f"'{server}' is no address of a server: use http://… or file:///folder")


class HttpTransport:
    """Straight to the server.

    Args:
        url: where it listens.
        token: a bearer token, or "" on a server without tokens.
    """

    def __init__(self, url: str, token: str = "") -> None:
        import httpx

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT)

    def send(self, request: Request) -> Answer:
        """Return the answer, whatever its status."""
        import httpx

        headers = {"Idempotency-Key": request.key} if request.key else {}
        headers.update({"If-None-Match": request.etag} if request.etag else {})
        try:
            found = self._http.request(
                request.method, request.path, json=request.body, headers=headers
            )
        except httpx.HTTPError as error:
            raise UnreachableError(f"no answer from {self._http.base_url} ({error})") from error
        return Answer(
            found.status_code,
            _json_in(found),
            found.headers.get("etag", ""),
            "retry-after" in found.headers,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class FolderTransport:
    """Through a folder, for machines without a route to the server.

    A request is a file in `requests`; a relay (see `relay.py`) forwards them in the order of their
    names and puts each answer under the same name in `answers`. Files appear whole, by a rename.
    One training has one folder.

    Args:
        folder: made if it is not there.
        patience: seconds to wait for an answer before saying that none came.
    """

    def __init__(self, folder: Path, patience: float = TIMEOUT) -> None:
        self._requests, self._answers = folder / "requests", folder / "answers"
        self._patience = patience
        self._session = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        self._sent = 0
        self._unanswered: dict[str, str] = {}  # names of files by their text
        for part in (self._requests, self._answers):
            part.mkdir(parents=True, exist_ok=True)
        for stale in self._answers.iterdir():  # to a process that is gone
            stale.unlink()

    def send(self, request: Request) -> Answer:
        """Return the answer; a request that is sent again while it waits is not written again."""
        name = self._unanswered_name(request)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                found = json.loads((self._answers / name).read_text())
            except FileNotFoundError:
                pass
            else:
                (self._answers / name).unlink()
                self._unanswered.pop(json.dumps(asdict(request)))
                return Answer(**found)
            if time.monotonic() > deadline:
                raise UnreachableError(f"no relay answers in {self._answers.parent}")
            time.sleep(_GLANCE)

    def close(self) -> None:
        """Let go of nothing."""

    def _unanswered_name(self, request: Request) -> str:
        text = json.dumps(asdict(request))
        name = self._unanswered.get(text)
        if name is None:
            self._sent += 1
            name = f"{self._session}-{self._sent:010d}.json"
            write_whole(self._requests / name, text)
            self._unanswered[text] = name
        return name


def write_whole(path: Path, text: str) -> None:
    """Write a file so that readers see the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.write_text(text)
    temporary.replace(path)


def _json_in(response: httpx.Response) -> Any:  # noqa: ANN401  - JSON
    try:
        return response.json()
    except ValueError:
        return None
