"""The circuit breakers of senders, where all workers see them. A sender without a row has had no trouble."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from worker.domain.breaker import Breaker, heard


@dataclass(frozen=True, slots=True)
class Troubled:
    """A sender that is not closed, as `dunlin status` shows it."""

    portfolio_id: str
    channel: str
    provider: str
    state: str
    reason: str
    changed_at: datetime
    retry_at: datetime | None
    """None: a person has to put something right, and resume."""


def try_again(connection: Connection, portfolio: str, channel: str, provider: str, for_s: float) -> bool:
    """Takes the right to try an open sender whose time has come, for one worker and `for_s` seconds."""
    sql = text("""
        UPDATE senders SET state = 'half_open', changed_at = clock_timestamp(),
               retry_at = clock_timestamp() + make_interval(secs => :for_s)
        WHERE portfolio_id = :portfolio AND channel = :channel AND provider = :provider
          AND state IN ('open', 'half_open') AND retry_at <= clock_timestamp()
    """)
    values = {"portfolio": portfolio, "channel": channel, "provider": provider, "for_s": for_s}
    return connection.execute(sql, values).rowcount == 1


def not_tried(connection: Connection, portfolio: str, channel: str, provider: str) -> None:
    """Gives the right back: there was nothing to try it with."""
    sql = text("""
        UPDATE senders SET state = 'open', retry_at = clock_timestamp()
        WHERE portfolio_id = :portfolio AND channel = :channel AND provider = :provider
          AND state = 'half_open'
    """)
    connection.execute(sql, {"portfolio": portfolio, "channel": channel, "provider": provider})


def hear(
    connection: Connection, portfolio: str, channel: str, provider: str, answers: str, reason: str
) -> tuple[Breaker, Breaker]:
    """Adds answers, in the caller's transaction. Returns the breaker before and after."""
    values = {"portfolio": portfolio, "channel": channel, "provider": provider}
    connection.execute(
        text("""
            INSERT INTO senders (portfolio_id, channel, provider) VALUES (:portfolio, :channel, :provider)
            ON CONFLICT DO NOTHING
        """),
        values,
    )
    row = connection.execute(
        text("""
            SELECT state, recent, trips FROM senders
            WHERE portfolio_id = :portfolio AND channel = :channel AND provider = :provider FOR UPDATE
        """),
        values,
    ).one()
    before = Breaker(row.state, row.recent, row.trips)
    after = heard(before, answers)
    connection.execute(
        text("""
            UPDATE senders SET recent = :recent, trips = :trips, state = :state,
                reason = CASE WHEN :moved THEN :reason ELSE reason END,
                changed_at = CASE WHEN :moved THEN clock_timestamp() ELSE changed_at END,
                retry_at = CASE WHEN NOT :moved THEN retry_at
                                WHEN :state = 'open'
                                THEN clock_timestamp() + make_interval(secs => :wait_s) END
            WHERE portfolio_id = :portfolio AND channel = :channel AND provider = :provider
        """),
        {
            **values,
            **asdict(after),
            "reason": reason if after.state == "open" else "",
            "wait_s": after.wait_s,
            "moved": after.state != before.state,
        },
    )
    return before, after


def shut(connection: Connection, portfolio: str, channel: str, provider: str, reason: str) -> bool:
    """Opens the breaker until a person resumes; False: it is so already."""
    sql = text("""
        INSERT INTO senders AS s (portfolio_id, channel, provider, state, reason)
        VALUES (:portfolio, :channel, :provider, 'open', :reason)
        ON CONFLICT (portfolio_id, channel, provider) DO UPDATE
        SET state = 'open', reason = excluded.reason, retry_at = NULL, changed_at = clock_timestamp()
        WHERE s.state <> 'open' OR s.retry_at IS NOT NULL
    """)
    values = {"portfolio": portfolio, "channel": channel, "provider": provider, "reason": reason}
    return connection.execute(sql, values).rowcount == 1


def waiting_for_a_person(connection: Connection, portfolio: str, channel: str) -> set[str]:
    """Providers that nothing but a person's `resume` opens again."""
    sql = text("""
        SELECT provider FROM senders
        WHERE portfolio_id = :portfolio AND channel = :channel AND state = 'open' AND retry_at IS NULL
    """)
    return set(connection.execute(sql, {"portfolio": portfolio, "channel": channel}).scalars())


def resume(connection: Connection, *, portfolio: str | None, channel: str | None) -> int:
    """A person has put right what these senders waited for (None: any); returns how many."""
    sql = text("""
        UPDATE senders SET state = 'closed', recent = '', trips = 0, reason = '',
               changed_at = clock_timestamp()
        WHERE state = 'open' AND retry_at IS NULL
          AND (CAST(:portfolio AS text) IS NULL OR portfolio_id = :portfolio)
          AND (CAST(:channel AS text) IS NULL OR channel = :channel)
    """)
    return connection.execute(sql, {"portfolio": portfolio, "channel": channel}).rowcount


def troubled(connection: Connection) -> Sequence[Troubled]:
    """Senders that are open or half open, longest first."""
    sql = text("""
        SELECT portfolio_id, channel, provider, state, reason, changed_at, retry_at FROM senders
        WHERE state <> 'closed' ORDER BY changed_at
    """)
    return [Troubled(*row) for row in connection.execute(sql)]
