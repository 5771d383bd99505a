"""That the database takes no writes, which everything meets that has something to do: one line of each
process in five minutes.
"""

import time

import structlog

from worker.store.engine import unwritable

EVERY_S = 300.0

log = structlog.get_logger()


class Alarm:
    """Of one process."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def heed(self, error: BaseException) -> None:
        """Sounds if it is this that the error says."""
        if unwritable(error) and time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + EVERY_S
            log.critical(
                "database.unwritable",
                sqlstate=getattr(getattr(error, "orig", None), "sqlstate", None),
                todo="nothing is sent: free its disk, or make it writable",
            )
