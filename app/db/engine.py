"""Engines for the two databases that are supported."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import sessionmaker

from app.db.session import Sessions

BUSY_TIMEOUT_SECONDS = 30  # how long a SQLite writer waits for another


def make_engine(url: str, pool_size: int = 10) -> Engine:
    """Return an engine for a `sqlite:///` or `postgresql+psycopg://` URL.

    On SQLite: write-ahead log, foreign keys on, a busy timeout, and transactions that a
    connection opened with the execution option `sqlite_begin="IMMEDIATE"` starts as writers, so
    that they wait for their turn instead of failing in the middle.
    """
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # No ping before use: a server that was restarted costs one 503, which clients retry.
    return create_engine(url, pool_size=pool_size, max_overflow=0)


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  - a DBAPI object
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def make_sessions(engine: Engine) -> Sessions:
    """Return what makes sessions on `engine`; rows stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)
