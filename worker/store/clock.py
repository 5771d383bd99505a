"""The database's clock; moved for the demo and tests, which the database refuses outside the sandbox."""

from datetime import datetime

from sqlalchemy import Connection, text


def real(connection: Connection) -> datetime:
    """The database's clock, which nobody moves: of leases and attempts."""
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def move_to(connection: Connection, at: datetime) -> None:
    """From now on `dunlin_now()` runs from this instant, as long as every portfolio is in sandbox."""
    connection.execute(text("UPDATE clock_offset SET offset_by = :at - clock_timestamp()"), {"at": at})


def restore(connection: Connection) -> None:
    """The real time again."""
    connection.execute(text("UPDATE clock_offset SET offset_by = '0'"))
