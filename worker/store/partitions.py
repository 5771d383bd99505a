"""Month partitions of messages and what hangs on them."""

from datetime import date

from sqlalchemy import Connection, text


def make_months(connection: Connection, months: int, first: date | None = None) -> int:
    """Makes the partitions from the month of `first` (default: this one) on; returns how many were
    missing.
    """
    sql = text(
        "SELECT dunlin_make_months(coalesce(CAST(:first AS date), CAST(dunlin_now() AS date)), :months)"
    )
    return int(connection.execute(sql, {"first": first, "months": months}).scalar_one())


def outside_every_month(connection: Connection) -> int:
    """Messages in the DEFAULT partition: it should be empty."""
    return int(connection.execute(text("SELECT count(*) FROM messages_default")).scalar_one())
