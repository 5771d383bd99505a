"""How often in a row a message's lease was lost: what kills its worker is set aside.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Old workers go on beside new ones: a column with a default is nothing to them.
    op.add_column(
        "messages", sa.Column("crashes", sa.SmallInteger, nullable=False, server_default=sa.text("0"))
    )


def downgrade() -> None:
    op.drop_column("messages", "crashes")
