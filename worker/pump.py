"""The worker's own pump: wake-ups from a timer in its main process, so that work goes on when beat is
gone.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from celery import bootsteps
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisSilent

from worker import settings

CONTROL = "control"
MAX_WAITING = 8
"""Wake-ups that may wait in one queue: the work waits in the database, the broker stays short."""
EXPIRES_S = 60
"""A wake-up that waited longer is of no use: a later one has been published since."""

AWAY = (OperationalError, RedisAway, RedisSilent, OSError)
"""That the broker cannot be reached, in the words of kombu, of its driver and of the system."""

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


Wake = tuple[str, str, dict[str, str]]
"""A task's name, its queue, its arguments."""


def _pump(app: Any) -> None:
    wakes: list[Wake] = []
    for queue in sorted(app.amqp.queues.consume_from):
        if queue == CONTROL:
            wakes += [(name, queue, {}) for name in ("tasks.plan", "tasks.admit", "tasks.settle")]
        else:
            wakes.append(("tasks.send", queue, {"channel": queue}))
    try:
        _publish(app, wakes)
    except AWAY as error:
        _log_failed(error)
        # Celery's loop takes this for the loss of its own connection, as it most probably is, and looks for
        # the broker anew. Of one that merely says nothing any more it would not hear by itself, and while it
        # waits here, round after round, it does not hear that it is to stop either.
        raise ConnectionError("the broker is away") from None
    except RedisError as error:
        _log_failed(error)


def wake(app: Any, name: str, queue: str, **arguments: str) -> bool:
    """Publishes one wake-up; False: enough are waiting, or the broker is away."""
    return wake_all(app, [(name, queue, arguments)]) == 1


def wake_all(app: Any, wakes: Iterable[Wake]) -> int:
    """Publishes wake-ups, but none to a queue where enough are waiting. Returns how many.

    Losing one loses nothing, so an error is only logged. It ends the round: it may have taken a time limit of
    the broker's, and the next would take another, while a worker that is told to stop waits for this.
    """
    try:
        return _publish(app, wakes)
    except (*AWAY, RedisError) as error:
        _log_failed(error)
        return 0


def _publish(app: Any, wakes: Iterable[Wake]) -> int:
    published = 0
    with app.connection_or_acquire() as connection:
        client = connection.default_channel.client
        for name, queue, arguments in wakes:
            if client.llen(queue) < MAX_WAITING:
                app.send_task(name, kwargs=arguments, expires=EXPIRES_S, retry=False)
                published += 1
    return published


def _log_failed(error: Exception) -> None:
    log.warning("wake.failed", error=type(error).__name__)
