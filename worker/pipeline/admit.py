"""admit: one verdict per planned message, a shard of borrowers at a time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, RowMapping

from worker.domain.admission import (
    AFTER_ERROR,
    Allow,
    AwaitApproval,
    Candidate,
    DecideLater,
    Expire,
    Suppress,
    Verdict,
    decide,
)
from worker.domain.rules.facts import Event
from worker.domain.states import State
from worker.pipeline.book import put_packs
from worker.pipeline.policies import LoadedPolicy, Policies
from worker.pipeline.runtime import Runtime
from worker.pipeline.seen import History, as_kept, candidate_of
from worker.store import admit as store
from worker.store import history as history_store
from worker.store.admit import Decision
from worker.store.engine import autocommit

BATCH = 1000
"""Messages that are decided in one transaction."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AdmitSummary:
    """Messages decided, by the state they went to."""

    decided: int
    by_state: dict[str, int]


def admit_due(runtime: Runtime) -> AdmitSummary:
    """Decides planned messages until none is left or time is up."""
    go_on, counts = runtime.box(), Counter[str]()
    runtime.policies.refresh()
    with autocommit(runtime.engine) as connection:
        shards = store.shards_waiting(connection)
    if shards and not runtime.policies.packs_kept:
        with runtime.engine.begin() as connection:
            put_packs(connection, runtime.policies)
        runtime.policies.packs_kept = True
    # Workers start at different ends, so that they do not queue up for the same locks.
    runtime.random.shuffle(shards)
    with runtime.engine.connect() as connection:
        for shard in shards:
            while go_on():
                with connection.begin():
                    decided = admit_batch(connection, runtime.policies, shard)
                counts += decided
                if sum(decided.values()) < BATCH:
                    break
    if counts:
        log.info("admit.done", **counts)
    return AdmitSummary(sum(counts.values()), dict(counts))


def admit_batch(connection: Connection, policies: Policies, shard: int) -> Counter[str]:
    """One batch of one shard, in the caller's transaction; empty: nothing to do, or someone else does it."""
    now = store.try_lock_shard(connection, shard)
    return decide_batch(connection, policies, shard, now) if now else Counter()


def decide_batch(
    connection: Connection, policies: Policies, shard: int, now: datetime, *, run_id: UUID | None = None
) -> Counter[str]:
    """The verdicts on one batch of a shard, of one run or of all; the caller holds the shard."""
    rows = store.batch(connection, shard, now, BATCH, run_id)
    if not rows:
        return Counter()
    known = policies.get(connection, {row["policy_hash"] for row in rows})
    by_endpoint = any(loaded.counts_by_endpoint for loaded in known.values())
    if by_endpoint and run_id is None:  # a run by itself is a dry one, which keeps nothing
        store.lock_addresses(connection, {row["address"] for row in rows if row["address"]})
    history = History.of(connection, rows, by_endpoint=by_endpoint, now=now)
    spoken_of = _spoken_of(connection, rows, known)
    decisions = []
    for row in _in_channel_order(rows, known):
        loaded = known[row["policy_hash"]]
        candidate, events = _look_at(row, loaded, history, spoken_of)
        verdict = _decide(row, candidate, loaded, events, now)
        if isinstance(verdict, Allow):
            history.reserve(row, candidate.facts, verdict.send_at)
        decisions.append(_stored(row, verdict, as_kept(candidate, events)))
    store.write(connection, decisions, now, policies.rules_hash)
    return Counter(decision.state for decision in decisions)


def _spoken_of(
    connection: Connection, rows: Sequence[RowMapping], known: Mapping[str, LoadedPolicy]
) -> dict[str, set[int]]:
    """By mode, the accounts about which something was said before; looked up only where a rule asks."""
    wanted: dict[str, set[int]] = {}
    for row in rows:
        if known[row["policy_hash"]].asks_for_first:
            wanted.setdefault(row["mode"], set()).update(row["accounts"] or ())
    return {mode: history_store.spoken_of(connection, ids, mode) for mode, ids in wanted.items()}


def _look_at(
    row: RowMapping, loaded: LoadedPolicy, history: History, spoken_of: Mapping[str, set[int]]
) -> tuple[Candidate, list[Event]]:
    events, accounts = history.about(row), set(row["accounts"] or ())
    told = not accounts.isdisjoint(spoken_of.get(row["mode"], ())) or any(
        not event.debts.isdisjoint(map(str, accounts)) for event in events
    )
    return candidate_of(row, loaded, first=not told), events


def _in_channel_order(rows: Sequence[RowMapping], known: Mapping[str, LoadedPolicy]) -> list[RowMapping]:
    """A borrower's messages one after the other, in the policy's channel order."""

    def place(row: RowMapping) -> tuple[int, int]:
        tier = known[row["policy_hash"]].policy.tiers.get(row["tier"])
        channels = tier.channels if tier else ()
        # A channel that the policy dropped comes last; it must not stop everybody else's admission.
        return row["borrower_id"], channels.index(row["channel"]) if row["channel"] in channels else len(
            channels
        )

    return sorted(rows, key=place)


def _decide(
    row: RowMapping, candidate: Candidate, loaded: LoadedPolicy, events: Sequence[Event], now: datetime
) -> Verdict:
    if loaded.stack is None:
        verdict: Verdict = DecideLater(now + AFTER_ERROR, ("engine.error",), "a rule pack is missing")
    else:
        verdict = decide(candidate, loaded.stack, events, now)
    if isinstance(verdict, DecideLater):
        log.error("admit.check_broke", message=str(row["id"]), error=verdict.error)
    return verdict


def _stored(row: RowMapping, verdict: Verdict, facts: Mapping[str, Any]) -> Decision:
    seen = row["business_on"], row["id"], row["facts_changed_at"]
    match verdict:
        case Allow(send_at, send_before, rules):
            decision = "defer" if rules else "allow"
            return Decision(*seen, State.SCHEDULED, decision, _ids(rules), facts, send_at, send_before)
        case Suppress(rules):
            return Decision(*seen, State.SUPPRESSED, "suppress", _ids(rules), facts)
        case AwaitApproval():
            return Decision(*seen, State.AWAITING_APPROVAL, "await_approval", "requires_approval", facts)
        case Expire(rules):
            return Decision(*seen, State.EXPIRED, "expire", _ids(rules), facts)
        case DecideLater(at, rules):
            return Decision(*seen, State.PLANNED, "later", _ids(rules), facts, decide_at=at)


def _ids(rules: tuple[str, ...]) -> str | None:
    return ", ".join(rules) or None
