"""Holds entered by hand: added, listed, lifted. Imports write the same table."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from worker.store.promises import due_before
from worker.store.zones import BEGINS_IN, ENDS_IN, ZONE


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHold:
    """What a person wants held, in the form in which it is stored."""

    borrower_id: int
    account_id: int | None
    """None: the whole borrower, in every portfolio."""
    type: str
    starts_at: datetime
    ends_at: datetime | None
    promised_amount: Decimal | None
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold, as a list shows it."""

    id: int
    external_id: str | None
    """The lender's own id; None: it was added by hand."""
    type: str
    borrower: str
    account: str | None
    """As portfolio/account; None: the whole borrower."""
    starts_at: datetime
    ends_at: datetime | None
    state: str
    """coming, active, over, or lifted."""
    reason: str
    created_by: str
    created_at: datetime
    lifted_at: datetime | None
    lifted_by: str | None
    lift_reason: str | None
    promised_amount: Decimal | None
    amount_due_before: Decimal | None
    outcome: str | None
    """Of a promise to pay that is over: kept or broken; None: not judged yet."""
    judged_at: datetime | None


@dataclass(frozen=True, slots=True)
class Span:
    """The moments that a person's dates mean."""

    now: datetime
    starts_at: datetime
    ends_at: datetime | None
    zone: str | None
    """None: not known, so it ends where days end last."""


def borrower_named(connection: Connection, external_id: str) -> int | None:
    """None: there is no such borrower."""
    sql = text("SELECT id FROM borrowers WHERE external_id = :id")
    found: int | None = connection.execute(sql, {"id": external_id}).scalar_one_or_none()
    return found


def currencies(connection: Connection, borrower_id: int) -> list[str]:
    """Those of the borrower's open accounts."""
    sql = text("""
        SELECT DISTINCT p.currency FROM accounts a JOIN portfolios p ON p.id = a.portfolio_id
        WHERE a.borrower_id = :id AND a.closed_on IS NULL ORDER BY 1
    """)
    return list(connection.execute(sql, {"id": borrower_id}).scalars())


def span(
    connection: Connection, borrower_id: int, portfolio: str | None, first: date | None, last: date | None
) -> Span:
    """From the start of `first` (None: now) to the end of `last`, in the zone of the portfolio, or else of
    the borrower, or else wherever that is longest.
    """
    sql = text(f"""
        SELECT n.now, coalesce(CAST(CAST(:first AS date) AS timestamp) AT TIME ZONE {BEGINS_IN}, n.now),
               CAST(CAST(:last AS date) + 1 AS timestamp) AT TIME ZONE {ENDS_IN}, {ZONE}
        FROM (SELECT dunlin_now() AS now) n CROSS JOIN borrowers b LEFT JOIN portfolios p ON p.id = :portfolio
        WHERE b.id = :borrower_id
    """)  # noqa: S608  # parts of our own
    values = {"first": first, "last": last, "portfolio": portfolio, "borrower_id": borrower_id}
    return Span(*connection.execute(sql, values).one())


def one_at_a_time(connection: Connection, borrower_id: int) -> None:
    """Two people who add the same hold at once come one after the other, and so do the times at which theirs
    begin: before this, nobody may ask what time it is.
    """
    sql = text("SELECT FROM borrowers WHERE id = :id FOR NO KEY UPDATE")
    connection.execute(sql, {"id": borrower_id})


