"""Who may make messages of one portfolio at the same time, until their transactions end.

Two dates planned side by side, each blind to the other's uncommitted rows, would both tell the borrower.
Shards of one run hold different borrowers: they share. A new run, a rerun, and planning anew are each alone.
"""

from sqlalchemy import Connection, text

_LOCK_SPACE = 0x506C  # "Pl": keeps these locks apart from other advisory locks


def share(connection: Connection, portfolio: str) -> None:
    """Beside others that share, and nobody who is alone."""
    sql = text("SELECT pg_advisory_xact_lock_shared(:space, hashtext(:portfolio))")
    connection.execute(sql, {"space": _LOCK_SPACE, "portfolio": portfolio})


def alone(connection: Connection, portfolio: str) -> None:
    """Waits for all who share. Taken before any row is locked, by short transactions only."""
    sql = text("SELECT pg_advisory_xact_lock(:space, hashtext(:portfolio))")
    connection.execute(sql, {"space": _LOCK_SPACE, "portfolio": portfolio})
