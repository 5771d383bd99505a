"""Fewer index entries for each message: events are found by their key, and attempts change in place.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE message_events DROP CONSTRAINT message_events_pkey,
    ADD CONSTRAINT message_events_pkey PRIMARY KEY (business_on, message_id, seq);
DROP INDEX message_events_message;

-- A month of one table. Statement triggers are not inherited: a month gets its own, so that a statement
-- which names it directly is held to the same rules. An attempt is written once and changed twice: half of a
-- page is kept for that, because a new version on its own page needs no new entry in any index.
CREATE OR REPLACE FUNCTION dunlin_guard_partition(parent text, partition text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF parent = 'messages' THEN
        EXECUTE format('CREATE TRIGGER message_moved AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows '
            'NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION dunlin_message_moved()', partition);
    ELSIF parent IN ('message_events', 'message_verdicts') THEN
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION dunlin_append_only()', partition);
    ELSIF parent = 'attempts' THEN
        EXECUTE format('ALTER TABLE %I SET (fillfactor = 50)', partition);
    END IF;
END
$$;
SELECT dunlin_guard_partition('attempts', inhrelid::regclass::text) FROM pg_inherits
WHERE inhparent = 'attempts'::regclass;
"""


def upgrade() -> None:
    op.execute(SCHEMA)


def downgrade() -> None:
    raise RuntimeError("0005 takes nothing back: restore the backup from before it")
