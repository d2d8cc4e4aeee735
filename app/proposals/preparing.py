"""Waiting until suggestions are ready, without holding a thread or a database connection."""

from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from app.admission import stepping_aside
from app.auth.access import CurrentPrincipal, Principal
from app.db.session import Bell, Sessions, reading, writing
from app.proposals import service
from app.proposals.schemas import Ask
from app.runs import service as runs
from app.studies import service as studies
from app.suggestions import service as suggestions
from app.suggestions.service import Look
from app.wire import refuse

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.25


@dataclass(slots=True)
class _Waiting:
    sessions: Sessions
    ring: Bell
    principal: Principal
    study: str
    ask: Ask
    revision: int | None = None

    def look(self) -> bool:
        """Return whether suggestions are ready; have them computed if nobody is at it."""
        asked = service.suggestions_for(self.ask)
        assert asked is not None  # noqa: S101  - else nobody waits
        with reading(self.sessions) as session:
            row = studies.find(session, self.principal, self.study)
            refuse(service.wrong_fields(row, self.ask))
            if self.revision is None:
                self.revision = runs.revision(session, row.id)
            found = suggestions.look_for(session, row, asked, self.ask.count, self.revision)
        if found is Look.NOBODY_AT_IT:
            with writing(self.sessions, self.ring) as session:
                row = studies.find(session, self.principal, self.study, lock=True)
                suggestions.prepare(session, row, asked, self.ask.count)
        return found is Look.READY


async def _prepare(study: str, ask: Ask, principal: CurrentPrincipal, request: Request) -> None:
    """Return once what is asked for is ready, or time is up.

    Ready are suggestions that know every result there was when the request came.
    """
    if service.suggestions_for(ask) is None:
        return
    state = request.app.state
    waiting = _Waiting(state.sessions, state.ring, principal, study, ask)
    deadline, pause = anyio.current_time() + ask.wait, _FIRST_PAUSE_SECONDS
    while True:
        is_ready = await run_in_threadpool(waiting.look)
        left = deadline - anyio.current_time()
        if is_ready or left <= 0:
            return
        async with stepping_aside(request):
            await anyio.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


Prepared = Annotated[None, Depends(_prepare, scope="function")]
