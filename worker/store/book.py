"""Portfolios and versions as the database knows them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

_PUT_VERSION = text("""
    INSERT INTO versions (hash, kind, name, body) VALUES (:hash, :kind, :name, CAST(:body AS jsonb))
    ON CONFLICT (hash) DO NOTHING
""")
_PUT_PORTFOLIO = text("""
    INSERT INTO portfolios AS p (id, title, policy_hash, mode, currency, timezone, borrower_zone, region,
                                  max_ledger_age_h)
    VALUES (:id, :title, :policy_hash, :mode, :currency, :timezone, :borrower_zone, :region,
            :max_ledger_age_h)
    ON CONFLICT (id) DO UPDATE SET
        title = excluded.title, policy_hash = excluded.policy_hash, mode = excluded.mode,
        timezone = excluded.timezone, borrower_zone = excluded.borrower_zone, region = excluded.region,
        max_ledger_age_h = excluded.max_ledger_age_h, changed_at = clock_timestamp()
    WHERE p.policy_hash <> excluded.policy_hash
""")
_CANCEL_OTHER_MODES = text("""
    WITH pending AS (
        SELECT business_on, id FROM messages
        WHERE portfolio_id = :id AND mode <> :mode AND state IN ('planned', 'awaiting_approval', 'scheduled')
        ORDER BY business_on, id FOR UPDATE
    )
    UPDATE messages m SET state = 'cancelled', reason = 'mode_changed' FROM pending p
    WHERE m.business_on = p.business_on AND m.id = p.id
      AND m.state IN ('planned', 'awaiting_approval', 'scheduled')
""")


@dataclass(frozen=True, slots=True)
class PortfolioRow:
    """One portfolio, as plain values."""

    id: str
    title: str
    policy_hash: str
    mode: str
    currency: str
    timezone: str
    borrower_zone: str | None
    region: str
    max_ledger_age_h: int | None


class CurrencyChanged(ValueError):
    """A portfolio's currency cannot change: its amounts would mean something else."""


def put_version(
    connection: Connection, *, kind: str, name: str, digest: str, body: Mapping[str, Any]
) -> None:
    """Keeps a policy, pack or template under its hash; the same hash twice is one row."""
    connection.execute(
        _PUT_VERSION,
        {"hash": digest, "kind": kind, "name": name, "body": json.dumps(body, ensure_ascii=False)},
    )


def put_portfolios(connection: Connection, rows: Iterable[PortfolioRow], *, dry_run: bool = False) -> None:
    """Makes the database's portfolios those of the files. A change of mode cancels open messages, except in
    a dry run: it would keep them locked for its whole length. A row that agrees is not touched, nor locked.

    Raises:
        CurrencyChanged: a portfolio that exists has another currency.
    """
    known = {row.id: row for row in portfolios(connection)}
    for row in rows:
        before = known.get(row.id)
        if before is not None and before.currency != row.currency:
            raise CurrencyChanged(f"portfolio {row.id}: currency is {before.currency}, not {row.currency}")
        if before == row:
            continue
        connection.execute(_PUT_PORTFOLIO, {name: getattr(row, name) for name in PortfolioRow.__slots__})
        if before is not None and before.mode != row.mode and not dry_run:
            connection.execute(_CANCEL_OTHER_MODES, {"id": row.id, "mode": row.mode})


def portfolios(connection: Connection) -> list[PortfolioRow]:
    """All portfolios, by id."""
    names = ", ".join(PortfolioRow.__slots__)
    rows = connection.execute(text(f"SELECT {names} FROM portfolios ORDER BY id"))  # noqa: S608  # our own names
    return [PortfolioRow(*row) for row in rows]


def version_bodies(connection: Connection, hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The bodies kept under these hashes."""
    rows = connection.execute(
        text("SELECT hash, body FROM versions WHERE hash = ANY(:hashes)"), {"hashes": list(hashes)}
    )
    return {row.hash: row.body for row in rows}
