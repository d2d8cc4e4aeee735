"""The database's clock: the only one that all processes agree on."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import UtcDateTime

_NOW = {
    "postgresql": func.clock_timestamp(type_=UtcDateTime()),
    "sqlite": func.strftime("%Y-%m-%d %H:%M:%f", "now", type_=UtcDateTime()),
}


def database_now(session: Session) -> datetime:
    """Return the time now, even late in a long transaction."""
    return session.scalars(select(_NOW[session.get_bind().dialect.name])).one()
