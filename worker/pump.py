"""The worker's own pump: wake-ups from a timer in its main process, so that work goes on when beat is
gone.
"""

from typing import Any

import structlog
from celery import bootsteps
from kombu.exceptions import OperationalError

from worker import settings

CONTROL = "control"
MAX_WAITING = 8
"""Wake-ups that may wait in one queue: the work waits in the database, the broker stays short."""
EXPIRES_S = 60
"""A wake-up that waited longer is of no use: a later one has been published since."""

log = structlog.get_logger()


class Pump(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Publishes, every few seconds, one wake-up for each queue this worker consumes."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        period = settings.current().pump_s
        self._timer = parent.timer.call_repeatedly(period, _pump, (parent.app,), priority=10)

    def stop(self, _parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop


def _pump(app: Any) -> None:
    for queue in sorted(app.amqp.queues.consume_from):
        if queue == CONTROL:
            for name in ("tasks.plan", "tasks.admit", "tasks.settle"):
                wake(app, name, queue)
        else:
            wake(app, "tasks.send", queue, channel=queue)


def wake(app: Any, name: str, queue: str, **arguments: str) -> bool:
    """Publishes a wake-up unless enough are waiting. Losing it loses nothing, so an error is only logged."""
    try:
        with app.connection_or_acquire() as connection:
            if connection.default_channel.client.llen(queue) >= MAX_WAITING:
                return False
        app.send_task(name, kwargs=arguments, expires=EXPIRES_S)
    except (OperationalError, OSError) as error:
        log.warning("wake.failed", task=name, error=type(error).__name__)
        return False
    return True
