"""send: claim due messages, render them, call the provider, write what became of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from worker.channels.base import Accepted, Misconfigured, Throttled
from worker.channels.rate import Grant
from worker.domain.clock import Clock
from worker.domain.states import State
from worker.pipeline.carriers import Carrier, carriers
from worker.pipeline.compose import Composed, compose
from worker.pipeline.outcomes import NotPosted, Result, outcome_of
from worker.pipeline.policies import LoadedPolicy
from worker.pipeline.runtime import Runtime
from worker.pipeline.unusable import said_unusable, suppress, suppress_first
from worker.store import book
from worker.store import claim as store
from worker.store import outcome as outcome_store
from worker.store.engine import autocommit, insist

PACE_S = 0.25
"""How finely a rate is kept: what it allows in this time goes together."""
TOGETHER = {1: 20, 2: 1}
"""How many are claimed together after one lost lease, and after more. One by one, what a mere restart lost
would take minutes; all together, the one that kills would strike all of them again.
"""

log = structlog.get_logger()


@dataclass(slots=True)
class Batch:
    """Messages of one portfolio that one carrier has claimed together under one token."""

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
    stop: Exception | None = None
    """Why the rest of the batch must wait: the sender is throttled or misconfigured."""

    @property
    def channel(self) -> str:
        return self.carrier.share.channel

    def over(self, runtime: Runtime) -> bool:
        """Nothing more is to be posted, whatever is left."""
        late = runtime.clock.monotonic() >= self.deadline
        return late or self.stop is not None or self.carrier.breaker.state == "open" or runtime.stopping()


def send_due(runtime: Runtime, channel: str) -> Counter[str]:
    """Sends what is due on a channel until nothing is or time is up. Returns counts by outcome."""
    go_on, counts = runtime.box(), Counter[str]()
    runtime.policies.refresh()
    while go_on():
        with autocommit(runtime.engine) as connection:
            portfolios = store.due_portfolios(connection, channel)
        moved = 0
        for portfolio in portfolios:
            for carrier in carriers(runtime, channel, portfolio) if go_on() else ():
                sent = send_batch(runtime, carrier)
                counts += sent
                moved += sum(sent.values())
        if moved == 0:
            break
    return counts


def is_due(runtime: Runtime, channel: str) -> bool:
    """Whether something waits that neither a pause nor a stop holds; a sender's rate or a breaker may."""
    with autocommit(runtime.engine) as connection:
        return bool(store.due_portfolios(connection, channel))


def send_batch(runtime: Runtime, carrier: Carrier) -> Counter[str]:
    """Claims one batch and sees it through. What may have killed its worker comes last: after a first lost
    lease in small company, after a second alone, so that a third takes nobody with it.
    """
    try:
        for crashes in (0, *TOGETHER):
            if sent := _send(runtime, carrier, crashes):
                return sent
        return Counter()
    finally:
        carrier.release(runtime)


def _send(runtime: Runtime, carrier: Carrier, crashes: int) -> Counter[str]:
    """Of the messages that lost so many leases in a row."""
    grant = carrier.take(runtime)
    if not grant.count:
        return Counter()
    timing, token, now = runtime.timing, uuid4(), runtime.clock.monotonic()
    batch = Batch(carrier, grant, token, now, now + timing.deadline_s)
    with autocommit(runtime.engine) as connection:
        rows = store.claim(
            connection,
            share=carrier.share,
            token=token,
            worker=runtime.worker,
            lease_s=timing.lease_s,
            limit=min(grant.count, TOGETHER.get(crashes, grant.count)),
            rules_hash=runtime.policies.rules_hash,
            deadline_s=timing.deadline_s,
            lead_s=carrier.lead_s,
            crashes=crashes,
        )
        policies = runtime.policies.get(connection, {row["policy_hash"] for row in rows})
    ours = [row for row in rows if row["state"] == State.SENDING]
    counts = Counter(row["state"] for row in rows if row["state"] != State.SENDING)
    waiting = _compose_all(runtime, batch, ours, policies)
    left = [item.row for item in runtime.run(_deliver_all(runtime, batch, waiting))] if waiting else []
    carrier.give_back(runtime, grant.count - len(batch.posted))
    if not ours:
        return counts
    counts += _write(runtime, batch, policies)
    if left:
        counts["handed_back"] = insist(runtime.engine, lambda c: outcome_store.hand_back(c, token, left))
    _beyond_the_message(runtime, batch, policies)
    share = carrier.share
    log.info(
        "send.batch", channel=share.channel, portfolio=share.portfolio, provider=share.provider, **counts
    )
    return counts


