"""The most messages that a shard can become: a run that cannot become too large goes while it is planned.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Old workers go on beside new ones: what they cut has none, and is judged when all of it is planned.
    op.add_column("run_shards", sa.Column("at_most", sa.Integer))


def downgrade() -> None:
    op.drop_column("run_shards", "at_most")
