"""Pauses and suppressions by hand, each with its row in the audit."""

import hashlib
from uuid import UUID

from sqlalchemy import Engine

from worker.domain.states import State
from worker.pipeline.byhand import Refused
from worker.pipeline.importing.fields import BadCell, suppressed_address
from worker.store import book, operate, outcome, senders
from worker.store import suppress as store
from worker.store import unconfirmed as unconfirmed_store
from worker.store.operate import Pause
from worker.store.suppress import Suppression
from worker.store.unconfirmed import Unconfirmed


def pause(engine: Engine, *, portfolio: str | None, channel: str | None, reason: str, by: str) -> bool:
    """Stops claims; None means all. False: the same pause is active already.

    Raises:
        Refused: no such portfolio, or no reason.
    """
    if not reason.strip():
        raise Refused("a pause needs a reason: somebody will ask")
    _named(by)
    with engine.begin() as connection:
        if portfolio is not None and portfolio not in {row.id for row in book.portfolios(connection)}:
            raise Refused(f"no such portfolio: {portfolio}")
        added = outcome.pause(connection, portfolio=portfolio, channel=channel, reason=reason, by=by)
        subject = f"{portfolio or 'all'}/{channel or 'all'}"
        operate.audit(connection, actor=by, action="pause", subject=subject, reason=reason)
    return added


def resume(engine: Engine, *, portfolio: str | None, channel: str | None, by: str) -> int:
    """Ends pauses, and the rest of senders that waited for a person; returns how many of both.

    Raises:
        Refused: no name.
    """
    _named(by)
    with engine.begin() as connection:
        count = operate.resume(connection, portfolio=portfolio, channel=channel, by=by)
        count += senders.resume(connection, portfolio=portfolio, channel=channel)
        if count:
            subject = f"{portfolio or 'all'}/{channel or 'all'}"
            operate.audit(connection, actor=by, action="resume", subject=subject)
    return count


def pauses(engine: Engine) -> list[Pause]:
    """Those in force, oldest first."""
    with engine.connect() as connection:
        return operate.active_pauses(connection)


def unconfirmed(engine: Engine, limit: int) -> list[Unconfirmed]:
    with engine.connect() as connection:
        return unconfirmed_store.waiting(connection, limit)


def resolve(engine: Engine, message: UUID, found: str, *, by: str, reason: str) -> None:
    """A person's word on an unconfirmed message: sent, failed, or resend.

    Raises:
        Refused: it is not unconfirmed.
    """
    if not reason.strip() or not by.strip():
        raise Refused("a name and a reason are needed: how do you know?")
    state = State.SCHEDULED if found == "resend" else State(found)
    with engine.begin() as connection:
        operate.act_as(connection, by, reason)
        if not unconfirmed_store.settle(connection, message, state.value, f"by_hand.{found}"):
            raise Refused(f"no unconfirmed message has the id {message}")
        operate.audit(connection, actor=by, action=f"resolve.{found}", subject=str(message), reason=reason)


def suppress(engine: Engine, *, channel: str, address: str, region: str, reason: str, by: str) -> bool:
    """Suppresses an address and cancels what is pending to it. False: it was suppressed already.

    The address is brought into the form in which messages use it; `region` reads national phone numbers.

    Raises:
        Refused: it is no address of this channel, or there is no reason.
    """
    _explained(reason, by)
    address = _as_used(channel, address, region)
    with engine.begin() as connection:
        operate.act_as(connection, by, "")  # the reason of each message says why already
        added = store.suppress(
            connection, channel=channel, address=address, reason=reason, source="operator", by=by
        )
        operate.audit(
            connection, actor=by, action="suppress", subject=_subject(channel, address), reason=reason
        )
    return added


def lift(engine: Engine, *, channel: str, address: str, region: str, reason: str, by: str) -> bool:
    """Allows a suppressed address again. False: it was not suppressed.

    Raises:
        Refused: it is no address of this channel, or there is no reason.
    """
    _explained(reason, by)
    address = _as_used(channel, address, region)
    with engine.begin() as connection:
        lifted = store.lift(connection, channel=channel, address=address, by=by, reason=reason)
        if lifted:
            subject = _subject(channel, address)
            operate.audit(connection, actor=by, action="lift", subject=subject, reason=reason)
    return lifted


def suppressions(engine: Engine, channel: str | None, limit: int) -> list[Suppression]:
    with engine.connect() as connection:
        return store.active(connection, channel, limit)


def _explained(reason: str, by: str) -> None:
    if not reason.strip():
        raise Refused("it needs a reason: somebody will ask")
    _named(by)


def _named(by: str) -> None:
    if not by.strip():
        raise Refused("it needs a name: who does it?")


def _as_used(channel: str, address: str, region: str) -> str:
    try:
        return suppressed_address(address, channel, region)
    except BadCell as error:
        raise Refused(f"{address!r} is no address for {channel}: {error}") from None


def _subject(channel: str, address: str) -> str:
    # The audit outlives the address: it names it without holding it.
    return f"{channel}:{hashlib.sha256(address.encode()).hexdigest()[:16]}"
