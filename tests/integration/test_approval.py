"""A person's yes or no: who may give it, what it reaches, and that everything is looked at again after it."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from worker.pipeline.byhand import Refused, answer
from worker.pipeline.rerun import rerun
from worker.portfolios.load import Version
from worker.store import settle
from worker.store.rerun import RerunRequest

TODAY = date(2026, 11, 23)
Senders = Callable[..., Any]


@pytest.fixture
def waiting(story: Any, book: Any, version: Version) -> UUID:
    """A run in which legal warnings to two borrowers wait, by SMS and mail."""
    book.at("2026-11-23T10:00Z")
    for name in ("B1", "B2"):
        borrower = book.borrower(name)
        account = book.account(borrower, f"A-{name}", due_on=TODAY - timedelta(days=90))
        book.contact(borrower, account, "stern", "2026-11-01T10:00Z")
    run: UUID = story.plan(version)
    assert story.admit() == {"awaiting_approval": 4}
    return run


def say(book: Any, subject: UUID, *, yes: bool = True, by: str = "anna") -> int:
    return answer(book.engine, subject, approve=yes, by=by, reason="looked at")


def states(book: Any) -> set[tuple[str, str | None]]:
    return {(row["state"], row["reason"]) for row in book.messages()}


def test_nothing_of_the_tier_goes_before_somebody_says_yes(
    story: Any, book: Any, sender: Any, waiting: UUID
) -> None:
    assert states(book) == {("awaiting_approval", "requires_approval")}
    assert sender.claim() == []
    assert story.admit() == {}


def test_a_yes_to_a_run_lets_all_of_it_be_decided_again_and_go(
    story: Any, book: Any, sender: Any, waiting: UUID
) -> None:
    assert say(book, waiting) == 4
    assert states(book) == {("planned", "approved")}
    assert {row["approved_by"] for row in book.messages()} == {"anna"}
    assert story.admit() == {"scheduled": 4}
    assert [row["state"] for row in sender.claim()] == ["sending", "sending"]


def test_a_yes_to_one_message_reaches_no_other(story: Any, book: Any, waiting: UUID) -> None:
    chosen = book.messages()[0]["id"]
    assert say(book, chosen) == 1
    assert [row["id"] for row in book.messages(state="planned")] == [chosen]
    assert story.admit() == {"scheduled": 1}


def test_whoever_asked_for_the_run_cannot_approve_it_nor_a_message_of_it(book: Any, waiting: UUID) -> None:
    for subject in (waiting, book.messages()[0]["id"]):
        for by in ("tests", "tests ", " tests", "Tests", "TESTS\t", "ｔｅｓｔｓ"):
            with pytest.raises(Refused, match="asked for this run"):
                say(book, subject, by=by)
    assert states(book) == {("awaiting_approval", "requires_approval")}
    assert say(book, waiting, yes=False, by="tests") == 4  # a no needs no second person


def test_a_no_ends_it_and_there_is_nothing_left_to_approve(book: Any, waiting: UUID) -> None:
    assert say(book, waiting, yes=False) == 4
    assert states(book) == {("cancelled", "declined")}
    with pytest.raises(Refused, match="nothing awaits approval"):
        say(book, waiting)


def test_a_yes_that_comes_too_late_approves_nothing(book: Any, waiting: UUID) -> None:
    book.at("2026-11-30T10:01Z")
    with pytest.raises(Refused, match="nothing awaits approval"):
        say(book, waiting)
    with book.engine.begin() as connection:
        assert settle.expire(connection) == 4
    assert states(book) == {("expired", "expired.awaiting_approval")}


def test_saying_it_twice_is_saying_it_once(book: Any, waiting: UUID) -> None:
    say(book, waiting)
    with pytest.raises(Refused, match="nothing awaits approval"):
        say(book, waiting, by="bert")
    assert {row["approved_by"] for row in book.messages()} == {"anna"}


def test_an_id_that_is_neither_a_run_nor_a_message_is_refused(book: Any, waiting: UUID) -> None:
    with pytest.raises(Refused, match="no such run or message"):
        say(book, uuid4())


def test_what_happened_while_it_waited_counts_after_the_yes(
    story: Any, book: Any, waiting: UUID, sender: Any
) -> None:
    first, second = (row["id"] for row in book.rows("SELECT id FROM borrowers ORDER BY id"))
    book.hold(first, "hardship")
    book.run("UPDATE accounts SET amount_due = 0 WHERE borrower_id = :b", b=second)
    say(book, waiting)
    story.admit()
    sender.claim()
    sender.claim("email")
    found = {(row["borrower_id"], row["state"], row["reason"]) for row in book.messages()}
    assert found == {
        (first, "suppressed", "house.hold.hardship"),
        (second, "cancelled", "paid"),
    }


def test_a_yes_at_night_lets_it_go_in_the_morning(story: Any, book: Any, waiting: UUID) -> None:
    book.at("2026-11-23T22:00Z")
    say(book, waiting)
    story.admit()
    assert {row["send_at"].isoformat() for row in book.messages()} == {"2026-11-24T09:00:00+00:00"}


def test_an_approved_message_that_is_decided_again_needs_no_second_yes(
    story: Any, book: Any, waiting: UUID, sender: Any, another_sender: Senders
) -> None:
    say(book, waiting)
    story.admit()
    rows = sender.claim()
    sender.begin(rows)
    sender.finish(rows, "scheduled", outcome="transient", reason="retry")
    second = another_sender()
    assert {row["state"] for row in second.claim()} == {"planned"}
    assert story.admit() == {"scheduled": 2}


def test_an_answer_leaves_its_trace_with_who_and_why(book: Any, waiting: UUID) -> None:
    say(book, waiting)
    (entry,) = book.rows("SELECT * FROM audit WHERE action = 'approve'")
    assert (entry["actor"], entry["subject"], entry["reason"], entry["detail"]) == (
        "anna",
        str(waiting),
        "looked at",
        {"messages": 4},
    )


def test_the_next_days_run_does_not_stand_in_for_what_still_waits(
    story: Any, book: Any, waiting: UUID, version: Version
) -> None:
    book.at("2026-11-24T10:00Z")
    story.plan(version, date(2026, 11, 24))
    assert [row["channel"] for row in book.messages(business_on=date(2026, 11, 24))] == []
    assert say(book, waiting) == 4


def test_a_yes_given_in_the_evening_is_not_undone_by_the_next_mornings_run(
    story: Any, book: Any, waiting: UUID, version: Version, sender: Any
) -> None:
    book.at("2026-11-23T22:00Z")
    say(book, waiting)
    story.admit()  # for nine o'clock
    book.at("2026-11-24T09:00Z")
    story.plan(version, date(2026, 11, 24))
    story.admit()
    assert [row["state"] for row in sender.claim()] == ["sending", "sending"]


def test_a_rerun_of_what_was_approved_needs_a_yes_from_somebody_else_again(
    story: Any, book: Any, waiting: UUID, version: Version
) -> None:
    say(book, waiting)
    story.admit()
    book.run("UPDATE messages SET state = 'failed', reason = 'r'")
    request = RerunRequest(run_id=waiting, request_key="k", requested_by="bert")
    made = rerun(book.engine, {"uk": version}, request)
    assert story.admit() == {"awaiting_approval": 4}
    with pytest.raises(Refused, match="bert asked for this run"):
        say(book, made.id, by="bert")
    assert say(book, made.id) == 4
