"""Brings a database to this version's schema, and says whether it is there."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

_LOCK = 0x44756E6C696E  # "Dunlin": two hosts that deploy at once migrate one after the other


class SchemaNewer(RuntimeError):
    """The database is at a revision that this version does not know."""


def migrate(engine: Engine) -> str:
    """Runs what is missing; returns the revision reached.

    Raises:
        SchemaNewer: a later version has migrated it; nothing was done.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config, at = _config(), present(connection)
        if at is not None and at not in {step.revision for step in _steps().walk_revisions()}:
            raise SchemaNewer(
                f"the database is at revision {at}, which this version does not know; its own is {wanted()}: "
                "a newer version has migrated it, use that one"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return wanted()


def wanted() -> str:
    """The revision this code needs."""
    head = _steps().get_current_head()
    assert head is not None
    return head


def present(connection: Connection) -> str | None:
    """The revision the database is at; None: empty."""
    return MigrationContext.configure(connection).get_current_revision()


def _steps() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "worker.store:migrations")
    return config
