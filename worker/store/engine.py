"""The connection to PostgreSQL, and what to say when there is none."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")
log = structlog.get_logger()

CONNECT_TIMEOUT_S = 5
SESSION = (
    "timezone=UTC",
    "lock_timeout=10s",
    "statement_timeout=15min",
    "jit=off",
    r"default_transaction_isolation=read\ committed",
)
"""Of every connection. Just-in-time compilation costs more than it saves on statements over a few hundred
rows. Whoever has waited for a lock has to see what was committed meanwhile, whatever the server's default is.
"""


class DatabaseDown(Exception):
    """PostgreSQL does not answer, or refuses us; the text is one line and holds no password."""

    says = "the database does not answer"


def make_engine(url: str, role: str, *, pool_size: int = 3) -> Engine:
    """An engine for one process. `role` names the process in events and in pg_stat_activity."""
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_pre_ping=True,
        hide_parameters=True,  # parameters hold phone numbers and texts
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        connect_args={
            "application_name": f"dunlin-{role}@{socket.gethostname()}:{os.getpid()}"[:63],
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": " ".join(f"-c {setting}" for setting in SESSION),
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )
    event.listen(engine, "connect", _columns_in_binary)
    return engine


def _columns_in_binary(connection: psycopg.Connection[Any], _: object) -> None:
    """Batches go to the database as arrays. As text, each element is searched for what has to be quoted,
    which cost as much as deciding on a message.
    """
    connection.adapters.register_dumper(list, ListBinaryDumper)


class DatabaseBusy(DatabaseDown):
    """Others held what was wanted for too long; nothing was done, and trying again may help."""

    says = "the database is busy, try again"


class DatabaseUnwritable(DatabaseDown):
    """It answers and takes nothing: its disk is full, or it is read-only. Nothing was done."""

    says = "the database takes no writes; give it space, or make it writable"


_BUSY = {"55P03", "40P01", "40001"}
"""Lock not available in time, deadlock, serialization failure."""
_UNWRITABLE = {"25006", "53100"}
"""A transaction that may only read, no space left."""


def unwritable(error: BaseException) -> bool:
    """Whether the database answered that it can write nothing now."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _UNWRITABLE


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement is its own transaction: one round trip instead of three."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@contextmanager
def database_errors() -> Iterator[None]:
    """Turns a lost or refused connection into one line.

    Raises:
        DatabaseDown: PostgreSQL does not answer or refuses us.
        DatabaseBusy: it answers, but others hold what is wanted.
        DatabaseUnwritable: it answers, and cannot write.
    """
    try:
        yield
    except OperationalError as error:
        if unwritable(error):
            raise DatabaseUnwritable(_first_line(error)) from None
        if getattr(error.orig, "sqlstate", None) in _BUSY:
            raise DatabaseBusy(_first_line(error)) from None
        raise DatabaseDown(_first_line(error)) from None
    except DBAPIError as error:
        if unwritable(error):
            raise DatabaseUnwritable(_first_line(error)) from None
        if error.connection_invalidated:
            raise DatabaseDown(_first_line(error)) from None
        raise


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__


def insist(
    engine: Engine,
    work: Callable[[Connection], T],
    *,
    first: Connection | None = None,
    tries: int = 6,
    first_wait_s: float = 0.2,
) -> T:
    """Runs one statement until it is known to be committed, through lost connections, deadlocks, lock
    timeouts, and times in which nothing can be written. The first try is on an autocommitting connection that
    the caller has, if it has one.

    Only for work that may run twice: when a connection breaks at the commit, nobody knows whether it was.

    Raises:
        DBAPIError: it still fails after `tries`, or fails in a way that trying again cannot help.
    """
    for attempt in range(tries):
        try:
            with nullcontext(first) if first and not first.invalidated else autocommit(engine) as connection:
                return work(connection)
        except DBAPIError as error:
            passing = isinstance(error, OperationalError) or error.connection_invalidated or unwritable(error)
            if not passing or attempt == tries - 1:
                raise
            log.warning("database.tried_again", error=type(error.orig).__name__, tries=attempt + 1)
            time.sleep(first_wait_s * 2**attempt)
    raise AssertionError("tries must be at least 1")
