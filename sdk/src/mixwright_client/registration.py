"""How a training begins: the only time that it waits for the server."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from typing import Any, Union

from mixwright_client.client import ClientError, ProblemError, UnreachableError
from mixwright_client.transport import Answer, Request, Transport, connect

_ATTEMPTS = 5
_PAUSE = 0.5  # seconds after the first attempt, twice that after the second, ...

Server = Union[str, Transport]


def registered(server: Server, body: Mapping[str, Any]) -> dict[str, Any]:
    """Create a training; return its `id`, `domains`, `entries`, what it `requires`, its `plan`.

    Raises:
        ClientError: the server refused, or did not answer. With `MIXWRIGHT_DISABLE` set it is not
            asked, and `initial_weights` are needed.
    """
    if is_disabled():
        return _unregistered(body)
    found = _ask(server, Request("POST", "/v1/trainings", body, uuid.uuid4().hex))
    if body.get("schedule"):  # its stages are in the ledger before they begin
        return {**found, **found_again(server, found["id"])}
    domains = body.get("domains") or list(found["weights"])
    return {**found, "entries": [found], "domains": domains}


def found_again(server: Server, training: str) -> dict[str, Any]:
    """Return a training that is on the server, as `registered` does.

    Raises:
        ClientError: the server refused, or did not answer.
    """
    found = _ask(server, Request("GET", f"/v1/trainings/{training}"))
    entries = _valid_entries(_items(server, f"/v1/trainings/{training}/ledger?limit=1000"))
    return {**found, "entries": entries, "domains": list(entries[0]["weights"])}


def is_disabled() -> bool:
    """Say whether `MIXWRIGHT_DISABLE` is set: weights then stay as they are."""
    return os.environ.get("MIXWRIGHT_DISABLE", "0") not in ("", "0")


def _unregistered(body: Mapping[str, Any]) -> dict[str, Any]:
    if not body.get("initial_weights"):
        raise ClientError("MIXWRIGHT_DISABLE is set, so `initial_weights` are needed")
    first = {"version": 0, "effective_step": 0, "weights": body["initial_weights"]}
    return {"id": "", "entries": [first], "domains": body["domains"]}


def way_to(server: Server) -> Transport:
    """Return the way to a server given by its address, or the way itself."""
    return connect(server) if isinstance(server, str) else server


def _ask(server: Server, request: Request) -> Any:  # noqa: ANN401  - JSON
    """Return the JSON of an answer that training cannot begin without."""
    way = way_to(server)
    try:
        return _patient_answer(way, request).body
    finally:
        if isinstance(server, str):
            way.close()


def _items(server: Server, path: str) -> list[Any]:
    """Return the items of a list, of all its pages; the path has a query."""
    page = _ask(server, Request("GET", path))
    items = list(page["items"])
    while page["next_cursor"] is not None:
        page = _ask(server, Request("GET", f"{path}&cursor={page['next_cursor']}"))
        items += page["items"]
    return items


def _patient_answer(way: Transport, request: Request) -> Answer:
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE * attempt)
        try:
            answer = way.send(request)
        except UnreachableError as error:
            reason = str(error)
            continue
        if answer.status < 300:
            return answer
        if answer.status < 500 and not answer.again:
            raise ProblemError(answer.body or {"detail": f"the server answered {answer.status}"})
        reason = f"the server answered {answer.status}"
    raise UnreachableError(f"training cannot begin without the server: {reason}")


def _valid_entries(ledger: list[Any]) -> list[Any]:
    """Return the entries of a server's ledger that hold: neither void nor proposals."""
    return [
        {**item, "effective_step": item.get("applied_step") or item["effective_step"]}
        for item in ledger
        if item["state"] == "published"
    ]
