"""Who waits for new weights, and how they learn of them.

A process has one connection that listens to PostgreSQL, whatever the number of those who wait, and
none of them holds a thread or a connection. Once a second the process looks by itself at all the
trainings that are waited for: nothing depends on an announcement having come. On SQLite, which has
one process, who writes tells those who wait.

By the same means a process knows which weights are in force where it was asked lately, and answers
304 without the database: see `app.trainings.known_weights`.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final, TypeVar

import psycopg
import structlog
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.admission import stepping_aside
from app.db.session import Sessions, reading
from app.trainings import repository
from app.trainings.known_weights import Known, KnownWeights
from app.trainings.schemas import WeightsRead

log = structlog.get_logger()

RECHECK_SECONDS: Final = 1.0
_CHANNEL: Final = "mixwright_weights"
_NOTIFY: Final = text("SELECT pg_notify(:to, :what)")
_KEPT: Final = "published weights"  # of a session's `info`, until its commit

Answer = TypeVar("Answer", bound=WeightsRead)


def announce(session: Session, training_id: str, version: int) -> None:
    """Have those who wait for the training told of `version` once `session` has committed."""
    session.info.setdefault(_KEPT, {})[training_id] = version
    if session.get_bind().dialect.name == "postgresql":
        message = f"{version} {training_id}"
        session.connection().execute(_NOTIFY, {"to": _CHANNEL, "what": message})


class _Waiting:
    """One who waits for a version higher than `after`."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.woken = asyncio.Event()


class Announcements:
    """All who wait in this process, and the tasks that wake them while there are any."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.known = KnownWeights()
        self._waiting: dict[str, set[_Waiting]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        event.listen(sessions, "after_commit", self._after_commit)

    def polled(self, training_id: str) -> Known | None:
        """Return the weights in force, if this process knows them."""
        self._begin()
        return self.known.polled(training_id)

    @contextlib.contextmanager
    def waiting(self, training_id: str, after: int) -> Iterator[_Waiting]:
        """Be woken, within the block, by every version higher than `after`."""
        self._begin()
        one = _Waiting(after)
        self._waiting.setdefault(training_id, set()).add(one)
        try:
            yield one
        finally:
            others = self._waiting[training_id]
            others.discard(one)
            if not others:
                del self._waiting[training_id]

    @contextlib.asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """Stop the tasks at the end of the block."""
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks, self._loop = [], None

    def _begin(self) -> None:
        """Start the tasks of this event loop, unless they run."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self._loop, self._waiting = loop, {}
        self._tasks = [loop.create_task(self._recheck())]
        if self._sessions.kw["bind"].dialect.name == "postgresql":
            self._tasks.append(loop.create_task(self._listen()))

    def _after_commit(self, session: Session) -> None:
        """Tell this process; runs in the thread that has committed."""
        for training_id, version in session.info.pop(_KEPT, {}).items():
            self.known.forget(training_id)
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._tell, training_id, version)

    def _tell(self, training_id: str, version: int) -> None:
        for one in self._waiting.get(training_id, ()):
            if version > one.after:
                one.woken.set()

    def wake_all(self) -> None:
        """Have all who wait look again."""
        for one in itertools.chain.from_iterable(self._waiting.values()):
            one.woken.set()

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            ids = list({*self._waiting, *self.known.wanted()})
            if ids:
                question = self.known.question()
                try:
                    found = await run_in_threadpool(self._versions, ids)
                except SQLAlchemyError as error:
                    log.warning("cannot look for new weights", error=str(error))
                    continue
                self.known.hear(found, question)
                for training_id, version in found.items():
                    self._tell(training_id, version)

    def _versions(self, training_ids: list[str]) -> dict[str, int]:
        with reading(self._sessions) as session:
            return repository.versions(session, training_ids)

    async def _listen(self) -> None:
        """Hear of what other processes publish; on a broken connection, try again."""
        url = self._sessions.kw["bind"].url.set(drivername="postgresql")
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    url.render_as_string(hide_password=False), autocommit=True
                )
                async with connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    async for heard in connection.notifies():
                        version, _, training_id = heard.payload.partition(" ")
                        self.known.hear({training_id: int(version)})
                        self._tell(training_id, int(version))
            except psycopg.Error as error:
                log.warning("not listening for new weights", error=str(error))
            await asyncio.sleep(RECHECK_SECONDS)


async def until_newer(
    request: Request, training_id: str, read: Callable[[], Answer], after: int, seconds: float
) -> Answer:
    """Return what `read` gives once its version is higher than `after`, or after `seconds`.

    A server that stops waits no longer.

    `read` runs in the thread pool and opens and closes its own session.
    """
    if not seconds:
        return await run_in_threadpool(read)
    announcements: Announcements = request.app.state.announcements
    deadline = asyncio.get_running_loop().time() + seconds
    with announcements.waiting(training_id, after) as waiting:  # before it reads: none is missed
        while True:
            waiting.woken.clear()
            current = await run_in_threadpool(read)
            left = deadline - asyncio.get_running_loop().time()
            if current.version > after or left <= 0 or request.app.state.is_stopping:
                return current
            async with stepping_aside(request):
                await _at_most(left, waiting.woken.wait())


async def _at_most(seconds: float, awaited: Awaitable[object]) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(awaited, seconds)
