"""Which schema revision a database is at, and bringing it up to the newest."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

import migrations
from app.startup import WrongRevisionError


def alembic_config(url: str) -> Config:
    """Return Alembic's configuration for the database at `url`."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema of the database at `url` up to `revision`."""
    command.upgrade(alembic_config(url), revision)


def check_revision(engine: Engine) -> None:
    """Return if the database is at the newest revision.

    Raises:
        WrongRevisionError: it is at another one; says which, and what to do.
    """
    head = ScriptDirectory.from_config(alembic_config("")).get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != head:
        raise WrongRevisionError(
            f"the database is at schema revision {current}, this version needs {head}; "
            "run `mixwright db upgrade`"
        )
