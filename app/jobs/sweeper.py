"""Looks again and again for jobs that nobody works on although somebody could."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Bell, Sessions, writing
from app.idempotency import forget_before
from app.jobs import service
from app.swarms.service import end_orphans

KEEP_ANSWERS = timedelta(days=7)  # how long an Idempotency-Key is remembered

log = structlog.get_logger()


@contextmanager
def sweeping(sessions: Sessions, ring: Bell, every_seconds: float) -> Iterator[None]:
    """Sweep now and then every `every_seconds`, in a thread, until the block ends."""
    stop = threading.Event()

    def sweep_until_stopped() -> None:
        _sweep(sessions, ring, every_seconds)
        while not stop.wait(every_seconds):
            _sweep(sessions, ring, every_seconds)

    thread = threading.Thread(target=sweep_until_stopped, name="sweeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _sweep(sessions: Sessions, ring: Bell, after_seconds: float) -> None:
    try:
        with writing(sessions, ring) as session:
            found = service.sweep(session, after_seconds)
            session.flush()
            end_orphans(session)
            forget_before(session, datetime.now(UTC) - KEEP_ANSWERS)
    except SQLAlchemyError as error:
        log.warning("the sweep found no database, the next one will try again", error=str(error))
        return
    if found:
        log.info("jobs rung again", jobs=found)
