"""send: claim due messages, render them, call the provider, write what became of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from uuid import uuid4

import structlog
from sqlalchemy import Connection, RowMapping

from worker.channels.base import Accepted, Misconfigured, Throttled
from worker.domain.states import State
from worker.pipeline.carriers import Carrier, carriers
from worker.pipeline.compose import Composed, compose
from worker.pipeline.deliver import Batch, deliver
from worker.pipeline.outcomes import outcome_of
from worker.pipeline.policies import LoadedPolicy
from worker.pipeline.runtime import Runtime
from worker.pipeline.unusable import said_unusable, suppress, suppress_first
from worker.store import claim as store
from worker.store import outcome as outcome_store
from worker.store.engine import autocommit, insist

TOGETHER = {1: 20, 2: 1}
"""How many are claimed together after one lost lease, and after more. One by one, what a mere restart lost
would take minutes; all together, the one that kills would strike all of them again.
"""

log = structlog.get_logger()


def send_due(runtime: Runtime, channel: str) -> Counter[str]:
    """Sends what is due on a channel until nothing is or time is up. Returns counts by outcome."""
    go_on, counts = runtime.box(), Counter[str]()
    runtime.policies.refresh()
    while go_on():
        with autocommit(runtime.engine) as connection:
            sent = _round(runtime, connection, channel, go_on)
        counts += sent
        if not sent:
            break
    return counts


def _round(runtime: Runtime, connection: Connection, channel: str, go_on: Callable[[], bool]) -> Counter[str]:
    """Batch by batch through the portfolios that have something due, on one connection."""
    counts = Counter[str]()
    for portfolio in store.due_portfolios(connection, channel):
        for carrier in carriers(runtime, connection, channel, portfolio) if go_on() else ():
            counts += send_batch(runtime, connection, carrier)
            if connection.invalidated:
                return counts
    return counts


def is_due(runtime: Runtime, channel: str) -> bool:
    """Whether something waits that neither a pause nor a stop holds; a sender's rate or a breaker may."""
    with autocommit(runtime.engine) as connection:
        return bool(store.due_portfolios(connection, channel))


def send_batch(runtime: Runtime, connection: Connection, carrier: Carrier) -> Counter[str]:
    """Claims one batch and sees it through. What may have killed its worker comes last: after a first lost
    lease in small company, after a second alone, so that a third takes nobody with it.
    """
    try:
        for crashes in (0, *TOGETHER):
            if sent := _send(runtime, connection, carrier, crashes):
                return sent
        return Counter()
    finally:
        carrier.release(runtime)


def _send(runtime: Runtime, connection: Connection, carrier: Carrier, crashes: int) -> Counter[str]:
    """Of the messages that lost so many leases in a row."""
    grant = carrier.take(runtime)
    if not grant.count:
        return Counter()
    timing, token, now = runtime.timing, uuid4(), runtime.clock.monotonic()
    batch = Batch(connection, carrier, grant, token, now, now + timing.deadline_s)
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
    left = [item.row for item in runtime.run(deliver(runtime, batch, waiting))] if waiting else []
    carrier.give_back(runtime, grant.count - len(batch.posted))
    if not ours:
        return counts
    counts += _write(runtime, batch, policies)
    if left:
        counts["handed_back"] += insist(
            runtime.engine, lambda c: outcome_store.hand_back(c, token, left), first=connection
        )
    _beyond_the_message(runtime, batch, policies)
    if batch.unwritten:
        # The next batch would not get further. It ends the wake-up, and is an alarm.
        raise batch.unwritten
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
    moved = insist(
        runtime.engine, lambda c: outcome_store.finish(c, batch.token, outcomes), first=batch.connection
    )
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