def add(connection: Connection, hold: NewHold) -> tuple[int, bool]:
    """The hold's id, and whether it is new: the same hold added twice is one. What was admitted of the
    borrower before is decided again.
    """
    values = {name: getattr(hold, name) for name in NewHold.__slots__}
    same = text("""
        SELECT id FROM holds
        WHERE borrower_id = :borrower_id AND lifted_at IS NULL AND type = :type AND starts_at <= :starts_at
          AND account_id IS NOT DISTINCT FROM CAST(:account_id AS bigint)
          AND ends_at IS NOT DISTINCT FROM CAST(:ends_at AS timestamptz)
          AND promised_amount IS NOT DISTINCT FROM CAST(:promised_amount AS numeric)
        ORDER BY id LIMIT 1
    """)
    known: int | None = connection.execute(same, values).scalar_one_or_none()
    if known is not None:
        return known, False
    sql = text(f"""
        INSERT INTO holds (borrower_id, account_id, type, starts_at, ends_at, reason, created_by,
                           promised_amount, amount_due_before)
        SELECT h.*, {due_before("h")}
        FROM (SELECT CAST(:borrower_id AS bigint) AS borrower_id, CAST(:account_id AS bigint) AS account_id,
                     CAST(:type AS text) AS type, CAST(:starts_at AS timestamptz) AS starts_at,
                     CAST(:ends_at AS timestamptz) AS ends_at, CAST(:reason AS text) AS reason,
                     CAST(:by AS text) AS created_by, CAST(:promised_amount AS numeric) AS promised_amount) h
        RETURNING id
    """)  # noqa: S608  # parts of our own
    made: int = connection.execute(sql, values).scalar_one()
    _touch(connection, hold.borrower_id)
    return made, True


def get(connection: Connection, hold_id: int) -> Hold | None:
    """None: there is no such hold."""
    found = connection.execute(text(f"{_LISTED} WHERE h.id = :id"), {"id": hold_id}).one_or_none()
    return None if found is None else Hold(*found)


def listed(
    connection: Connection,
    *,
    borrower_id: int | None,
    account_id: int | None,
    type_: str | None,
    every: bool,
    limit: int,
) -> list[Hold]:
    """Newest first. With an account, also those on its whole borrower; `every`: also those that are over or
    lifted.
    """
    sql = text(f"""
        {_LISTED}
        WHERE h.borrower_id = coalesce(:borrower_id, h.borrower_id) AND h.type = coalesce(:type, h.type)
          AND (CAST(:account_id AS bigint) IS NULL OR h.account_id IS NULL OR h.account_id = :account_id)
          AND (:every OR (h.lifted_at IS NULL AND (h.ends_at IS NULL OR h.ends_at > dunlin_now())))
        ORDER BY h.id DESC LIMIT :limit
    """)
    values: dict[str, Any] = {"borrower_id": borrower_id, "account_id": account_id, "type": type_}
    return [Hold(*row) for row in connection.execute(sql, {**values, "every": every, "limit": limit})]


def lift(connection: Connection, hold_id: int, *, by: str, reason: str) -> bool:
    """Ends a hold that is active or coming; False: there is none with this id."""
    sql = text("""
        UPDATE holds SET lifted_at = dunlin_now(), lifted_by = :by, lift_reason = :reason
        WHERE id = :id AND lifted_at IS NULL AND (ends_at IS NULL OR ends_at > dunlin_now())
        RETURNING borrower_id
    """)
    values = {"id": hold_id, "by": by, "reason": reason}
    borrower: int | None = connection.execute(sql, values).scalar_one_or_none()
    if borrower is None:
        return False
    _touch(connection, borrower)
    return True


def _touch(connection: Connection, borrower_id: int) -> None:
    sql = text("UPDATE borrowers SET facts_changed_at = clock_timestamp() WHERE id = :id")
    connection.execute(sql, {"id": borrower_id})


_LISTED = """
    SELECT h.id, h.external_id, h.type, b.external_id, a.portfolio_id || '/' || a.external_id, h.starts_at,
           h.ends_at, CASE WHEN h.lifted_at IS NOT NULL THEN 'lifted'
                           WHEN h.ends_at <= dunlin_now() THEN 'over'
                           WHEN h.starts_at > dunlin_now() THEN 'coming' ELSE 'active' END,
           h.reason, h.created_by, h.created_at, h.lifted_at, h.lifted_by, h.lift_reason, h.promised_amount,
           h.amount_due_before, h.outcome, h.judged_at
    FROM holds h JOIN borrowers b ON b.id = h.borrower_id LEFT JOIN accounts a ON a.id = h.account_id
"""
"""In the order of the fields of `Hold`."""
