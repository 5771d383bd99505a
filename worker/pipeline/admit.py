"""admit: one verdict per planned message, a shard of borrowers at a time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import Connection, RowMapping

from worker.domain.admission import (
    Allow,
    AwaitApproval,
    Candidate,
    DecideLater,
    Expire,
    Suppress,
    Verdict,
    decide,
)
from worker.domain.states import State
from worker.pipeline.policies import LoadedPolicy, Policies
from worker.pipeline.runtime import Runtime
from worker.store import admit as store
from worker.store import plan as plan_store
from worker.store.admit import Decision

BATCH = 500

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AdmitSummary:
    """Messages decided, by the state they went to."""

    decided: int
    by_state: dict[str, int]


def admit_due(runtime: Runtime) -> AdmitSummary:
    """Decides planned messages until none is left or time is up."""
    go_on, counts = runtime.box(), Counter[str]()
    with runtime.engine.connect() as connection:
        shards = store.shards_waiting(connection)
    # Workers start at different ends, so that they do not queue up for the same locks.
    runtime.random.shuffle(shards)
    for shard in shards:
        while go_on():
            with runtime.engine.begin() as connection:
                decided = admit_batch(connection, runtime.policies, shard)
            counts += decided
            if sum(decided.values()) < BATCH:
                break
    if counts:
        log.info("admit.done", **counts)
    return AdmitSummary(sum(counts.values()), dict(counts))


def admit_batch(connection: Connection, policies: Policies, shard: int) -> Counter[str]:
    """One batch of one shard, in the caller's transaction; empty: nothing to do, or someone else does it."""
    return decide_batch(connection, policies, shard) if store.try_lock_shard(connection, shard) else Counter()


def decide_batch(
    connection: Connection, policies: Policies, shard: int, *, run_id: UUID | None = None
) -> Counter[str]:
    """The verdicts on one batch of a shard, of one run or of all; the caller holds the shard."""
    now = plan_store.now(connection)
    rows = store.batch(connection, shard, now, BATCH, run_id)
    if not rows:
        return Counter()
    known = policies.get(connection, {row["policy_hash"] for row in rows})
    decisions = [_decide(row, known[row["policy_hash"]], now) for row in _in_channel_order(rows, known)]
    store.write(connection, decisions)
    return Counter(decision.state for decision in decisions)


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


def _decide(row: RowMapping, loaded: LoadedPolicy, now: datetime) -> Decision:
    candidate = Candidate(
        channel=row["channel"],
        address=row["address"],
        mode=row["mode"],
        allowlisted=row["address"] in loaded.policy.portfolio.allowlist,
        suppression=row["suppression"],
        holds=tuple(row["holds"] or ()),
        zone=row["zone"],
        requires_approval=row["requires_approval"],
        approved=row["approved"],
        expires_at=row["expires_at"],
    )
    verdict = decide(candidate, loaded.window, now)
    if isinstance(verdict, DecideLater):
        log.error("admit.check_broke", message=str(row["id"]), error=verdict.error)
    return _stored(row, verdict)


def _stored(row: RowMapping, verdict: Verdict) -> Decision:
    seen = row["business_on"], row["id"], row["facts_changed_at"]
    match verdict:
        case Allow(send_at, send_before, rule):
            return Decision(*seen, State.SCHEDULED, rule, send_at, send_before)
        case Suppress(rules):
            return Decision(*seen, State.SUPPRESSED, ", ".join(rules))
        case AwaitApproval():
            return Decision(*seen, State.AWAITING_APPROVAL, "requires_approval")
        case Expire(rule):
            return Decision(*seen, State.EXPIRED, rule)
        case DecideLater(at, rule):
            return Decision(*seen, State.PLANNED, rule, decide_at=at)
