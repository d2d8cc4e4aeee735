import pytest
from alembic import command
from sqlalchemy import inspect

from app.db.engine import make_engine
from app.db.revision import alembic_config, check_revision, upgrade
from app.startup import WrongRevisionError


@pytest.fixture
def engine(database_url):
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def test_up_down_up_leaves_the_same_tables(engine, database_url):
    before = sorted(inspect(engine).get_table_names())
    command.downgrade(alembic_config(database_url), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(database_url)
    assert sorted(inspect(engine).get_table_names()) == before
    assert "runs" in before


def test_models_and_migrations_agree(database_url):
    command.check(alembic_config(database_url))


def test_a_wrong_revision_is_refused_with_the_remedy(engine, database_url):
    check_revision(engine)
    command.downgrade(alembic_config(database_url), "base")
    with pytest.raises(WrongRevisionError, match="mixwright db upgrade"):
        check_revision(engine)


def test_foreign_keys_hold(engine):
    from sqlalchemy import text
    from sqlalchemy.exc import IntegrityError

    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(
            text("INSERT INTO points (run_id, tokens, metrics) VALUES ('nobody', 1, '{}')")
        )
