"""Attempts and contents are found by their message, in one index each; a move is checked as it is recorded.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE attempts DROP CONSTRAINT attempts_pkey,
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (business_on, message_id, id);
DROP INDEX attempts_message;
ALTER TABLE message_contents DROP CONSTRAINT message_contents_pkey,
    ADD CONSTRAINT message_contents_pkey PRIMARY KEY (business_on, message_id, attempt_id);
DROP INDEX message_contents_message;

CREATE FUNCTION dunlin_no_move(message uuid, from_state text, to_state text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'message %: no move from % to %', message, from_state, to_state
        USING ERRCODE = 'check_violation';
END
$$;

-- Every change of a message's state is checked against the table of moves and leaves an event, whoever makes
-- it. A person who acts by hand is named in the transaction, with their reason; else the process is.
-- Without nested loops, because a plan that was cached for one row would be walked for thousands.
CREATE OR REPLACE FUNCTION dunlin_message_moved() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off SET enable_hashjoin = on AS $$
DECLARE
    now timestamptz := dunlin_now();
    actor text := coalesce(nullif(current_setting('dunlin.actor', true), ''),
                           nullif(current_setting('application_name'), ''), session_user);
    why text := nullif(current_setting('dunlin.why', true), '');
BEGIN
    INSERT INTO message_events
        (business_on, message_id, attempt_id, at, kind, from_state, to_state, reason, actor)
    SELECT n.business_on, n.id, n.attempt_id, now, 'state', o.state,
           CASE WHEN m.from_state IS NULL THEN dunlin_no_move(n.id, o.state, n.state) ELSE n.state END,
           CASE WHEN why IS NULL THEN n.reason ELSE concat_ws(': ', n.reason, why) END, actor
    FROM new_rows n JOIN old_rows o ON o.id = n.id AND o.business_on = n.business_on
    LEFT JOIN message_moves m ON m.from_state = o.state AND m.to_state = n.state
    WHERE n.state <> o.state;
    RETURN NULL;
END
$$;
"""


def upgrade() -> None:
    op.execute(SCHEMA)


def downgrade() -> None:
    raise RuntimeError("0007 takes nothing back: restore the backup from before it")