def _compose_all(
    runtime: Runtime, batch: Batch, rows: Sequence[RowMapping], policies: dict[str, LoadedPolicy]
) -> list[Composed]:
    """Text and provider form of each message. One that cannot be composed fails alone, before any request."""
    composed = []
    for row in rows:
        try:
            loaded = policies[row["policy_hash"]]
            composed.append(compose(runtime, row, batch.channel, loaded, batch.carrier.adapter))
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not take the batch with it
            log.error("send.not_composed", message=str(row["id"]), error=type(error).__name__)
            batch.results.append((row, error, False))
            if isinstance(error, Throttled | Misconfigured):
                batch.stop = error
    return composed


async def _deliver_all(runtime: Runtime, batch: Batch, waiting: Sequence[Composed]) -> list[Composed]:
    """Posts chunk by chunk, each no larger than what may be under way at once and no sooner than the rate
    allows. Returns what was not posted.
    """
    rest, taken = list(waiting), 0
    while rest and not batch.over(runtime):
        chunk = rest[: await _in_time(runtime, batch, taken, min(len(rest), batch.carrier.chunk))]
        if not chunk:
            break
        try:
            begun = _begin(runtime, batch, chunk)
        except DBAPIError as error:
            # Nothing of this chunk was posted, whatever was committed; what was posted before must be
            # written.
            log.error("send.begin_failed", error=type(error).__name__)
            break
        rest, taken = rest[len(chunk) :], taken + len(chunk)
        # A row that did not come back is not ours any more: its lease was taken over.
        posting = [item for item in chunk if item.outgoing.ref.attempt_id in begun]
        results = await asyncio.gather(*(_post(item, batch, runtime.clock) for item in posting))
        for item, result in zip(posting, results, strict=True):
            batch.results.append((item.row, result, True))
            batch.posted.append((item, result))
            if isinstance(result, Throttled | Misconfigured):
                batch.stop = result
        batch.carrier.hear(runtime, results)
    return rest


async def _in_time(runtime: Runtime, batch: Batch, taken: int, most: int) -> int:
    """Waits for the rate; returns how many may go now, 0 if the batch is over before one may. What comes in a
    quarter of a second goes together, because each chunk costs the database a statement.
    """
    together = min(most, max(1, int(batch.grant.per_second * PACE_S)))
    while not batch.over(runtime):
        allowed = batch.grant.due(runtime.clock.monotonic() - batch.began) - taken
        if allowed >= together:
            return min(allowed, most)
        await asyncio.sleep(PACE_S / 5)
    return 0


def _begin(runtime: Runtime, batch: Batch, chunk: Sequence[Composed]) -> set[UUID]:
    """Stores what is about to be said; only the attempts returned may be posted."""
    with autocommit(runtime.engine) as connection:
        _keep_templates(runtime, connection)
        return store.begin(
            connection,
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


def _write(runtime: Runtime, batch: Batch, policies: dict[str, LoadedPolicy]) -> Counter[str]:
    """Outcomes in one statement."""
    outcomes = [
        outcome_of(
            row,
            result,
            started=started,
            settle_s=runtime.timing.settle_of(policies[row["policy_hash"]].policy.portfolio.mode),
            random=runtime.random,
            route=batch.carrier.route,
        )
        for row, result, started in batch.results
    ]
    suppress_first(runtime.engine, batch.channel, said_unusable(batch.results, policies))
    # The provider's answer exists nowhere else: it is written until it stands, and never asked for again.
    moved = insist(runtime.engine, lambda connection: outcome_store.finish(connection, batch.token, outcomes))
    for outcome in outcomes:
        if outcome.message_id not in moved:
            log.warning("send.moved_on", message=str(outcome.message_id), outcome=outcome.outcome)
        elif outcome.outcome not in ("accepted", "transient", "throttled", "handed_back"):
            log.warning(
                "send.not_accepted",
                message=str(outcome.message_id),
                outcome=outcome.outcome,
                code=outcome.code,
            )
    return Counter(outcome.outcome for outcome in outcomes)


def _beyond_the_message(runtime: Runtime, batch: Batch, policies: dict[str, LoadedPolicy]) -> None:
    """The sender's rest, waking whoever waits for a message that was stored, and what waits for a suppressed
    address.
    """
    carrier = batch.carrier
    if isinstance(batch.stop, Throttled):
        carrier.slow(runtime, batch.stop.retry_after_s)
    elif isinstance(batch.stop, Misconfigured):
        carrier.misconfigured(runtime, batch.stop.code)
    accepted = [item.outgoing for item, result in batch.posted if isinstance(result, Accepted)]
    if accepted:
        runtime.run(carrier.adapter.announce(accepted))
    suppress(runtime.engine, batch.channel, said_unusable(batch.results, policies))
