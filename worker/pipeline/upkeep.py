"""What the database needs before it needs it."""

import structlog
from sqlalchemy import Engine

from worker.store import partitions

MONTHS_AHEAD = 3

log = structlog.get_logger()


def keep_up(engine: Engine) -> dict[str, int]:
    """Makes the month partitions ahead; an alarm if rows lie outside every month."""
    with engine.begin() as connection:
        made = partitions.make_months(connection, MONTHS_AHEAD + 1)
        astray = partitions.outside_every_month(connection)
    if astray:
        log.error("partition.default_in_use", rows=astray)
    return {"partitions_made": made, "rows_outside_every_month": astray}
