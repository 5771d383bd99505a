"""Everything that is known about one account, row by row, for a copy that leaves the house.

Rows are read whole, so that a column added later is in the copy without anybody remembering it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from worker.store.explain import AccountRow

Row = dict[str, Any]

_TOLD = "WITH told AS (SELECT business_on, message_id FROM message_accounts WHERE account_id = :account)"
_PARTS: Mapping[str, str] = {
    "account": "SELECT * FROM accounts WHERE id = :account",
    "borrower": "SELECT * FROM borrowers WHERE id = :borrower",
    "portfolio": "SELECT * FROM portfolios WHERE id = :portfolio",
    "runs": """, seen AS (
            SELECT run_id, reason FROM run_exclusions WHERE account_id = :account
            UNION ALL
            SELECT DISTINCT m.run_id, CAST(NULL AS text) FROM told t
            JOIN messages m ON m.business_on = t.business_on AND m.id = t.message_id
        )
        SELECT r.*, CASE WHEN s.reason IS NULL THEN 'in messages' ELSE 'left out' END AS account_was,
               s.reason AS left_out_because
        FROM seen s JOIN runs r ON r.id = s.run_id ORDER BY r.started_at, r.id
    """,
    "messages": """
        SELECT m.* FROM told t JOIN messages m ON m.business_on = t.business_on AND m.id = t.message_id
        ORDER BY m.planned_at, m.id
    """,
    "message_accounts": """
        SELECT x.*, a.portfolio_id, a.external_id
        FROM told JOIN message_accounts x USING (business_on, message_id)
        JOIN accounts a ON a.id = x.account_id
        ORDER BY x.business_on, x.message_id, x.account_id
    """,
    "events": """
        SELECT x.* FROM told JOIN message_events x USING (business_on, message_id) ORDER BY x.at, x.seq
    """,
    "verdicts": """
        SELECT x.* FROM told JOIN message_verdicts x USING (business_on, message_id)
        ORDER BY x.at, x.message_id
    """,
    "attempts": """
        SELECT x.* FROM told JOIN attempts x USING (business_on, message_id) ORDER BY x.claimed_at, x.id
    """,
    "contents": """
        SELECT m.channel, m.portfolio_id, a.n, a.claimed_at, a.provider, a.provider_id, x.*
        FROM told JOIN message_contents x USING (business_on, message_id)
        JOIN messages m ON m.business_on = x.business_on AND m.id = x.message_id
        LEFT JOIN attempts a
          ON a.business_on = x.business_on AND a.message_id = x.message_id AND a.id = x.attempt_id
        ORDER BY a.claimed_at, x.attempt_id
    """,
    "receipts": """
        SELECT x.* FROM told JOIN receipts x USING (business_on, message_id)
        ORDER BY x.received_at, x.attempt_id, x.digest
    """,
    # A cap counts a person's contacts, whatever account they were about.
    "contacts": """
        SELECT c.*, a.portfolio_id, a.external_id AS account FROM contacts c
        LEFT JOIN accounts a ON a.id = c.account_id WHERE c.borrower_id = :borrower ORDER BY c.at, c.id
    """,
    "other_messages": """, others AS (
            SELECT x.business_on, x.message_id FROM accounts a JOIN message_accounts x ON x.account_id = a.id
            WHERE a.borrower_id = :borrower EXCEPT SELECT business_on, message_id FROM told
        )
        SELECT m.business_on, m.id, m.portfolio_id, m.channel, m.tier, m.mode, m.state, m.reason, m.sent_at
        FROM others o JOIN messages m ON m.business_on = o.business_on AND m.id = o.message_id
        ORDER BY m.planned_at, m.id
    """,
    "holds": """
        SELECT * FROM holds WHERE borrower_id = :borrower AND (account_id IS NULL OR account_id = :account)
        ORDER BY starts_at, id
    """,
    "consents": "SELECT * FROM consents WHERE borrower_id = :borrower ORDER BY id",
    # A pause is written in real time, a message in Dunlin's; the id of a message holds its real time.
    "pauses": """, times AS (
            SELECT m.channel, m.state = ANY(CAST(:open AS text[])) AS is_open, m.planned_at,
                   coalesce(uuid_extract_timestamp(m.id), m.planned_at) AS begins,
                   (SELECT max(v.at) FROM message_events v WHERE v.business_on = m.business_on
                    AND v.message_id = m.id AND v.from_state = ANY(CAST(:open AS text[]))) AS closed_at
            FROM told t JOIN messages m ON m.business_on = t.business_on AND m.id = t.message_id
        ), lives AS (
            SELECT channel, begins, CASE WHEN is_open THEN 'infinity'
                ELSE begins + coalesce(closed_at - planned_at, interval '0') END AS ends FROM times
        )
        SELECT p.* FROM pauses p WHERE coalesce(p.portfolio_id, :portfolio) = :portfolio AND EXISTS (
            SELECT FROM lives l WHERE coalesce(p.channel, l.channel) = l.channel AND p.paused_at <= l.ends
              AND coalesce(least(p.resumed_at, p.until_at), 'infinity') >= l.begins)
        ORDER BY p.id
    """,
}
"""Each continues the WITH clause that names the account's messages."""


def parts(connection: Connection, account: AccountRow, open_states: Sequence[str]) -> dict[str, list[Row]]:
    """The rows by part, each in an order that does not change from one copy to the next."""
    values = {"account": account.id, "borrower": account.borrower_id, "portfolio": account.portfolio_id}
    values |= {"open": list(open_states)}
    return {name: _rows(connection, f"{_TOLD} {sql}", values) for name, sql in _PARTS.items()}


def suppressions(connection: Connection, addresses: Collection[str]) -> list[Row]:
    """What was ever suppressed of these addresses, lifted or not."""
    sql = "SELECT * FROM suppressions WHERE address = ANY(:addresses) ORDER BY id"
    return _rows(connection, sql, {"addresses": sorted(addresses)})


def inbound(connection: Connection, addresses: Collection[str]) -> list[Row]:
    """What was written to us from these addresses; a purged one is found by its hash."""
    sql = """
        SELECT * FROM inbound_messages WHERE address = ANY(:addresses)
        ORDER BY received_at, provider, provider_id
    """
    return _rows(connection, sql, {"addresses": sorted(addresses)})


def audit(connection: Connection, subjects: Collection[str], borrower_id: int) -> list[Row]:
    """What was done to these subjects, or to addresses of this borrower."""
    sql = """
        SELECT * FROM audit WHERE subject = ANY(:subjects)
           OR detail -> 'borrowers' @> to_jsonb(CAST(:borrower AS bigint)) ORDER BY id
    """
    return _rows(connection, sql, {"subjects": sorted(subjects), "borrower": borrower_id})


def versions(connection: Connection, hashes: Collection[str]) -> list[Row]:
    """The policies, packs and templates kept under these hashes."""
    sql = "SELECT * FROM versions WHERE hash = ANY(:hashes) ORDER BY kind, name, hash"
    return _rows(connection, sql, {"hashes": sorted(hashes)})


def clocks(connection: Connection) -> Row:
    """`at` is the real time, `dunlin_at` the time that decisions are made in: apart in sandbox at most."""
    return _rows(connection, "SELECT clock_timestamp() AS at, dunlin_now() AS dunlin_at", {})[0]


def _rows(connection: Connection, sql: str, values: Mapping[str, Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(text(sql), values).mappings()]
