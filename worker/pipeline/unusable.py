"""Addresses of which a provider said, in answer to a send, that they must not be used again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog
from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import DBAPIError

from worker.pipeline.outcomes import Result, suppression_of
from worker.pipeline.policies import LoadedPolicy
from worker.store import suppress as store
from worker.store.engine import insist

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Unusable:
    """One address, and why."""

    address: str = field(repr=False)
    reason: str
    sandbox: bool


def said_unusable(
    results: Iterable[tuple[RowMapping, Result, bool]], policies: Mapping[str, LoadedPolicy]
) -> list[Unusable]:
    """In one order for everybody, so that two processes do not wait for each other."""
    return sorted(
        Unusable(row["address"], why, policies[row["policy_hash"]].policy.portfolio.mode == "sandbox")
        for row, result, _ in results
        if (why := suppression_of(result))
    )


def suppress_first(engine: Engine, channel: str, found: Iterable[Unusable]) -> None:
    """Keeps them before the outcomes that say so are written: once those stand, nobody looks at the answers
    again, and whoever was killed in between would have forgotten an opt-out. Waits for no message and never
    raises, because an outcome that is not written is worse.
    """
    for each in found:
        try:
            insist(engine, partial(_add, channel, each), tries=3)
        except DBAPIError as error:
            log.error("send.not_suppressed", channel=channel, error=type(error).__name__)


def suppress(engine: Engine, channel: str, found: Iterable[Unusable]) -> None:
    """The same, and what is pending to them is cancelled.

    Raises:
        DBAPIError: it could not be.
    """
    for each in found:
        insist(engine, partial(_add, channel, each))
        insist(engine, partial(_cancel, channel, each))


def _add(channel: str, of: Unusable, connection: Connection) -> None:
    store.add(
        connection,
        channel=channel,
        address=of.address,
        reason=of.reason,
        source="provider",
        by="dunlin",
        sandbox=of.sandbox,
    )


def _cancel(channel: str, of: Unusable, connection: Connection) -> None:
    store.cancel_pending(
        connection, channel=channel, address=of.address, reason=of.reason, sandbox=of.sandbox
    )
