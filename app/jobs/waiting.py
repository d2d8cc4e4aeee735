"""Waiting for the end of a job without holding a thread or a database connection."""

from collections.abc import Callable
from typing import TypeVar

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.admission import stepping_aside
from app.jobs.schemas import JobRead

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.5

Read = TypeVar("Read", bound=JobRead)


async def until_ended(request: Request, read: Callable[[], Read], seconds: float) -> Read:
    """Return what `read` gives once the job has ended, or after `seconds`; or the server stops.

    `read` runs in the thread pool and opens and closes its own session.
    """
    deadline = anyio.current_time() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        current = await run_in_threadpool(read)
        left = deadline - anyio.current_time()
        if current.state.is_end or left <= 0 or request.app.state.is_stopping:
            return current
        async with stepping_aside(request):
            await anyio.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
