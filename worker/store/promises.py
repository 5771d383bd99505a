"""Promises to pay against the ledger: what was due when one began, and whether it was kept."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, text

from worker.domain.holds import HoldType, PromiseOutcome


def _covers(hold: str) -> str:
    return f"a.borrower_id = {hold}.borrower_id AND ({hold}.account_id IS NULL OR a.id = {hold}.account_id)"


def _due(hold: str) -> str:
    """Of the accounts the hold covers, those with a due date before its end that is still unpaid: how many,
    and their sum. No sum where they are in several currencies.
    """
    return f"""
        SELECT count(*) AS accounts,
               CASE WHEN count(DISTINCT p.currency) <= 1 THEN coalesce(sum(a.amount_due), 0) END AS amount
        FROM accounts a JOIN portfolios p ON p.id = a.portfolio_id
        WHERE {_covers(hold)} AND a.closed_on IS NULL AND a.amount_due > 0
          AND a.due_on < CAST({hold}.ends_at AT TIME ZONE p.timezone AS date)
    """  # noqa: S608  # parts of our own


def due_before(hold: str) -> str:
    """SQL for what is due now on the promise in the row `hold`; NULL if it is none, or is not running."""
    return f"""
        CASE WHEN {hold}.type = '{HoldType.PROMISE_TO_PAY}' AND {hold}.starts_at <= dunlin_now()
              AND {hold}.ends_at > dunlin_now() THEN (SELECT d.amount FROM ({_due(hold)}) d) END
    """  # noqa: S608  # parts of our own


_PENDING = f"h.type = '{HoldType.PROMISE_TO_PAY}' AND h.lifted_at IS NULL AND h.judged_at IS NULL"

_BEGIN = text(f"""
    UPDATE holds h SET amount_due_before = {due_before("h")}
    FROM (SELECT h.id FROM holds h
          WHERE {_PENDING} AND h.amount_due_before IS NULL AND h.starts_at <= dunlin_now()
            AND h.ends_at > dunlin_now()
          ORDER BY h.id FOR UPDATE SKIP LOCKED) b
    WHERE h.id = b.id
""")  # noqa: S608  # parts of our own

# A payment of the last day is in a book that is newer than that day. Until each portfolio that the promise
# covers has such a book, nothing is known.
_JUDGE = text(f"""
WITH over AS MATERIALIZED (
    SELECT h.id, h.borrower_id, h.account_id, h.promised_amount, h.amount_due_before, d.accounts, d.amount
    FROM holds h CROSS JOIN LATERAL ({_due("h")}) d
    WHERE {_PENDING} AND h.ends_at <= dunlin_now() AND EXISTS (SELECT FROM accounts a WHERE {_covers("h")})
      AND NOT EXISTS (
          SELECT FROM accounts a JOIN portfolios p ON p.id = a.portfolio_id
          WHERE {_covers("h")} AND a.closed_on IS NULL AND (p.book_at IS NULL OR p.book_at < h.ends_at))
    ORDER BY h.id FOR UPDATE OF h SKIP LOCKED
), known AS (
    -- Where an amount was promised, and what was due before is not known, nothing can be said.
    SELECT o.*, CASE
            WHEN accounts = 0 THEN '{PromiseOutcome.KEPT}'
            WHEN promised_amount IS NULL THEN '{PromiseOutcome.BROKEN}'
            WHEN amount_due_before - amount >= promised_amount THEN '{PromiseOutcome.KEPT}'
            WHEN amount_due_before - amount < promised_amount THEN '{PromiseOutcome.BROKEN}'
        END AS outcome FROM over o
), judged AS (
    UPDATE holds h SET outcome = k.outcome, judged_at = dunlin_now() FROM known k
    WHERE h.id = k.id AND k.outcome IS NOT NULL
    RETURNING h.id, k.borrower_id, k.account_id, h.outcome, k.promised_amount, k.amount_due_before, k.amount,
              k.accounts
), audited AS (
    INSERT INTO audit (actor, action, subject, detail)
    SELECT :by, 'promise.' || outcome, 'hold:' || id, jsonb_build_object(
        'borrower', borrower_id, 'account', account_id, 'accounts_overdue', accounts,
        'promised_amount', CAST(promised_amount AS text),
        'amount_due_before', CAST(amount_due_before AS text), 'amount_due', CAST(amount AS text))
    FROM judged ORDER BY id
)
SELECT id, outcome FROM judged ORDER BY id
""")  # noqa: S608  # parts of our own


def begin(connection: Connection) -> int:
    """Notes what is due where a promise that was entered ahead has begun; returns for how many."""
    return connection.execute(_BEGIN).rowcount


def judge(connection: Connection, by: str) -> Sequence[RowMapping]:
    """Marks as kept or broken what is over and can be known, each with its row in the audit.

    Returns id and outcome of each. A promise that somebody lifted is not judged.
    """
    return connection.execute(_JUDGE, {"by": by}).mappings().all()
