"""Builds the application. Everything it needs is an argument, so tests pass their own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

import mixwright
from app.admission import ADMITTED
from app.algorithms.routes import router as algorithms
from app.auth.access import recent_tokens
from app.auth.routes import router as auth
from app.corpora.routes import router as corpora
from app.db.session import Bell, Sessions
from app.errors import PROBLEM_RESPONSES, add_error_handlers
from app.exports.routes import router as exports
from app.fits.routes import router as fits
from app.idempotency import Replay, replayed
from app.middleware import BodyLimit, Observed
from app.operations.routes import router as operations
from app.proposals.routes import router as proposals
from app.recommendations.routes import router as recommendations
from app.runs.routes import router as runs
from app.samples.routes import router as samples
from app.sampling_functions.routes import router as sampling_functions
from app.schedules.routes import router as schedules
from app.studies.routes import router as studies
from app.suggestions.routes import router as suggestions
from app.swarms.routes import router as swarms
from app.trainings.announcements import Announcements
from app.trainings.routes import router as trainings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    sessions: Sessions,
    ring: Bell,
    *,
    broker_is_ready: Callable[[], bool],
    max_body_bytes: int,
    places: int = 10,
    worker_token: SecretStr | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """Wire routers, error handlers and what requests need.

    Args:
        sessions: makes database sessions.
        ring: tells workers of a job.
        broker_is_ready: for `/readyz`.
        max_body_bytes: larger bodies are answered 413.
        places: requests that may use the database at a time.
        worker_token: lets the training workers that the server started itself in.
        lifespan: what runs beside the application.
    """
    announcements = Announcements(sessions)

    @asynccontextmanager
    async def with_announcements(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as beside:
            if lifespan is not None:
                await beside.enter_async_context(lifespan(app))
            await beside.enter_async_context(announcements.ending())
            yield

    app = FastAPI(
        title="Mixwright",
        version=mixwright.__version__,
        summary="Which mixture of data should the model be trained on?",
        lifespan=with_announcements,
    )
    registry = CollectorRegistry()
    app.state.sessions, app.state.ring = sessions, ring
    app.state.worker_token, app.state.announcements = worker_token, announcements
    app.state.recent_tokens = recent_tokens(sessions)
    app.state.places = asyncio.Semaphore(places)
    app.state.is_stopping = False
    app.state.broker_is_ready, app.state.registry = broker_is_ready, registry
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_middleware(Observed, registry=registry)
    add_error_handlers(app)
    app.add_exception_handler(Replay, replayed)
    app.include_router(operations)
    for router in (
        trainings,  # first, because routes are tried in turn and trainers ask most often
        studies,
        runs,
        proposals,
        suggestions,
        samples,
        sampling_functions,
        corpora,
        swarms,
        fits,
        recommendations,
        schedules,
        exports,
        algorithms,
        auth,
    ):
        app.include_router(router, responses=PROBLEM_RESPONSES, dependencies=[ADMITTED])
    return app


def stop_waiting(app: FastAPI) -> None:
    """Have every request that waits for something answered with what there is."""
    app.state.is_stopping = True
    app.state.announcements.wake_all()
