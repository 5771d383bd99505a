"""Brings a database to this version's schema, and says whether it is there."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

_LOCK = 0x44756E6C696E  # "Dunlin": two hosts that deploy at once migrate one after the other


def migrate(engine: Engine) -> str:
    """Runs what is missing; returns the revision reached."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return wanted()


def wanted() -> str:
    """The revision this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def present(connection: Connection) -> str | None:
    """The revision the database is at; None: empty."""
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "worker.store:migrations")
    return config
