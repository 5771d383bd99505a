"""When a run is over, and whether its sums agree."""

from collections import Counter
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from worker.domain.states import State
from worker.pipeline.settle import settle_due
from worker.portfolios.load import Version
from worker.store import settle

TODAY = date(2026, 11, 23)


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def awaiting(story: Any, book: Any, version: Version) -> UUID:
    """A legal warning by SMS and mail that waits for a person."""
    borrower = book.borrower()
    account = book.account(borrower, due_on=TODAY - timedelta(days=90))
    book.contact(borrower, account, "stern", "2026-11-01T10:00Z")
    run_id: UUID = story.plan(version)
    assert story.admit() == {"awaiting_approval": 2}
    return run_id


def test_a_run_closes_only_when_nothing_will_happen_to_any_of_its_messages(
    story: Any, book: Any, version: Version, runtime: Any, sender: Any
) -> None:
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    run_id = story.plan(version)
    book.run("UPDATE messages SET state = 'cancelled', reason = 'x' WHERE channel = 'in_app'")

    def closed() -> bool:
        with book.engine.begin() as connection:
            return run_id in settle.close_runs(connection)

    assert not closed()  # planned
    story.admit()
    assert not closed()  # scheduled
    rows = sender.claim()
    assert not closed()  # sending
    sender.begin(rows)
    sender.finish(rows, "unconfirmed")
    assert not closed()
    with book.engine.begin() as connection:
        settle.resolve(connection, rows[0], state="sent", reason=None, provider_id="SM1")
    assert closed()
    assert not closed()
    assert book.one("SELECT state = 'closed' AND closed_at IS NOT NULL FROM runs")


def test_a_run_stays_open_while_a_person_is_asked_and_while_it_is_planned(awaiting: UUID, book: Any) -> None:
    with book.engine.begin() as connection:
        assert settle.close_runs(connection) == []
    book.run("UPDATE messages SET state = 'cancelled', reason = 'declined'")
    book.run("UPDATE runs SET state = 'planning'")
    with book.engine.begin() as connection:
        assert settle.close_runs(connection) == []
    book.run("UPDATE runs SET state = 'open'")
    with book.engine.begin() as connection:
        assert settle.close_runs(connection) == [awaiting]


def test_a_run_in_which_nobody_is_overdue_closes_with_books_that_agree(
    story: Any, book: Any, version: Version, runtime: Any
) -> None:
    run_id = story.plan(version)
    assert settle_due(runtime).runs_closed == 1
    with book.engine.connect() as connection:
        assert settle.books(connection, run_id) == sums((0, 0, 0, 0))


def sums(accounts: tuple[int, int, int, int], messages: int = 0, **ends: int) -> settle.Books:
    """Overdue, covered, excluded, both ways; and messages by what became of them."""
    states = dict.fromkeys(("sent", "failed", "suppressed", "cancelled", "expired", "open"), 0) | ends
    return settle.Books(*accounts, messages, **states)


FIRST = "(SELECT min(id) FROM accounts)"
DAMAGE = {
    "SELECT 1": sums((3, 2, 1, 0), 4, open=4),
    "DELETE FROM run_exclusions": sums((3, 2, 0, 0), 4, open=4),
    f"DELETE FROM message_accounts WHERE account_id = {FIRST}": sums((3, 1, 1, 0), 4, open=4),
    f"INSERT INTO run_exclusions SELECT id, {FIRST}, 'x' FROM runs": sums((3, 2, 2, 1), 4, open=4),
    # The sum alone would not show it: one in neither and one in both.
    f"UPDATE run_exclusions SET account_id = {FIRST}": sums((3, 2, 1, 1), 4, open=4),
    # Each account has another message, so only the messages show it.
    "DELETE FROM messages WHERE channel = 'sms'": sums((3, 2, 1, 0), 4, open=2),
}


def test_the_books_find_an_account_that_is_in_neither_or_in_both_and_a_message_that_is_gone(
    story: Any, book: Any, version: Version
) -> None:
    for n in range(3):
        borrower = book.borrower(f"B{n}")
        book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=3))
    book.hold(borrower)
    run_id = story.plan(version)
    found = {}
    for damage in DAMAGE:
        with book.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(text(damage))
            found[damage] = settle.books(connection, run_id)
            transaction.rollback()
    assert found == DAMAGE
    assert [damage for damage, sums in found.items() if sums.agree] == ["SELECT 1"]


ENDS = {
    "sent": "sent",
    "delivered": "sent",
    "undelivered": "sent",
    "failed": "failed",
    "suppressed": "suppressed",
    "cancelled": "cancelled",
    "expired": "expired",
    "planned": "open",
    "awaiting_approval": "open",
    "scheduled": "open",
    "sending": "open",
    "unconfirmed": "open",
}


def test_every_state_of_a_message_is_in_one_of_the_sums(story: Any, book: Any, version: Version) -> None:
    assert ENDS.keys() == {state.value for state in State}
    for n in range(6):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=TODAY - timedelta(days=3))
    run_id = story.plan(version)
    with book.engine.begin() as connection:
        # Past the table of moves: how they got there is not the question.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for message, state in zip(book.messages(), ENDS, strict=True):
            leased = "now(), lease_token = id, attempt_id = id" if state == "sending" else "NULL"
            connection.execute(
                text(
                    "UPDATE messages SET state = :state, reason = 'r', sent_at = now(), send_at = now(), "
                    f"send_before = now(), lease_until = {leased} WHERE id = :id"
                ),
                {"state": state, "id": message["id"]},
            )
    with book.engine.connect() as connection:
        found = settle.books(connection, run_id)
    assert found == sums((6, 6, 0, 0), 12, **Counter(ENDS.values()))
    assert found.agree


def test_what_was_planned_anew_is_in_the_sums_and_the_log_has_them_when_the_run_closes(
    story: Any, book: Any, version: Version, runtime: Any, sender: Any
) -> None:
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    story.plan(version)
    story.admit()
    book.run("UPDATE accounts SET due_on = :on", on=TODAY - timedelta(days=3))
    sender.claim("in_app")
    story.finish_planning()
    book.run("UPDATE messages SET state = 'cancelled', reason = 'x' WHERE state IN ('planned', 'scheduled')")
    with capture_logs() as said:
        assert settle_due(runtime).runs_closed == 1
    (closed,) = (entry for entry in said if entry["event"] == "run.closed")
    assert closed["log_level"] == "info"
    # Three stern ones and, in the popup's place, what the milder tier has on its channels that were free.
    assert (closed["messages"], closed["cancelled"], closed["open"]) == (4, 4, 0)
