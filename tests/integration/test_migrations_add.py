"""Each migration only adds: what the code of before it reads and writes is there and means the same after it.

So a database can be migrated while workers of the version before are at work, and they go on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, make_url, text

from worker.local import LocalServers
from worker.store.engine import make_engine

COLUMNS = """
    SELECT c.oid::regclass::text || '.' || a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           a.attnotnull AS required, a.atthasdef OR a.attidentity <> '' AS filled, c.oid::regclass::text AS of
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
      AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'alembic_version'
"""
REFUSALS = """
    SELECT 'constraint ' || k.conname || ' ' || pg_get_constraintdef(k.oid) AS says,
           k.conrelid::regclass::text AS of,
           ARRAY(SELECT k.conrelid::regclass::text || '.' || a.attname FROM pg_attribute a
                 WHERE a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey))::text[] AS columns
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid AND NOT c.relispartition
    WHERE k.connamespace = 'public'::regnamespace AND k.contype <> 'n'
    UNION ALL
    SELECT pg_get_indexdef(i.indexrelid), i.indrelid::regclass::text, '{}'
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid AND NOT c.relispartition
    WHERE c.relnamespace = 'public'::regnamespace AND i.indisunique AND NOT i.indisprimary
    UNION ALL
    SELECT pg_get_triggerdef(t.oid), t.tgrelid::regclass::text, '{}'
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid AND NOT c.relispartition WHERE NOT t.tgisinternal
"""
FUNCTIONS = """
    SELECT p.oid::regprocedure::text || ' ' || pg_get_function_result(p.oid) FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
"""


@dataclass(frozen=True)
class Shape:
    """What code can rely on, and what refuses its rows."""

    columns: dict[str, tuple[str, bool, bool, str]]
    refusals: dict[str, tuple[str, frozenset[str]]]
    functions: frozenset[str]
    moves: frozenset[str]


def shape(connection: Connection) -> Shape:
    rows = connection.execute(text(COLUMNS)).all()
    refusals = connection.execute(text(REFUSALS)).all()
    moves = connection.execute(text("SELECT from_state || ' to ' || to_state FROM message_moves"))
    return Shape(
        {row.name: (row.type, row.required, row.filled, row.of) for row in rows},
        {row.says: (row.of, frozenset(row.columns)) for row in refusals},
        frozenset(connection.execute(text(FUNCTIONS)).scalars()),
        frozenset(moves.scalars()),
    )


def harms(before: Shape, after: Shape) -> list[str]:
    """What the code of before would stumble over."""
    tables = {of for *_, of in before.columns.values()}
    found = [f"{name} is gone" for name in before.columns if name not in after.columns]
    for name, (kind, required, filled, of) in after.columns.items():
        if name not in before.columns:
            if of in tables and required and not filled:
                found.append(f"{name} has to be written, and was not there")
            continue
        was, was_required, was_filled, _ = before.columns[name]
        if kind != was:
            found.append(f"{name} was {was} and is {kind}")
        if required and not was_required:
            found.append(f"{name} must not be empty any more")
        if was_filled and not filled:
            found.append(f"{name} has lost its default")
    for says, (of, columns) in after.refusals.items():
        # One that speaks of a new column leaves alone who does not write it.
        known = says in before.refusals or _wider_key(says, of, columns, before)
        if not known and of in tables and columns <= before.columns.keys():
            found.append(f"{of} refuses more: {says}")
    found += [f"{name} is gone" for name in before.functions - after.functions]
    return found + [f"no move any more from {move}" for move in before.moves - after.moves]


def _wider_key(says: str, of: str, columns: frozenset[str], before: Shape) -> bool:
    """A primary key over more columns than the one it takes the place of refuses nothing that was taken."""
    return "PRIMARY KEY" in says and any(
        "PRIMARY KEY" in old and table == of and key <= columns
        for old, (table, key) in before.refusals.items()
    )


@pytest.fixture
def empty(servers: LocalServers) -> Iterator[Engine]:
    """A database without any schema."""
    url, name = make_url(servers.database_url), f"t{uuid4().hex[:12]}"
    admin = make_engine(url.set(database="postgres").render_as_string(hide_password=False), "tests")
    made = make_engine(url.set(database=name).render_as_string(hide_password=False), "tests")
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield made
    made.dispose()
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_no_migration_takes_anything_from_the_code_before_it(empty: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", "worker.store:migrations")
    revisions = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    shapes = []
    for revision in revisions:
        with empty.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            shapes.append(shape(connection))
    assert len(revisions) > 1
    steps = zip(revisions[1:], pairwise(shapes), strict=True)
    assert {revision: found for revision, pair in steps if (found := harms(*pair))} == {}


@pytest.mark.parametrize(
    ("change", "harm"),
    [
        ("ALTER TABLE attempts DROP COLUMN code", "attempts.code is gone"),
        ("ALTER TABLE attempts RENAME COLUMN code TO word", "attempts.code is gone"),
        ("DROP TABLE senders", "senders.state is gone"),
        ("ALTER TABLE attempts ALTER COLUMN code TYPE varchar(5)", "attempts.code was text"),
        ("ALTER TABLE attempts ALTER COLUMN code SET NOT NULL", "attempts.code must not be empty any more"),
        ("ALTER TABLE messages ALTER COLUMN crashes DROP DEFAULT", "messages.crashes has lost its default"),
        ("ALTER TABLE attempts ADD COLUMN later text NOT NULL", "attempts.later has to be written"),
        ("ALTER TABLE attempts ADD CONSTRAINT later CHECK (n < 5)", "attempts refuses more"),
        ("CREATE UNIQUE INDEX later ON receipts (business_on, message_id)", "receipts refuses more"),
        ("DROP FUNCTION dunlin_epoch_lost() CASCADE", "dunlin_epoch_lost() text is gone"),
        ("DELETE FROM message_moves WHERE to_state = 'expired'", "no move any more from planned to expired"),
    ],
)
def test_what_would_take_something_is_seen(engine: Engine, change: str, harm: str) -> None:
    with engine.begin() as connection:
        before = shape(connection)
        connection.execute(text(change))
        found = harms(before, shape(connection))
    assert any(harm in each for each in found), found


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE attempts ADD COLUMN later text",
        "ALTER TABLE attempts ADD COLUMN later text NOT NULL DEFAULT ''",
        "ALTER TABLE attempts ADD COLUMN later int, ADD CONSTRAINT later CHECK (later > n)",
        "CREATE TABLE later (id bigint PRIMARY KEY, word text NOT NULL)",
        "CREATE INDEX later ON receipts (received_at)",
        (
            "ALTER TABLE inbound_messages DROP CONSTRAINT inbound_messages_pkey, "
            "ADD PRIMARY KEY (provider, provider_id, address)"
        ),
    ],
)
def test_what_only_adds_is_let_through(engine: Engine, change: str) -> None:
    with engine.begin() as connection:
        before = shape(connection)
        connection.execute(text(change))
        assert harms(before, shape(connection)) == []
