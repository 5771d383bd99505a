"""Files into the book, in the caller's one transaction: staged by COPY, judged and applied as sets."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from worker.store.engine import DatabaseDown
from worker.store.imports import Statements

_LOCK = 0x64_6C_69_6D_70  # "dlimp"
_META = ("line", "reject", "warning")
_FETCH = 2000

StagedRow = tuple[int, str | None, str | None, *tuple[Any, ...]]
"""Line, reason to reject it, warning, then the kind's values."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of the file by what becomes of them."""

    read: int
    rejected: int
    warned: int
    """Loaded, but not with all that the file says."""


@dataclass(frozen=True, slots=True)
class Applied:
    inserted: int
    changed: int


@dataclass(frozen=True, slots=True)
class Closing:
    """What a snapshot would do to one portfolio."""

    portfolio_id: str
    missing: int
    """Open accounts that the file does not have."""
    open: int
    """Open accounts before the import."""


def begin(connection: Connection) -> bool:
    """Makes this the only import until the transaction ends; False: another one is under way."""
    # A large file takes longer than any statement of the service may.
    connection.execute(text("SET LOCAL statement_timeout = '4h'"))
    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}).scalar())


def stage(connection: Connection, of: Statements, fields: Sequence[str], rows: Iterable[StagedRow]) -> None:
    """Copies the rows into the temporary table `incoming`, which is gone when the transaction ends.

    Raises:
        DatabaseDown: the connection was lost meanwhile.
    """
    connection.execute(
        text(f"""CREATE TEMP TABLE incoming (line bigint NOT NULL, reject text, warning text, {of.staging})
                 ON COMMIT DROP""")
    )
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in (*_META, *fields))
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        with raw.cursor().copy(sql.SQL("COPY incoming ({}) FROM STDIN").format(columns)) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.OperationalError as error:
        raise DatabaseDown(str(error).strip().partition("\n")[0]) from None
    # Nothing else gathers statistics of a temporary table.
    connection.execute(text("ANALYZE incoming"))


def judge(connection: Connection, of: Statements) -> None:
    """Rejects ids that come twice, then rows that do not fit the book; warns of what is odd in the others."""
    same = " AND ".join(f"i.{name} = f.{name}" for name in of.key)
    names = ", ".join(of.key)
    connection.execute(
        text(f"""
            UPDATE incoming i SET reject = '{" and ".join(of.key)}: the same as in line ' || f.first_line
            FROM (SELECT {names}, min(line) AS first_line FROM incoming
                  GROUP BY {names} HAVING count(*) > 1) f
            WHERE {same} AND i.line > f.first_line AND i.reject IS NULL
        """)  # noqa: S608  # our own column names
    )
    if of.check is not None:
        connection.execute(
            text(f"""
                UPDATE incoming i SET reject = c.reject FROM ({of.check}) c
                WHERE c.line = i.line AND c.reject <> ''
            """)  # noqa: S608  # our own statement
        )
    if of.warn is not None:
        connection.execute(
            text(f"""
                UPDATE incoming i SET warning = concat_ws('; ', i.warning, c.warning) FROM ({of.warn}) c
                WHERE c.line = i.line AND i.reject IS NULL
            """)  # noqa: S608  # our own statement
        )


def counts(connection: Connection) -> Counts:
    row = connection.execute(
        text("""
            SELECT count(*), count(reject), count(*) FILTER (WHERE reject IS NULL AND warning IS NOT NULL)
            FROM incoming
        """)
    ).one()
    return Counts(*row)


def apply(connection: Connection, of: Statements) -> Applied:
    """Writes what is new or different. Rows that say what is known already are not touched."""
    applied = Applied(*connection.execute(text(of.apply)).one())
    if applied.inserted:
        # A run planned right after a first import would otherwise meet a table that looks empty.
        connection.execute(text(f"ANALYZE {of.target}"))
    return applied


