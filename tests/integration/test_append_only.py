"""What happened stays as it was written: in every month, whichever name a statement uses."""

from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from psycopg import errors
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

LATER = date(2041, 11, 30)
FAR = date(2999, 1, 1)
PARTITIONS = text(
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'message_events'::regclass"
)


@pytest.fixture
def events(engine: Engine) -> Engine:
    """One event in each month there is, in one made later, and in the DEFAULT partition."""
    with engine.begin() as connection:
        connection.execute(text("SELECT dunlin_make_months(:first, 1)"), {"first": LATER})
        months = connection.execute(
            text("""
                SELECT DISTINCT to_date(right(c, 7), 'YYYY_MM') FROM (
                    SELECT inhrelid::regclass::text AS c FROM pg_inherits
                    WHERE inhparent = 'message_events'::regclass) x WHERE c NOT LIKE '%default'
            """)
        ).scalars()
        for day in [*months, FAR]:
            connection.execute(
                text(
                    "INSERT INTO message_events (business_on, message_id, at, kind, actor) "
                    "VALUES (:day, :id, :at, 'note', 'tests')"
                ),
                {"day": day, "id": uuid4(), "at": datetime.now(UTC)},
            )
        connection.execute(
            text("INSERT INTO audit (actor, action, subject) VALUES ('tests', 'note', 'nothing')")
        )
    return engine


def refused(connection: Connection, sql: str) -> bool:
    with pytest.raises(DBAPIError) as caught, connection.begin_nested():
        connection.execute(text(sql))
    refusal = caught.value.orig
    return isinstance(refusal, errors.InsufficientPrivilege) and "append-only" in str(refusal)


def test_every_partition_of_the_events_has_a_row_and_refuses_update_delete_and_truncate(
    events: Engine,
) -> None:
    with events.connect() as connection:
        tables = [*connection.execute(PARTITIONS).scalars(), "message_events"]
        assert "message_events_2041_11" in tables
        assert "message_events_default" in tables
        for table in tables:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() >= 1
            for sql in (
                f"UPDATE {table} SET actor = 'somebody'",
                f"UPDATE {table} SET business_on = business_on + 40",
                f"DELETE FROM {table}",
                f"TRUNCATE {table}",
                f"TRUNCATE {table} CASCADE",
                f"MERGE INTO {table} t USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
            ):
                assert refused(connection, sql), sql


def test_the_audit_refuses_update_delete_and_truncate(events: Engine) -> None:
    with events.connect() as connection:
        for sql in (
            "UPDATE audit SET actor = 'somebody'",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "TRUNCATE audit RESTART IDENTITY CASCADE",
            """INSERT INTO audit (id, actor, action, subject) OVERRIDING SYSTEM VALUE
               SELECT id, 'x', 'x', 'x' FROM audit ON CONFLICT (id) DO UPDATE SET actor = 'somebody'""",
        ):
            assert refused(connection, sql), sql
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() == 1
