"""Which database this is, and what becomes of open work in one that is older than what was sent from it."""

from sqlalchemy import Connection, text

_BIND = """
    UPDATE epoch SET (system_identifier, timeline, database_oid) =
               (SELECT p.system_identifier, p.timeline, p.database_oid FROM dunlin_place() AS p),
           written_xid = CAST(CAST(pg_current_xact_id() AS text) AS bigint), settled_at = clock_timestamp()
"""


def lost(connection: Connection) -> str | None:
    """Why this database cannot be taken for the one that has sent until now; None: it is that one."""
    why: str | None = connection.execute(text("SELECT dunlin_epoch_lost()")).scalar_one()
    return why


def number(connection: Connection) -> int:
    """How often it was reconciled, from 1."""
    return int(connection.execute(text("SELECT coalesce(max(number), 0) FROM epoch")).scalar_one())


def settle(connection: Connection) -> None:
    """Notes which database this is, before anything has been sent from it. Not in a savepoint: the row must
    carry the number of the transaction itself.
    """
    connection.execute(text(f"{_BIND} WHERE written_xid IS NULL"))


def rebind(connection: Connection) -> int:
    """From here on this is the database; returns the number of its new epoch. Not in a savepoint."""
    connection.execute(text("INSERT INTO epoch DEFAULT VALUES ON CONFLICT DO NOTHING"))
    made: int = connection.execute(text(f"{_BIND}, number = number + 1 RETURNING number")).scalar_one()
    return made


def cancel_open(connection: Connection) -> int:
    """What waited when the backup was made may have gone since: it is cancelled. Returns how many."""
    sql = text("""
        WITH waiting AS (
            SELECT business_on, id FROM messages WHERE state IN ('planned', 'awaiting_approval', 'scheduled')
            ORDER BY business_on, id FOR UPDATE
        )
        UPDATE messages m SET state = 'cancelled', reason = 'epoch' FROM waiting w
        WHERE m.business_on = w.business_on AND m.id = w.id
          AND m.state IN ('planned', 'awaiting_approval', 'scheduled')
    """)
    return connection.execute(sql).rowcount


def question_sending(connection: Connection) -> int:
    """What was with a worker when the backup was made may have gone, whether its attempt had begun or not: it
    is unconfirmed, for the provider or a person to say. Returns how many.

    Their time is over, like that of all that was unconfirmed already: a provider that says that it has not
    got this attempt may have got a later one, of which the backup does not know.
    """
    sql = text("""
        WITH ours AS (
            SELECT business_on, id, attempt_id, state FROM messages WHERE state IN ('sending', 'unconfirmed')
            ORDER BY business_on, id FOR UPDATE
        ), closed AS (
            UPDATE attempts a SET outcome = 'lease_lost' FROM ours o
            WHERE a.business_on = o.business_on AND a.message_id = o.id AND a.id = o.attempt_id
              AND a.finished_at IS NULL
        )
        UPDATE messages m SET state = 'unconfirmed', reason = 'epoch', lease_until = NULL, checks = 0,
               attempts = m.attempts + CASE WHEN o.state = 'sending' THEN 1 ELSE 0 END,
               check_at = dunlin_now(), expires_at = least(m.expires_at, dunlin_now())
        FROM ours o
        WHERE m.business_on = o.business_on AND m.id = o.id AND m.state IN ('sending', 'unconfirmed')
    """)
    return connection.execute(sql).rowcount


def give_up_planning(connection: Connection) -> int:
    """Shards that were still to be planned have been since, and sent: they are not planned again. Returns how
    many.
    """
    sql = text("""
        UPDATE run_shards SET state = 'done', overdue = 0, covered = 0, excluded = 0, messages = 0,
               finished_at = clock_timestamp()
        WHERE state = 'todo'
    """)
    return connection.execute(sql).rowcount
