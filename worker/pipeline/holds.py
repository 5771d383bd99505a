"""Holds by hand, and promises to pay judged from the ledger."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import structlog
from sqlalchemy import Connection, Engine

from worker.domain.holds import HoldType, PromiseOutcome
from worker.pipeline.accounts import find_account
from worker.pipeline.byhand import Refused
from worker.pipeline.importing.fields import BadCell, remark
from worker.store import holds as store
from worker.store import operate, promises
from worker.store.holds import Hold, NewHold, Span

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is held: one account, or a whole borrower in every portfolio."""

    borrower_id: int
    account_id: int | None = None
    portfolio: str | None = None
    """The account's; dates are of its time zone, or else of the borrower's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """A hold as a person asks for it."""

    type: HoldType
    first_on: date | None = None
    """None: from now on."""
    last_on: date | None = None
    """The last day, which counts in full; None: until it is lifted."""
    amount: Decimal | None = None
    """What was promised, if less than all that is due; only of a promise to pay."""
    reason: str
    by: str


def subject(engine: Engine, *, account: str | None, borrower: str | None) -> Subject:
    """The account (its id, or portfolio/id) or the borrower with the lender's id; one of the two is given.

    Raises:
        Refused: there is none, or more than one.
    """
    if account is not None:
        found = find_account(engine, account)
        return Subject(found.borrower_id, found.id, found.portfolio_id)
    with engine.connect() as connection:
        known = store.borrower_named(connection, borrower or "")
    if known is None:
        raise Refused(f"no such borrower: {borrower}")
    return Subject(known)


def add(engine: Engine, of: Subject, request: HoldRequest) -> tuple[int, bool]:
    """Holds from now on, or from a day on; returns the hold's id, and False if there was one just like it.

    Nothing is cancelled: whatever is claimed after this has committed is stopped there.

    Raises:
        Refused: it ends before it begins or has ended, a promise has no last day, or there is no reason.
    """
    reason = _words(request.by, request.reason)
    _check_promise(request)
    with engine.begin() as connection:
        if request.amount is not None and of.account_id is None:
            _check_currency(connection, of)
        store.one_at_a_time(connection, of.borrower_id)
        span = store.span(connection, of.borrower_id, of.portfolio, request.first_on, request.last_on)
        _check_span(request, span)
        new = NewHold(
            borrower_id=of.borrower_id,
            account_id=of.account_id,
            type=request.type.value,
            starts_at=span.starts_at,
            ends_at=span.ends_at,
            promised_amount=request.amount,
            reason=reason,
            by=request.by,
        )
        hold_id, added = store.add(connection, new)
        if added:
            detail = {"type": new.type, "borrower": new.borrower_id, "account": new.account_id}
            operate.audit(
                connection,
                actor=request.by,
                action="hold.add",
                subject=f"hold:{hold_id}",
                reason=reason,
                detail=detail,
            )
    log.info("hold.added", hold=hold_id, type=new.type, new=added)
    return hold_id, added


def lift(engine: Engine, hold_id: int, *, by: str, reason: str) -> None:
    """Ends a hold now, or one that has not begun.

    Raises:
        Refused: there is no such hold, it is over or lifted already, or there is no reason.
    """
    reason = _words(by, reason)
    with engine.begin() as connection:
        if not store.lift(connection, hold_id, by=by, reason=reason):
            raise Refused(_why_not(hold_id, store.get(connection, hold_id)))
        operate.audit(connection, actor=by, action="hold.lift", subject=f"hold:{hold_id}", reason=reason)
    log.info("hold.lifted", hold=hold_id)


def listed(
    engine: Engine, of: Subject | None, *, type_: HoldType | None, every: bool, limit: int
) -> list[Hold]:
    """Newest first: those that are active or coming, or `every` one."""
    with engine.connect() as connection:
        return store.listed(
            connection,
            borrower_id=of.borrower_id if of else None,
            account_id=of.account_id if of else None,
            type_=type_.value if type_ else None,
            every=every,
            limit=limit,
        )


def judge_promises(engine: Engine) -> dict[str, int]:
    """Notes what is due where a promise begins, and marks those that are over as kept or broken."""
    with engine.begin() as connection:
        promises.begin(connection)
        judged = promises.judge(connection, by="dunlin")
    for row in judged:
        log.info("promise.judged", hold=row["id"], outcome=row["outcome"])
    counts = Counter(row["outcome"] for row in judged)
    return {f"promises_{outcome}": counts[outcome] for outcome in PromiseOutcome}


def _words(by: str, reason: str) -> str:
    if not by.strip() or not reason.strip():
        raise Refused("a name and a reason are needed: somebody will ask")
    try:
        return remark(reason.strip())
    except BadCell as error:
        raise Refused(f"the reason is {error}") from None


def _check_promise(request: HoldRequest) -> None:
    promise = request.type is HoldType.PROMISE_TO_PAY
    if promise and request.last_on is None:
        raise Refused("a promise to pay needs the last day on which it can be kept")
    if not promise and request.amount is not None:
        raise Refused(
            f"an amount belongs to a {HoldType.PROMISE_TO_PAY}, not to a hold of type {request.type}"
        )


def _check_currency(connection: Connection, of: Subject) -> None:
    found = store.currencies(connection, of.borrower_id)
    if len(found) > 1:
        raise Refused(f"the borrower's accounts are in {', '.join(found)}: promise the amount on one account")


def _check_span(request: HoldRequest, span: Span) -> None:
    if span.ends_at is None or request.last_on is None:
        return
    if span.ends_at <= span.now:
        raise Refused(f"the last day, {request.last_on}, has passed{f' in {span.zone}' if span.zone else ''}")
    if request.first_on is not None and request.last_on < request.first_on:
        raise Refused(f"the last day, {request.last_on}, is before the first, {request.first_on}")


def _why_not(hold_id: int, hold: Hold | None) -> str:
    if hold is None:
        return f"no such hold: {hold_id}"
    if hold.lifted_at is not None:
        return f"hold {hold_id} was lifted already, by {hold.lifted_by}"
    return f"hold {hold_id} is over: there is nothing to lift"
