"""Posts the messages of a batch: what is about to be said is stored first, and no faster than the rate."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from worker.channels.base import Misconfigured, Throttled
from worker.channels.rate import Grant
from worker.domain.clock import Clock
from worker.pipeline.carriers import Carrier
from worker.pipeline.compose import Composed
from worker.pipeline.outcomes import NotPosted, Result
from worker.pipeline.runtime import Runtime
from worker.store import book
from worker.store.begin import begin
from worker.store.engine import unwritable

PACE_S = 0.25
"""How finely a rate is kept: what it allows in this time goes together."""
BEGUN_S = 1.0
"""Texts are stored together for what the rate allows in this time: more would make more of them unconfirmed
when the process dies, less costs the database a statement for every few.
"""

log = structlog.get_logger()


@dataclass(slots=True)
class Batch:
    """Messages of one portfolio that one carrier has claimed together under one token."""

    connection: Connection
    """Each statement on it is its own transaction, and none is under way while the provider is called."""
    carrier: Carrier
    grant: Grant
    token: UUID
    began: float
    """On the monotonic clock: since when the grant counts."""
    deadline: float
    """On the same clock: nothing is posted after it."""
    results: list[tuple[RowMapping, Result, bool]] = field(default_factory=list)
    """Row, result, and whether the provider may have been called."""
    posted: list[tuple[Composed, Result]] = field(default_factory=list)
    taken: int = 0
    """How much of the grant is used."""
    stop: Exception | None = None
    """Why the rest of the batch must wait: the sender is throttled or misconfigured."""
    unwritten: DBAPIError | None = None
    """Why nothing can be said any more: the database could not write it down."""

    @property
    def channel(self) -> str:
        return self.carrier.share.channel

    def at_rate(self, seconds: float) -> int:
        """How many go in this time, at least one; all of them if nothing limits the sender."""
        return max(1, int(self.grant.per_second * seconds)) if self.grant.per_second else self.grant.count

    def ahead(self) -> int:
        """How many texts are stored in one go. If the process dies, all of them may have been posted: so no
        more than what is under way at once while there is trouble, or where nobody can say afterwards.
        """
        able = self.carrier.adapter.capabilities
        sure = (able.lookup or able.idempotent) and self.carrier.breaker.clean
        return self.at_rate(BEGUN_S) if sure else self.carrier.chunk

    def over(self, runtime: Runtime) -> bool:
        """Nothing more is to be posted, whatever is left."""
        late = runtime.clock.monotonic() >= self.deadline
        return late or self.stop is not None or self.carrier.breaker.state == "open" or runtime.stopping()


async def deliver(runtime: Runtime, batch: Batch, waiting: Sequence[Composed]) -> list[Composed]:
    """Stores and posts chunk by chunk. Returns what was neither: it was never begun."""
    rest = list(waiting)
    while rest and not batch.over(runtime):
        chunk = rest[: batch.ahead()]
        try:
            begun = _begin(runtime, batch, chunk)
        except DBAPIError as error:
            # Nothing of this chunk was posted, whatever was committed; what was posted before must be
            # written.
            log.error("send.begin_failed", error=type(error).__name__)
            batch.unwritten = error if unwritable(error) else None
            break
        rest = rest[len(chunk) :]
        # A row that did not come back is not ours any more: its lease was taken over.
        await _post_all(runtime, batch, [item for item in chunk if item.outgoing.ref.attempt_id in begun])
    return rest


async def _post_all(runtime: Runtime, batch: Batch, begun: Sequence[Composed]) -> None:
    """As many at a time as may be under way. What the batch's end leaves over is said not to have been
    posted, which lets it go again.
    """
    left = list(begun)
    while left:
        count = await _in_time(runtime, batch, min(len(left), batch.carrier.chunk))
        if not count:
            break
        group, left = left[:count], left[count:]
        results = await asyncio.gather(*(_post(item, batch, runtime.clock) for item in group))
        batch.taken += count
        for item, result in zip(group, results, strict=True):
            batch.results.append((item.row, result, True))
            batch.posted.append((item, result))
            if isinstance(result, Throttled | Misconfigured):
                batch.stop = result
        batch.carrier.hear(runtime, results)
    batch.results += [(item.row, NotPosted("the batch was over"), True) for item in left]


async def _in_time(runtime: Runtime, batch: Batch, most: int) -> int:
    """Waits for the rate; returns how many may go now, 0 if the batch is over before one may."""
    together = min(most, batch.at_rate(PACE_S))
    while not batch.over(runtime):
        allowed = batch.grant.due(runtime.clock.monotonic() - batch.began) - batch.taken
        if allowed >= together:
            return min(allowed, most)
        await asyncio.sleep(PACE_S / 5)
    return 0


def _begin(runtime: Runtime, batch: Batch, chunk: Sequence[Composed]) -> set[UUID]:
    """Stores what is about to be said; only the attempts returned may be posted."""
    _keep_templates(runtime, batch.connection)
    return begin(
        batch.connection,
        token=batch.token,
        provider=batch.carrier.share.provider,
        template_hash=runtime.catalogue.version(),
        contents=[item.content for item in chunk],
    )


def _keep_templates(runtime: Runtime, connection: Connection) -> None:
    """Once per process, before anything is said with them: evidence shows the templates behind a text."""
    if not runtime.templates_kept:
        catalogue = runtime.catalogue
        book.put_version(
            connection,
            kind="template",
            name="templates",
            digest=catalogue.version(),
            body=catalogue.sources(),
        )
        runtime.templates_kept = True


async def _post(item: Composed, batch: Batch, clock: Clock) -> Result:
    """Exactly one call of the adapter, and none after the deadline."""
    if clock.monotonic() >= batch.deadline:
        return NotPosted("the batch's deadline had passed")
    try:
        return await item.adapter.send(item.payload)
    except Exception as error:  # noqa: BLE001  # the outcome decides what it means; nothing may escape the batch
        return error
