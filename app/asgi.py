"""Builds the service from its settings, for `uvicorn --factory app.asgi:make_app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from app.auth.service import ensure_admin
from app.celery_app import broker_is_ready, make_bell, make_celery
from app.db.engine import make_engine, make_sessions
from app.db.revision import check_revision
from app.db.session import writing
from app.jobs.sweeper import sweeping
from app.logs import configure_logs
from app.main import create_app
from app.settings import Settings


def make_app(settings: Settings | None = None) -> FastAPI:
    """Return the service of a deployment; without `settings`, of the environment.

    When it starts it checks the schema's revision, makes sure of the admin token, and begins to
    sweep for forgotten jobs.
    """
    settings = settings or Settings()
    configure_logs(as_json=settings.log_json)
    engine = make_engine(settings.effective_database_url, settings.pool_size)
    sessions, celery = make_sessions(engine), make_celery(settings)
    ring = make_bell(celery)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Twice as many as requests are admitted: those that block can never take all threads.
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 2 * settings.pool_size
        check_revision(engine)
        if settings.admin_token is not None:
            with writing(sessions, ring) as session:
                ensure_admin(session, settings.admin_token.get_secret_value())
        with sweeping(sessions, ring, settings.sweep_seconds):
            yield
        engine.dispose()

    return create_app(
        sessions,
        ring,
        broker_is_ready=lambda: broker_is_ready(celery),
        max_body_bytes=settings.max_body_bytes,
        places=settings.pool_size,
        worker_token=settings.worker_token,
        lifespan=lifespan,
    )
