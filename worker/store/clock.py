"""Moves the database's clock for the demo and tests; refused by the database outside the sandbox."""

from datetime import datetime

from sqlalchemy import Connection, text


def move_to(connection: Connection, at: datetime) -> None:
    """From now on `dunlin_now()` runs from this instant, as long as every portfolio is in sandbox."""
    connection.execute(text("UPDATE clock_offset SET offset_by = :at - clock_timestamp()"), {"at": at})


def restore(connection: Connection) -> None:
    """The real time again."""
    connection.execute(text("UPDATE clock_offset SET offset_by = '0'"))
