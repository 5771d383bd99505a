"""The whole first schema: tables, partitions, the table of moves and the triggers that hold it.

Revision ID: 0001
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Frozen here: a migration must not change when the code's table does; a test compares the two.
MOVES = {
    "planned": "scheduled awaiting_approval suppressed cancelled expired sent delivered undelivered",
    "awaiting_approval": "planned cancelled expired",
    "scheduled": "sending planned suppressed cancelled expired failed sent delivered undelivered",
    "sending": "sent delivered undelivered failed scheduled unconfirmed",
    "unconfirmed": "sent delivered undelivered failed scheduled",
    "sent": "delivered undelivered",
    "delivered": "undelivered",
    "undelivered": "delivered",
}


def upgrade() -> None:
    here = Path(__file__).parent
    driver = op.get_bind().connection.driver_connection  # the driver's own, so that % in a script stays a %
    assert driver is not None
    for name in ("0001_tables.sql", "0001_functions.sql"):
        driver.execute((here / name).read_text(encoding="utf-8"))
    moves = sa.table("message_moves", sa.column("from_state"), sa.column("to_state"))
    pairs = [(old, new) for old, news in MOVES.items() for new in news.split()]
    op.bulk_insert(moves, [{"from_state": old, "to_state": new} for old, new in pairs])


def downgrade() -> None:
    raise RuntimeError("0001 is the first schema: drop the database instead")
