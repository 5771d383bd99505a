"""Senders: how a portfolio's sender at a provider has fared, who must carry a message next, and recalls.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE senders (
    portfolio_id text NOT NULL REFERENCES portfolios,
    channel text NOT NULL,
    provider text NOT NULL,
    state text NOT NULL DEFAULT 'closed'
        CONSTRAINT senders_state CHECK (state IN ('closed', 'open', 'half_open')),
    recent text NOT NULL DEFAULT '',
    trips smallint NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry_at timestamptz,
    PRIMARY KEY (portfolio_id, channel, provider)
);
ALTER TABLE messages ADD COLUMN next_provider text;
ALTER TABLE attempts ADD COLUMN leaves_at timestamptz;
-- Settling looks for what a provider has and can still be told to drop.
CREATE INDEX attempts_leaving ON attempts (leaves_at) WHERE leaves_at IS NOT NULL;
-- Settling looks for messages whose provider has said nothing since it took them.
CREATE INDEX messages_unreceipted ON messages (channel, sent_at) WHERE state = 'sent' AND check_at IS NULL;
INSERT INTO message_moves (from_state, to_state) VALUES ('sent', 'cancelled');
"""


def upgrade() -> None:
    op.execute(SCHEMA)


def downgrade() -> None:
    op.execute("DROP TABLE senders")
    op.execute("DELETE FROM message_moves WHERE from_state = 'sent' AND to_state = 'cancelled'")
    op.execute("DROP INDEX messages_unreceipted")
    op.execute("ALTER TABLE attempts DROP COLUMN leaves_at")
    op.execute("ALTER TABLE messages DROP COLUMN next_provider")
