"""The database server itself: may what it has committed be relied on?"""

from sqlalchemy import Connection, text

DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")
"""Off, a crash may forget an attempt that was committed before its message was posted: it would go twice."""


def durability(connection: Connection) -> dict[str, str]:
    """What this session's settings of DURABILITY are."""
    sql = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names) ORDER BY name")
    return {row.name: row.setting for row in connection.execute(sql, {"names": list(DURABILITY)})}
