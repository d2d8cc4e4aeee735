"""Keeps a worker's lease alive while it computes."""

import threading
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Sessions, writing
from app.jobs import service
from app.jobs.service import Lease, LeaseLostError

_LONGEST_PAUSE_SECONDS = 1.0  # so that progress is fresh; a renewal is one short transaction

log = structlog.get_logger()


class Heartbeat:
    """Renews `lease` in a thread for as long as the `with` block lasts.

    Call `report` between steps of the work: it passes progress on, and ends work whose result
    nobody would take.
    """

    def __init__(self, sessions: Sessions, lease: Lease) -> None:
        self._sessions, self._lease = sessions, lease
        self._progress = 0.0
        self._stop, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def report(self, progress: float) -> None:
        """Note that the share `progress` of the work is done.

        Raises:
            LeaseLostError: the job was cancelled, or is another worker's by now.
        """
        if self._lost.is_set():
            raise LeaseLostError(self._lease.job_id)
        self._progress = progress

    def __enter__(self) -> Self:
        """Start beating."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop beating."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(min(_LONGEST_PAUSE_SECONDS, self._lease.seconds / 3)):
            try:
                with writing(self._sessions, _no_bell) as session:
                    service.renew(session, self._lease, self._progress)
            except LeaseLostError:
                self._lost.set()
                return
            except SQLAlchemyError as error:
                log.warning("could not renew a lease", job=self._lease.job_id, error=str(error))


def _no_bell(_job_id: str, _queue: str) -> None:
    """Renewing rings for nobody."""
