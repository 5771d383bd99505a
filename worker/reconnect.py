"""How worker and beat wait for a broker that is away: they look again every second, without end.

Celery alone waits longer each time, up to half a minute; and what is left of a lost connection can end its
worker.
"""

import logging
from collections.abc import Callable
from typing import Any

import structlog
from celery import beat
from celery.worker import consumer, heartbeat, state
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisSilent

RETRY_S = 1.0
SAY_EVERY = 60
"""Tries between two log lines."""

log = structlog.get_logger()
_celery_log = logging.getLogger("celery.worker.consumer")


class QoS(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Forgets what it could not acknowledge.

    In kombu 5.7 a wake-up whose acknowledgement runs into the time limit counts as being worked on for ever:
    a worker of one process takes nothing any more, and says nothing of it. The broker hands it out once more
    after the visibility timeout, which does no harm.
    """

    def ack(self, delivery_tag: Any) -> None:
        try:
            super().ack(delivery_tag)
        except (ConnectionLost, RedisSilent, OSError):
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel of a lost connection says that it is lost.

    In kombu 5.7 it fails with an AttributeError when a task that has ended is acknowledged over it, or when
    it is closed once more. Celery takes that for a fault of its own and ends the worker: one time in five,
    where there is much to do.
    """

    QoS = QoS

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise ConnectionLost("the channel's connection was lost")
        return super()._connparams(asynchronous=asynchronous)


class Transport(redis.Transport):  # type: ignore[misc]  # kombu has no types
    Channel = Channel


# By the name in the broker's URL, which Flower and the logs go by too.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))


class Heart(heartbeat.Heart):  # type: ignore[misc]  # celery has no types
    """Tries once. Celery's own tries without end: of a broker that accepts connections and says nothing, the
    worker's main process would wait in here, hear nothing else and log nothing.
    """

    def _send(self, event: str, retry: bool = True) -> Any:  # noqa: ARG002  # not ours to choose
        return super()._send(event, retry=False)


heartbeat.Heart = Heart


class Consumer(consumer.Consumer):  # type: ignore[misc]  # celery has no types
    """The worker's side of the broker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Kombu's word for a broker that cannot be reached. It says so of other connections than the main one
        # too (events, replies to Flower), and such an error would end the worker.
        # A full Redis refuses the queues' bindings with an error of its own: it, too, may pass.
        self.connection_errors: tuple[type[Exception], ...] = (
            *self.connection_errors,
            OperationalError,
            OutOfMemoryError,
        )

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Celery's own, but what it cannot read is dropped: such a message would end this worker, go back to
        its queue, and end the next one. A wake-up that is dropped loses nothing.
        """
        take = super().create_task_handler(*args, **kwargs)

        def take_or_drop(message: Any) -> Any:
            try:
                return take(message)
            except (TypeError, ValueError, AttributeError, LookupError) as error:
                return self._drop(message, type(error).__name__)

        return take_or_drop

    # Celery's own methods of these names write all that stands in the message to the log.
    def on_unknown_message(self, _body: Any, message: Any) -> None:
        self._drop(message, "no task")

    def on_unknown_task(self, _body: Any, message: Any, _error: Exception) -> None:
        self._drop(message, "no such task")

    def on_invalid_task(self, _body: Any, message: Any, error: Exception) -> None:
        self._drop(message, type(error).__name__)

    def on_decode_error(self, message: Any, error: Exception) -> None:
        self._drop(message, type(error).__name__)

    def _drop(self, message: Any, why: str) -> None:
        log.error("wake.unreadable", why=why)
        message.reject_log_error(_celery_log, self.connection_errors)

    def ensure_connected(self, conn: Any) -> Any:
        _ensure(conn, state.maybe_shutdown)
        self.first_connection_attempt = False
        return conn


class Scheduler(beat.Scheduler):  # type: ignore[misc]  # celery has no types
    """Celery's own, with its schedule in memory: which run is due is asked of the database."""

    def _ensure_connected(self) -> Any:
        return _ensure(self.connection)


def _ensure(connection: Any, callback: Callable[[], None] | None = None) -> Any:
    tries = 0

    def say(error: Exception, _next_s: float) -> None:
        nonlocal tries
        if tries % SAY_EVERY == 0:
            log.error("broker.away", broker=connection.as_uri(), error=type(error).__name__)
        tries += 1

    return connection.ensure_connection(
        say, None, interval_start=RETRY_S, interval_step=0, interval_max=RETRY_S, callback=callback
    )
