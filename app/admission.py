"""Lets no more requests at a time to the database than there are connections.

A request that holds a connection comes back to the thread pool for every step. Were threads and
connections handed out freely, requests waiting for a connection (or, on SQLite, for the right to
write) could take every thread, and those that hold what they wait for could never go on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, Request

from app.errors import UnavailableError

_PATIENCE_SECONDS = 20.0


async def _admit(request: Request) -> AsyncIterator[None]:
    places: asyncio.Semaphore = request.app.state.places
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await places.acquire()
    except TimeoutError:
        raise UnavailableError("too many requests are waiting for the database") from None
    try:
        yield
    finally:
        places.release()


@asynccontextmanager
async def stepping_aside(request: Request) -> AsyncIterator[None]:
    """Leave the request's place to others for as long as the block lasts."""
    places: asyncio.Semaphore = request.app.state.places
    places.release()
    try:
        yield
    finally:
        await places.acquire()


# scope="function": the place is given up after the commit and before the answer is sent.
ADMITTED = Depends(_admit, scope="function")
