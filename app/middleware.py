"""What surrounds every request: a limit on bodies, a request id, and counters."""

import time
import uuid

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Refuses bodies larger than `max_bytes`, by their declared length or as they come in.

    Starlette's own limit answers in plain text, and every error here is a problem.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; who reads too large a body of it gets a 413 raised."""
        declared, seen = _declared_length(scope), 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive() if declared <= self._max_bytes else {}
            seen += len(message.get("body", b""))
            if max(declared, seen) > self._max_bytes:
                raise HTTPException(413)
            return message

        await self._app(scope, limited if scope["type"] == "http" else receive, send)


def _declared_length(scope: Scope) -> int:
    length = dict(scope.get("headers", ())).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


class Observed:
    """Gives every request an id and counts it."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry = REGISTRY) -> None:
        self._app = app
        labels = ("method", "route", "status")
        self._requests = Counter(
            "mixwright_requests", "Requests answered", labels, registry=registry
        )
        self._seconds = Histogram(
            "mixwright_request_seconds",
            "Seconds until the answer began",
            ("method", "route"),
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                ]
                route = getattr(scope.get("route"), "path", "unmatched")
                self._requests.labels(scope["method"], route, message["status"]).inc()
                self._seconds.labels(scope["method"], route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, note)
