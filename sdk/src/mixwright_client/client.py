"""Talks to a Mixwright server: retries what can be retried, and tells problems apart.

ClientError
├── UnreachableError  nothing answers at the URL
└── ProblemError      the server answered with a problem (RFC 9457)
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

_ATTEMPTS = 5
_FIRST_WAIT = 0.2  # seconds; doubled with every attempt
_ENDED = {"succeeded", "failed", "cancelled"}


class ClientError(Exception):
    """Base of what can go wrong in talking to a server."""


class UnreachableError(ClientError):
    """Nothing answers at the URL."""


class ProblemError(ClientError):
    """The server refused; `problem` is its answer."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.problem = problem
        lines = [str(problem["detail"])]
        lines += [f"  {e['pointer']}: {e['detail']}" for e in problem.get("errors", [])[:20]]
        super().__init__("\n".join(lines))


class _TryAgainError(Exception):
    """The server says that it cannot answer now."""


class Client:
    """A server's endpoints as methods on JSON.

    Args:
        url: where the server listens.
        token: a bearer token, or "" on a server without tokens.
        transport: for tests.
    """

    def __init__(
        self, url: str, token: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        import httpx

        headers = {"Accept": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(90, connect=5)
        self.url = url
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, transport=transport
        )

    def close(self) -> None:
        """Close the connections to the server."""
        self._http.close()

    def get(self, path: str, **query: str | float) -> Any:  # noqa: ANN401  - JSON
        """Return the JSON at `path`."""
        return self._send("GET", path, params=query).json()

    def get_text(self, path: str, accept: str, **query: str | float) -> str:
        """Return the text at `path`."""
        return self._send("GET", path, params=query, headers={"Accept": accept}).text

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401  - JSON
        """Create something once, however often the network makes us ask; None for no content."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        response = self._send("POST", path, json=body, headers=key)
        return None if response.status_code == 204 else response.json()

    def upload(self, path: str, body: bytes, media_type: str) -> Any:  # noqa: ANN401  - JSON
        """Send bytes to where the same bytes twice change nothing."""
        headers = {"Content-Type": media_type}
        return self._send("POST", path, content=body, headers=headers).json()

    def pages(self, path: str) -> Iterator[Any]:
        """Yield the items of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=1000, **cursor)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}

    def wait(self, path: str, progress: Callable[[float], None]) -> Any:  # noqa: ANN401  - JSON
        """Return the resource at `path` once its work has ended.

        Raises:
            ProblemError: the work failed or was cancelled.
        """
        while (found := self.get(path, wait=1))["state"] not in _ENDED:
            progress(found["progress"])
        progress(1.0)
        if found["state"] != "succeeded":
            error = found["error"] or {"detail": f"{path} was {found['state']}"}
            raise ProblemError(error)
        return found

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        import httpx

        for attempt in range(_ATTEMPTS):
            try:
                return self._try(method, path, **request)
            except (httpx.TransportError, _TryAgainError) as error:
                reason = error
            if attempt + 1 < _ATTEMPTS:
                time.sleep(_FIRST_WAIT * 2**attempt + random.random())  # noqa: S311
        raise UnreachableError(
            f"no Mixwright server answers at {self.url} ({reason}); "
            "start one with `mixwright serve`, or name another with --url"
        ) from reason

    def _try(self, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        response = self._http.request(method, path, **request)
        if response.status_code == 503 or "retry-after" in response.headers:
            raise _TryAgainError(f"it answered {response.status_code}")
        if response.is_error:
            raise ProblemError(_problem_in(response))
        return response


def _problem_in(response: httpx.Response) -> dict[str, Any]:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem: dict[str, Any] = response.json()
        return problem
    return {"detail": f"the server answered {response.status_code}: {response.text[:200]}"}
