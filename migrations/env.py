"""Alembic's entry: runs migrations on the configured database."""

from alembic import context

from app.db import sampling_models, training_models  # noqa: F401  - tables of the metadata
from app.db.engine import make_engine
from app.db.models import Base, UtcDateTime

config = context.config


def render_type(kind: str, item: object, _context: object) -> str | bool:
    """Write our own column types as what they are in the database."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run_migrations() -> None:
    """Run on a connection of our own engine, so that SQLite is set up as in the service."""
    engine = make_engine(config.get_main_option("sqlalchemy.url") or "")
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            render_item=render_type,
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                # A migration that cannot have its lock soon must not hold up the service.
                connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
            context.run_migrations()
    engine.dispose()


run_migrations()
