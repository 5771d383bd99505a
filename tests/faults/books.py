"""What must hold after every fault, whatever it was."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from worker.channels.base import Misconfigured, Throttled, TooLate
from worker.channels.twilio_codes import REFUSALS
from worker.sandbox.client import SandboxClient
from worker.store.settle import books as sums_of

STATEMENT = timedelta(seconds=2)
"""Longer than a claim takes: facts that were committed earlier than this before it were in its snapshot."""
OF_THE_PROVIDER = ["429"] + [
    str(code) for code, (kind, _) in REFUSALS.items() if issubclass(kind, Throttled | Misconfigured | TooLate)
]
"""Codes that say something of the provider, the account or the hour, and nothing of a message."""


class BooksWrong(AssertionError):
    """What was promised does not hold; the text says what and of which messages."""


def books(engine: Engine, provider: SandboxClient, facts: Iterable[tuple[int, datetime]] = ()) -> None:
    """The list of what must hold once nothing is open.

    `facts`: borrowers that may not be contacted from an instant on (paid, on hold, opted out).

    Raises:
        BooksWrong: the first thing that does not hold.
    """
    journal, received = provider.messages(channel="sms"), provider.counts()["messages"]
    with engine.connect() as connection:
        _once(received)
        _explained(connection)
        _for_reasons_of_their_own(connection)
        _sums(connection)
        _told_once(connection)
        _as_stored(connection, journal)
        _not_after(connection, facts)
        _inside_their_window(connection)
        _both_ways(connection, set(received))


def _once(received: dict[str, int]) -> None:
    _none("received more than once", [name for name, times in received.items() if times > 1])


def _explained(connection: Connection) -> None:
    _nothing(
        connection, "in sending after its lease", "state = 'sending' AND lease_until < clock_timestamp()"
    )
    _nothing(
        connection,
        "ended without a reason",
        "state IN ('failed', 'suppressed', 'cancelled', 'expired', 'unconfirmed') "
        "AND coalesce(reason, '') = ''",
    )
    _nothing(
        connection,
        "whose last event is another state",
        "state <> coalesce((SELECT e.to_state FROM message_events e WHERE e.message_id = m.id "
        "AND e.kind = 'state' ORDER BY e.seq DESC LIMIT 1), 'planned')",
    )


def _for_reasons_of_their_own(connection: Connection) -> None:
    sql = text("""
        SELECT m.id FROM messages m JOIN attempts a ON a.business_on = m.business_on AND a.id = m.attempt_id
        WHERE m.state = 'failed' AND a.code = ANY(CAST(:codes AS text[]))
    """)
    failed = connection.execute(sql, {"codes": OF_THE_PROVIDER}).scalars()
    _none("failed for what was no fault of theirs", failed)


def _told_once(connection: Connection) -> None:
    """However many runs there were, and whatever their dates: of one tier nobody hears twice in a day."""
    twice = text("""
        WITH live AS (
            SELECT m.*, coalesce(m.sent_at, m.send_at, m.planned_at) AS told_at FROM messages m
            WHERE state NOT IN ('failed', 'suppressed', 'cancelled', 'expired') AND occurrence = 0
        )
        SELECT b.id FROM live a JOIN live b ON b.portfolio_id = a.portfolio_id AND b.mode = a.mode
            AND b.borrower_id = a.borrower_id AND b.channel = a.channel AND b.tier = a.tier AND b.id > a.id
        WHERE b.told_at - a.told_at BETWEEN interval '-1 day' AND interval '1 day'
    """)
    _none("of a tier that the borrower hears of twice in a day", connection.execute(twice).scalars().all())


def _sums(connection: Connection) -> None:
    runs = text("SELECT id FROM runs WHERE state IN ('open', 'closed')")
    for run in connection.execute(runs).scalars().all():
        sums = sums_of(connection, run)
        if not sums.agree:
            raise BooksWrong(f"the sums of run {run} do not agree: {sums}")
    twice = text("""
        SELECT m.borrower_id FROM messages m
        WHERE state NOT IN ('failed', 'suppressed', 'cancelled', 'expired')
        GROUP BY m.business_on, m.portfolio_id, m.borrower_id, m.channel, m.purpose, m.mode, m.occurrence
        HAVING count(*) > 1
    """)
    _none("with two live messages for one occasion", connection.execute(twice).scalars().all())


def _as_stored(connection: Connection, journal: list[dict[str, Any]]) -> None:
    sql = text("SELECT CAST(attempt_id AS text), text, sha256, address FROM message_contents")
    stored = {row[0]: row for row in connection.execute(sql)}
    wrong = []
    for record in journal:
        kept = stored.get(record["attempt_id"])
        digest = hashlib.sha256(record["text"].encode()).hexdigest()
        if kept is None or (kept[1], kept[2], kept[3]) != (record["text"], digest, record["to"]):
            wrong.append(record["message_id"])
    _none("stored otherwise than sent", wrong)


def paced(provider: SandboxClient, per_second: int) -> None:
    """No second has seen more than a sender may send in one.

    Raises:
        BooksWrong: one has.
    """
    at = sorted(datetime.fromisoformat(record["received_at"]) for record in provider.messages(channel="sms"))
    most = max((sum(begin <= each < begin + timedelta(seconds=1) for each in at) for begin in at), default=0)
    if most > per_second:
        raise BooksWrong(f"{most} messages within a second, where {per_second} are allowed")


def _not_after(connection: Connection, facts: Iterable[tuple[int, datetime]]) -> None:
    sql = text("""
        SELECT m.id FROM attempts a JOIN messages m ON m.business_on = a.business_on AND m.id = a.message_id
        WHERE m.borrower_id = :borrower AND a.claimed_at > :since AND a.started_at IS NOT NULL
          AND m.channel = 'sms'
    """)
    for borrower, since in facts:
        values = {"borrower": borrower, "since": since + STATEMENT}
        _none("sent after the borrower had paid or objected", connection.execute(sql, values).scalars().all())


def _inside_their_window(connection: Connection) -> None:
    outside = """
        SELECT m.id FROM attempts a JOIN messages m ON m.business_on = a.business_on AND m.id = a.message_id
        JOIN borrowers b ON b.id = m.borrower_id, clock_offset o
        WHERE a.started_at IS NOT NULL AND EXTRACT(HOUR FROM (a.started_at + o.offset_by) AT TIME ZONE b.zone)
              NOT BETWEEN 9 AND 19
    """
    _none("sent outside their window", connection.execute(text(outside)).scalars().all())


def _both_ways(connection: Connection, received: set[str]) -> None:
    sql = text("SELECT CAST(id AS text), channel, state FROM messages")
    ours = {row[0]: (row[1], row[2]) for row in connection.execute(sql)}
    _none("at the provider and unknown to us", received - ours.keys())
    gone = ("sent", "delivered", "undelivered")
    _none(
        "at the provider and not sent with us",
        [name for name in received if ours[name][1] not in (*gone, "unconfirmed")],
    )
    _none(
        "sent with us and not at the provider",
        [name for name, (channel, state) in ours.items()
         if channel != "in_app" and state in gone and name not in received],
    )  # fmt: skip


def _nothing(connection: Connection, what: str, condition: str) -> None:
    _none(what, connection.execute(text(f"SELECT id FROM messages m WHERE {condition}")).scalars().all())


def _none(what: str, found: Iterable[Any]) -> None:
    names = sorted(str(name) for name in found)
    if names:
        raise BooksWrong(f"{len(names)} messages {what}: {', '.join(names[:5])}")