def rejected_without_account(connection: Connection) -> int:
    """Rejected rows that do not say which account they were about."""
    found = text("SELECT count(*) FROM incoming WHERE reject IS NOT NULL AND account_id IS NULL")
    return int(connection.execute(found).scalar_one())


def find_missing(connection: Connection, portfolio: str | None) -> list[Closing]:
    """Notes the open accounts that the file does not have, of one portfolio or of all that occur in it.

    A rejected row is not a missing account, whatever portfolio it names. Portfolios of which no open account
    is missing are left out.
    """
    connection.execute(
        text("""
            CREATE TEMP TABLE missing ON COMMIT DROP AS
            SELECT a.id, a.portfolio_id FROM accounts a
            WHERE a.closed_on IS NULL
              AND a.portfolio_id IN (
                  SELECT portfolio FROM incoming WHERE reject IS NULL AND CAST(:portfolio AS text) IS NULL
                  UNION ALL SELECT :portfolio)
              AND NOT EXISTS (SELECT FROM incoming i
                              WHERE i.portfolio = a.portfolio_id AND i.account_id = a.external_id)
              AND NOT EXISTS (SELECT FROM incoming i
                              WHERE i.reject IS NOT NULL AND i.account_id = a.external_id)
        """),
        {"portfolio": portfolio},
    )
    rows = connection.execute(
        text("""
            SELECT m.portfolio_id, m.missing, count(*) AS open
            FROM (SELECT portfolio_id, count(*) AS missing FROM missing GROUP BY portfolio_id) m
            JOIN accounts a ON a.portfolio_id = m.portfolio_id AND a.closed_on IS NULL
            GROUP BY m.portfolio_id, m.missing ORDER BY m.portfolio_id
        """)
    )
    return [Closing(*row) for row in rows]


def close_missing(connection: Connection) -> int:
    """Closes the accounts that `find_missing` noted, on their portfolio's local date."""
    closed = connection.execute(
        text("""
            UPDATE accounts a SET closed_on = CAST(dunlin_now() AT TIME ZONE p.timezone AS date),
                   delinquent_since = NULL, changed_at = clock_timestamp()
            FROM missing m JOIN portfolios p ON p.id = m.portfolio_id WHERE a.id = m.id
        """)
    )
    return closed.rowcount


def date_book(connection: Connection, portfolio: str | None, written_at: datetime) -> None:
    """Notes how new the book of the file's portfolios is now, and of the one that a snapshot was of.

    `written_at` is when the file was written: what was paid after that cannot be in it, however late it is
    imported. An older file makes the book older. Kept in Dunlin's time.
    """
    connection.execute(
        text("""
            UPDATE portfolios
            SET book_at = dunlin_now() - greatest(clock_timestamp() - :written_at, interval '0')
            WHERE id IN (SELECT portfolio FROM incoming WHERE reject IS NULL UNION ALL SELECT :portfolio)
        """),
        {"portfolio": portfolio, "written_at": written_at},
    )


def problems(connection: Connection) -> Iterator[tuple[int, str]]:
    """Line and reason of every row that was rejected or loaded in part, in order of lines, a few at a
    time.
    """
    found = connection.execute(
        text("""
            SELECT line, concat_ws('; ', reject, warning) AS reason FROM incoming
            WHERE reject IS NOT NULL OR warning IS NOT NULL ORDER BY line
        """).execution_options(stream_results=True, yield_per=_FETCH)
    )
    for row in found:
        yield row.line, row.reason


def record(connection: Connection, *, kind: str, requested_by: str, detail: Mapping[str, Any]) -> None:
    """Leaves a trace of who imported what."""
    connection.execute(
        text("""
            INSERT INTO audit (actor, action, subject, detail)
            VALUES (:actor, 'import', :subject, CAST(:detail AS jsonb))
        """),
        {"actor": requested_by, "subject": kind, "detail": json.dumps(dict(detail))},
    )
