"""A copy of the book that a simulation may change, and a clock of its own.

The copies are temporary tables named like the real ones. PostgreSQL looks for those first, so here the very
statements of planning and admission work on them. A transaction on the real tables that is
rolled back would not do:

- for as long as it is open, the real run of a date that it has planned would wait for it (unique indexes);
- planning cancels older messages in favour of new ones. On real rows that locks them against the claim; left
  out, caps would count messages that the real run takes back;
- a long transaction keeps vacuum from the queue, and leaves it millions of dead rows.

After the copying every transaction is READ ONLY, which PostgreSQL takes to mean: may write temporary tables,
and nothing else, nor lock a row of anything else. Whatever is forgotten here is an error and no damage.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime

from sqlalchemy import Connection, Engine, text

_CONCERNED = """
CREATE TEMP TABLE concerned AS
WITH owing AS (
    SELECT DISTINCT borrower_id AS id FROM accounts
    WHERE portfolio_id = :portfolio AND amount_due > 0 AND closed_on IS NULL AND due_on < :until
)
SELECT id FROM owing
-- Caps of an endpoint count what others were told at the same number.
UNION SELECT o.id FROM owing w JOIN borrowers b ON b.id = w.id JOIN borrowers o ON o.phone = b.phone
"""

_NOTHING = "WHERE false"
_THEIRS = "WHERE t.borrower_id IN (SELECT id FROM concerned)"
_COPIED = {
    "versions": "WHERE t.kind = 'policy'",
    "portfolios": "",
    "borrowers": "WHERE t.id IN (SELECT id FROM concerned)",
    "accounts": _THEIRS,
    "holds": f"{_THEIRS} AND t.lifted_at IS NULL",
    "suppressions": "WHERE t.lifted_at IS NULL",
    "consents": _THEIRS,
    "contacts": _THEIRS,
    "runs": "",
    "run_shards": _NOTHING,
    "run_exclusions": _NOTHING,
    "messages": f"{_THEIRS} AND t.state NOT IN ('failed', 'suppressed', 'cancelled', 'expired')",
    "message_accounts": """WHERE EXISTS (SELECT FROM pg_temp.messages m
                           WHERE m.business_on = t.business_on AND m.id = t.message_id)""",
    "message_verdicts": _NOTHING,
    "message_events": _NOTHING,
}
"""What planning and admission read or write, with what of it can matter for one portfolio."""

MEMORY = "256MB"
"""At most, for the copies; what is more is on disk. The default of 8 MB would be read over and over."""


@contextmanager
def scratches(engine: Engine, portfolio: str, until: date, count: int) -> Iterator[list[Connection]]:
    """Connections that have a copy of the book each, all of one moment: all that can matter for messages of
    this portfolio about accounts due before `until`. They are closed at the end, and the copies with them.
    """
    with ExitStack() as stack:
        made = [stack.enter_context(_alone(engine)) for _ in range(count)]
        with made[0].begin():
            snapshot = made[0].execute(text("SELECT pg_export_snapshot()")).scalar_one()
            for other in made[1:]:
                with other.begin():
                    other.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                    _fill(other, portfolio, until)
            _fill(made[0], portfolio, until)
        yield made


@contextmanager
def at(connection: Connection, instant: datetime) -> Iterator[None]:
    """One transaction in which it is this moment. It can write the copies only; others see nothing of it."""
    sql = text("""
        SELECT set_config('transaction_read_only', 'on', true),
               set_config('dunlin.simulated', pg_current_xact_id()::text || ' ' || :at, true)
    """)
    with connection.begin():
        connection.execute(sql, {"at": instant.isoformat()})
        yield


def refresh_statistics(connection: Connection) -> None:
    """Nobody else does it for temporary tables, and plans made for empty ones would meet millions."""
    connection.exec_driver_sql("ANALYZE pg_temp.messages, pg_temp.message_accounts")


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A connection that no pool ever gets back: whoever were given it would take the copies for the book."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.detach()
        yield connection


def _fill(connection: Connection, portfolio: str, until: date) -> None:
    run = connection.exec_driver_sql
    run(f"SET temp_buffers = '{MEMORY}'")
    # A plan made for any borrowers is bad for these: planning would take a hundred times as long from its
    # tenth shard on.
    run("SET plan_cache_mode = force_custom_plan")
    schema = run("SELECT relnamespace::regnamespace FROM pg_class WHERE oid = to_regclass('messages')")
    real = schema.scalar_one()
    run("SELECT set_config('search_path', 'pg_temp, ' || current_setting('search_path'), false)")
    connection.execute(text(_CONCERNED), {"portfolio": portfolio, "until": until})
    run("ANALYZE pg_temp.concerned")
    for table, which in _COPIED.items():
        run(f"CREATE TEMP TABLE {table} (LIKE {real}.{table} INCLUDING ALL)")
        if which != _NOTHING:
            run(
                f"INSERT INTO pg_temp.{table} OVERRIDING SYSTEM VALUE "  # noqa: S608  # names of our own
                f"SELECT t.* FROM {real}.{table} t {which}"
            )
            run(f"ANALYZE pg_temp.{table}")
    # The moves of messages are checked and recorded as for the real ones.
    run("SELECT dunlin_guard_partition('messages', 'messages')")
