"""Nudges from the senders to the streams that are open in this process, over one Redis connection."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from worker.channels.in_app_inbox import nudge_channel

TIMEOUT_S: Final = 2.0
"""For connecting and for each answer."""
QUIET_S: Final = 15.0
"""After this much silence the connection is asked whether it lives; after twice as much it is dropped."""
RETRY_S: Final = 1.0
ALIVE: Final = "dunlin:inbox"
"""Subscribed to always: its confirmation says that nudges arrive from now on."""

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Listener:
    """One open stream waiting for its borrower's nudges."""

    channel: str
    _ids: set[UUID] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self, message_id: UUID | None = None) -> None:
        """Something may be new; perhaps this message."""
        if message_id is not None:
            self._ids.add(message_id)
        self._woken.set()

    async def wait(self, timeout_s: float) -> set[UUID]:
        """Returns at the next nudge, at the latest after `timeout_s`, with the ids named meanwhile."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()
        ids, self._ids = self._ids, set()
        return ids


class Nudges:
    """Knows the open streams and keeps one subscription for each borrower among them."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            socket_keepalive=True,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
        )
        self._listeners: dict[str, set[Listener]] = {}
        self._changed = asyncio.Event()
        self.connected = False
        """Whether nudges arrive; if not, streams have to look for themselves."""

    async def redis_answers(self) -> bool:
        """Whether Redis answers within its timeout."""
        try:
            await self._redis.ping()
        except (RedisError, OSError):
            return False
        return True

    def open_streams(self, borrower: str) -> int:
        return len(self._listeners.get(nudge_channel(borrower), ()))

    def join(self, borrower: str) -> Listener:
        """Begins to listen. It is woken once the subscription stands, so nothing falls in between."""
        listener = Listener(nudge_channel(borrower))
        self._listeners.setdefault(listener.channel, set()).add(listener)
        self._changed.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Not a coroutine, because a cancelled stream can await nothing any more."""
        others = self._listeners[listener.channel]
        others.discard(listener)
        if not others:
            del self._listeners[listener.channel]
            self._changed.set()

    async def run(self) -> None:
        """Follows Redis until cancelled, whatever happens to it."""
        news = True
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(ALIVE)
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._read(pubsub))
                        tasks.create_task(self._keep_subscribed(pubsub))
            except* Exception as errors:  # noqa: BLE001  # streams go on by polling, so this must go on as well
                if news or self.connected:
                    log.warning("nudges.lost", errors=_kinds(errors))
            news = False
            self._connection_is(alive=False)
            await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _keep_subscribed(self, pubsub: PubSub) -> None:
        subscribed: set[str] = set()
        while True:
            self._changed.clear()
            wanted = set(self._listeners)
            if added := wanted - subscribed:
                await pubsub.subscribe(*added)
            if gone := subscribed - wanted:
                await pubsub.unsubscribe(*gone)
            subscribed = wanted
            await self._changed.wait()

    async def _read(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=QUIET_S)
            if message is not None:
                asked = False
                self._heard(message)
            elif asked:
                raise RedisConnectionError("a ping was not answered")
            else:
                asked = True
                await pubsub.ping()

    def _heard(self, message: dict[str, Any]) -> None:
        channel = _text(message["channel"])
        if message["type"] == "subscribe" and channel == ALIVE:
            self._connection_is(alive=True)
        elif message["type"] in ("subscribe", "message"):
            message_id = _id(message["data"]) if message["type"] == "message" else None
            for listener in self._listeners.get(channel, ()):
                listener.wake(message_id)

    def _connection_is(self, *, alive: bool) -> None:
        """At a change every stream looks once for itself, and finds what it missed."""
        if alive == self.connected:
            return
        self.connected = alive
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.wake()


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _id(data: object) -> UUID | None:
    """None: something else was published; the stream then merely looks for what is new."""
    try:
        return UUID(_text(data))
    except ValueError:
        return None


def _kinds(errors: BaseExceptionGroup[Exception]) -> list[str]:
    """The names of what went wrong, without their texts."""
    return sorted({type(leaf).__name__ for leaf in _leaves(errors)})


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
