"""send: claim due messages, render them, call the provider, write what became of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from worker.channels.base import Accepted, Channel, Misconfigured, Throttled
from worker.domain.clock import Clock
from worker.domain.message import OutgoingMessage
from worker.domain.states import State
from worker.pipeline.compose import Composed, compose
from worker.pipeline.outcomes import NotPosted, Result, outcome_of
from worker.pipeline.policies import LoadedPolicy
from worker.pipeline.runtime import Runtime
from worker.pipeline.unusable import said_unusable, suppress, suppress_first
from worker.store import book
from worker.store import claim as store
from worker.store import outcome as outcome_store
from worker.store.engine import autocommit, insist

log = structlog.get_logger()


@dataclass(slots=True)
class Batch:
    """Messages of one portfolio and channel, claimed together under one token."""

    channel: str
    portfolio: str
    token: UUID
    deadline: float
    """On the monotonic clock: nothing is posted after it."""
    results: list[tuple[RowMapping, Result, bool]] = field(default_factory=list)
    """Row, result, and whether the provider may have been called."""
    posted: list[tuple[Composed, Result]] = field(default_factory=list)
    stop: Exception | None = None
    """Why the rest of the batch must wait: the sender is throttled or misconfigured."""


def send_due(runtime: Runtime, channel: str) -> Counter[str]:
    """Sends what is due on a channel until nothing is or time is up. Returns counts by outcome."""
    go_on, counts = runtime.box(), Counter[str]()
    runtime.policies.refresh()
    while go_on():
        with autocommit(runtime.engine) as connection:
            portfolios = store.due_portfolios(connection, channel)
        moved = 0
        for portfolio in portfolios:
            if go_on():
                # What may have killed its worker comes last and alone, so that it takes nobody with it.
                sent = send_batch(runtime, channel, portfolio) or send_batch(
                    runtime, channel, portfolio, after_crash=True
                )
                counts += sent
                moved += sum(sent.values())
        if moved == 0:
            break
    return counts


def send_batch(runtime: Runtime, channel: str, portfolio: str, *, after_crash: bool = False) -> Counter[str]:
    """Claims one batch and sees it through; with `after_crash` one message that lost its last lease."""
    timing, token = runtime.timing, uuid4()
    batch = Batch(channel, portfolio, token, runtime.clock.monotonic() + timing.deadline_s)
    with autocommit(runtime.engine) as connection:
        rows = store.claim(
            connection,
            channel=channel,
            portfolio=portfolio,
            token=token,
            worker=runtime.worker,
            lease_s=timing.lease_s,
            limit=1 if after_crash else timing.claim_batch,
            rules_hash=runtime.policies.rules_hash,
            deadline_s=timing.deadline_s,
            after_crash=after_crash,
        )
        policies = runtime.policies.get(connection, {row["policy_hash"] for row in rows})
    ours = [row for row in rows if row["state"] == State.SENDING]
    counts = Counter(row["state"] for row in rows if row["state"] != State.SENDING)
    if not ours:
        return counts
    waiting = _compose_all(runtime, batch, ours, policies)
    left = [item.row for item in runtime.run(_deliver_all(runtime, batch, waiting))]
    counts += _write(runtime, batch, policies)
    if left:
        counts["handed_back"] = insist(runtime.engine, lambda c: outcome_store.hand_back(c, token, left))
    _beyond_the_message(runtime, batch, policies)
    log.info("send.batch", channel=channel, portfolio=portfolio, **counts)
    return counts


def _compose_all(
    runtime: Runtime, batch: Batch, rows: Sequence[RowMapping], policies: dict[str, LoadedPolicy]
) -> list[Composed]:
    """Text and provider form of each message. One that cannot be composed fails alone, before any request."""
    composed = []
    for row in rows:
        try:
            loaded = policies[row["policy_hash"]]
            provider = loaded.policy.providers[batch.channel]
            adapter = runtime.adapter(batch.channel, provider, loaded.policy.portfolio.mode)
            composed.append(compose(runtime, row, batch.channel, loaded, adapter))
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not take the batch with it
            log.error("send.not_composed", message=str(row["id"]), error=type(error).__name__)
            batch.results.append((row, error, False))
            if isinstance(error, Throttled | Misconfigured):
                batch.stop = error
    return composed


async def _deliver_all(runtime: Runtime, batch: Batch, waiting: Sequence[Composed]) -> list[Composed]:
    """Posts chunk by chunk, each no larger than what the adapter sends at once. Returns what was not
    posted.
    """
    rest = list(waiting)
    while (
        rest and batch.stop is None and not runtime.stopping() and runtime.clock.monotonic() < batch.deadline
    ):
        adapter = rest[0].adapter
        chunk = [item for item in rest if item.adapter is adapter][: adapter.capabilities.concurrency]
        try:
            begun = _begin(runtime, batch, adapter, chunk)
        except DBAPIError as error:
            # Nothing of this chunk was posted, whatever was committed; what was posted before must be
            # written.
            log.error("send.begin_failed", error=type(error).__name__)
            break
        chosen = {item.outgoing.ref.attempt_id for item in chunk}
        rest = [item for item in rest if item.outgoing.ref.attempt_id not in chosen]
        # A row that did not come back is not ours any more: its lease was taken over.
        posting = [item for item in chunk if item.outgoing.ref.attempt_id in begun]
        results = await asyncio.gather(*(_post(item, batch, runtime.clock) for item in posting))
        for item, result in zip(posting, results, strict=True):
            batch.results.append((item.row, result, True))
            batch.posted.append((item, result))
            if isinstance(result, Throttled | Misconfigured):
                batch.stop = result
    return rest


def _begin(runtime: Runtime, batch: Batch, adapter: Channel, chunk: Sequence[Composed]) -> set[UUID]:
    """Stores what is about to be said; only the attempts returned may be posted."""
    with autocommit(runtime.engine) as connection:
        _keep_templates(runtime, connection)
        return store.begin(
            connection,
            token=batch.token,
            provider=adapter.provider,
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
    """Pauses, waking whoever waits for a message that was stored, and what waits for a suppressed address."""
    if batch.stop is not None:
        _pause(runtime, batch, batch.stop)
    accepted: dict[Channel, list[OutgoingMessage]] = {}
    for item, result in batch.posted:
        if isinstance(result, Accepted):
            accepted.setdefault(item.adapter, []).append(item.outgoing)
    for adapter, messages in accepted.items():
        runtime.run(adapter.announce(messages))
    suppress(runtime.engine, batch.channel, said_unusable(batch.results, policies))


def _pause(runtime: Runtime, batch: Batch, why: Exception) -> None:
    throttled = isinstance(why, Throttled)
    with runtime.engine.begin() as connection:
        outcome_store.pause(
            connection,
            portfolio=batch.portfolio,
            channel=batch.channel,
            reason="throttled by the provider" if throttled else f"misconfigured: {getattr(why, 'code', '')}",
            by="dunlin",
            for_s=why.retry_after_s if isinstance(why, Throttled) else None,
        )
    if not throttled:
        log.error(
            "channel.paused", channel=batch.channel, portfolio=batch.portfolio, code=getattr(why, "code", "")
        )
