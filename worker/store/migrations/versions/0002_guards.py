"""Guards: runs that are held, books that are too old, and a database that is not the one that sent.

Revision ID: 0002
Revises: 0001
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection  # the driver's own, so that % in a script stays a %
    assert driver is not None
    driver.execute((Path(__file__).parent / "0002_guards.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    raise RuntimeError("0002 takes nothing back: restore the backup from before it")
