"""One transaction per request or task: commit on success, roll back on any error.

Nothing else in the service calls `commit`. Jobs asked for in a transaction are rung for after it
committed: a bell rung earlier could call a worker to rows that are not there yet, or never come.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request
from sqlalchemy import Engine, Row, Select
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

Sessions: TypeAlias = sessionmaker[Session]
Bell: TypeAlias = Callable[[str, str], None]
"""Rings for a job: `(job id, queue)`. It must not raise when the broker is away."""


@contextmanager
def reading(sessions: Sessions) -> Iterator[Session]:
    """Yield a session for reads."""
    with sessions() as session, session.begin():
        yield session


def first_row(
    sessions: Sessions, query: Select[Any], parameters: Mapping[str, object] | None = None
) -> Row[Any] | None:
    """Return the first row of a query, without a transaction: one round trip instead of three."""
    engine: Engine = sessions.kw["bind"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return connection.execute(query, parameters or {}).first()


@contextmanager
def writing(sessions: Sessions, ring: Bell) -> Iterator[Session]:
    """Yield a session that commits, then rings for the jobs noted on it."""
    with sessions(bind=_as_writer(sessions)) as session:
        with session.begin():
            yield session
        _ring_all(session, ring)


def _as_writer(sessions: Sessions) -> Engine:
    """Return the engine with transactions that SQLite starts as a writer's."""
    engine: Engine = sessions.kw["bind"]
    return engine.execution_options(sqlite_begin="IMMEDIATE")


def _ring_all(session: Session, ring: Bell) -> None:
    for job_id, queue in session.info.pop("bells", []):
        ring(job_id, queue)


def ring_after_commit(session: Session, job_id: str, queue: str) -> None:
    """Note a job to ring for once `session` has committed."""
    session.info.setdefault("bells", []).append((job_id, queue))


# The two dependencies are coroutines that leave the event loop's thread only to talk to the
# database: a session begins its transaction when it is first used.
async def _read(request: Request) -> AsyncIterator[Session]:
    session = request.app.state.sessions()
    try:
        yield session
    finally:
        await run_in_threadpool(session.close)


async def _write(request: Request) -> AsyncIterator[Session]:
    state = request.app.state
    session = state.sessions(bind=_as_writer(state.sessions))
    try:
        yield session
        await run_in_threadpool(_commit, session, state.ring)
    except BaseException:
        await run_in_threadpool(session.close)
        raise


def _commit(session: Session, ring: Bell) -> None:
    with session:
        session.commit()
    _ring_all(session, ring)


# scope="function" commits before the response is sent: who reads 201 can read its own write, and
# a commit that failed is an error instead of a lie.
ReadSession = Annotated[Session, Depends(_read, scope="function")]
WriteSession = Annotated[Session, Depends(_write, scope="function")]
