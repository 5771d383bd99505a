"""A rerun takes up what did not go out, and nothing that may have arrived unless it is forced to."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from worker.pipeline.byhand import Refused
from worker.pipeline.rerun import rerun
from worker.portfolios.load import Version
from worker.store import settle
from worker.store.rerun import Rerun, RerunRequest

TODAY = date(2026, 11, 23)
Amend = Callable[[dict[str, Any]], Version]
# How a message gets from scheduled to each state, as statements the table of moves allows.
SEND = (
    "UPDATE messages SET state = 'sending', lease_until = clock_timestamp(), attempt_id = gen_random_uuid(), "
    "lease_token = gen_random_uuid() WHERE id = :id"
)
END = "UPDATE messages SET state = '{}', reason = 'r', lease_until = NULL, sent_at = now() WHERE id = :id"
WAYS = {
    "planned": [END.format("planned")],
    "scheduled": [],
    "sending": [SEND],
    "unconfirmed": [SEND, END.format("unconfirmed")],
    "sent": [SEND, END.format("sent")],
    "delivered": [SEND, END.format("delivered")],
    "undelivered": [SEND, END.format("undelivered")],
    "failed": [END.format("failed")],
    "suppressed": [END.format("suppressed")],
    "cancelled": [END.format("cancelled")],
    "expired": [END.format("expired")],
}


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def every(story: Any, book: Any, version: Version) -> UUID:
    """A run with one borrower for each state of an SMS, named after it; their popups all failed."""
    for state in WAYS:
        book.account(book.borrower(state), state, due_on=TODAY - timedelta(days=3))
    run: UUID = story.plan(version)
    story.admit()
    for row in messages(book):
        for sql in WAYS["failed" if row["channel"] == "in_app" else row["borrower"]]:
            book.run(sql, id=row["id"])
    return run


@pytest.fixture
def failed(story: Any, book: Any, version: Version) -> UUID:
    """A run with one borrower, whose SMS and popup failed."""
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    run: UUID = story.plan(version)
    story.admit()
    book.run("UPDATE messages SET state = 'failed', reason = 'r'")
    return run


def messages(book: Any, run: UUID | None = None) -> list[Any]:
    return book.rows(  # type: ignore[no-any-return]  # the fixture has no type here
        "SELECT m.*, b.external_id AS borrower FROM messages m JOIN borrowers b ON b.id = m.borrower_id "
        "WHERE m.run_id = coalesce(:run, m.run_id) ORDER BY m.id",
        run=run,
    )


def again(book: Any, run: UUID, version: Version, **asked: Any) -> Rerun:
    dry_run = asked.pop("dry_run", False)
    values: dict[str, Any] = {"run_id": run, "request_key": str(uuid4()), "requested_by": "bert"} | asked
    made = rerun(book.engine, {"uk": version}, RerunRequest(**values), dry_run=dry_run)
    if not dry_run:
        with book.engine.connect() as connection:
            sums = settle.books(connection, made.id)
        assert sums.agree, sums
        assert (sums.overdue, sums.covered, sums.excluded) == (made.accounts, made.covered, made.excluded)
    return made


def left_out(book: Any, made: Rerun) -> dict[str, str]:
    rows = book.rows(
        "SELECT a.external_id, e.reason FROM run_exclusions e JOIN accounts a ON a.id = e.account_id "
        "WHERE e.run_id = :run",
        run=made.id,
    )
    return {row["external_id"]: row["reason"] for row in rows}


def test_it_takes_up_what_ended_unsent_and_leaves_the_rest_alone(
    story: Any, book: Any, version: Version, every: UUID
) -> None:
    before = {row["id"]: row["state"] for row in messages(book)}
    made = again(book, every, version, channel="sms")
    new = messages(book, made.id)
    assert {row["borrower"] for row in new} == {"failed", "suppressed", "expired"}
    assert {(row["state"], row["occurrence"], row["business_on"]) for row in new} == {("planned", 0, TODAY)}
    assert {row["id"]: row["state"] for row in messages(book, every)} == before
    assert story.admit()["scheduled"] >= 3


def test_it_can_be_kept_to_one_state(book: Any, version: Version, every: UUID) -> None:
    for only in ("failed", "expired", "suppressed"):
        made = again(book, every, version, channel="sms", only=only)
        assert [row["borrower"] for row in messages(book, made.id)] == [only]


def test_what_may_have_arrived_is_refused_without_force(book: Any, version: Version, failed: UUID) -> None:
    for only in ("sent", "delivered", "undelivered", "unconfirmed"):
        with pytest.raises(Refused, match="only failed, expired, suppressed can be rerun"):
            again(book, failed, version, only=only)
        assert again(book, failed, version, only=only, force=True, reason="r").messages == 0


def test_what_was_not_wanted_or_is_under_way_is_refused_even_with_force(
    book: Any, version: Version, failed: UUID
) -> None:
    for only in ("cancelled", "planned", "awaiting_approval", "scheduled", "sending", "nonsense"):
        for force in (False, True):
            with pytest.raises(Refused, match="can be rerun"):
                again(book, failed, version, only=only, force=force, reason="r")


def test_force_needs_a_reason(book: Any, version: Version, failed: UUID) -> None:
    for reason in (None, ""):
        with pytest.raises(Refused, match="force needs a reason"):
            again(book, failed, version, force=True, reason=reason)


def test_force_tells_again_under_the_next_occurrence_whoever_may_have_been_told(
    book: Any, version: Version, every: UUID
) -> None:
    made = again(book, every, version, channel="sms", force=True, reason="wrong amount in the text")
    found = {row["borrower"]: row["occurrence"] for row in messages(book, made.id)}
    told = dict.fromkeys(("unconfirmed", "sent", "delivered", "undelivered"), 1)
    assert found == told | dict.fromkeys(("failed", "suppressed", "expired"), 0)
    assert book.one("SELECT reason FROM runs WHERE id = :id", id=made.id) == "wrong amount in the text"


def test_force_does_not_double_what_is_still_on_its_way(book: Any, version: Version, failed: UUID) -> None:
    again(book, failed, version)
    made = again(book, failed, version, force=True, reason="impatient")
    assert made.messages == 0


def test_asking_twice_with_one_key_is_one_rerun(book: Any, version: Version, failed: UUID) -> None:
    first = again(book, failed, version, request_key="k")
    for dry_run in (False, True):
        second = again(book, failed, version, request_key="k", dry_run=dry_run)
        assert second == replace(first, made_before=True)
    assert book.one("SELECT count(*) FROM runs WHERE rerun_of IS NOT NULL") == 1
    assert book.one("SELECT count(*) FROM audit WHERE action = 'rerun'") == 1
    with pytest.raises(Refused, match="a rerun of another run"):
        again(book, first.id, version, request_key="k")


def test_two_workers_with_one_key_at_once_make_one_rerun(book: Any, version: Version, failed: UUID) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: again(book, failed, version, request_key="k"), range(2))
    assert (one.id, {one.made_before, other.made_before}) == (other.id, {False, True})
    assert book.one("SELECT count(*) FROM messages WHERE state = 'planned'") == 2


def test_a_second_rerun_waits_for_the_first(book: Any, version: Version, failed: UUID) -> None:
    first = again(book, failed, version)
    second = again(book, failed, version)
    assert (first.messages, second.messages) == (2, 0)
    assert left_out(book, second) == {"A1": "in_flight"}
    for row in book.messages(state="planned"):
        book.run("UPDATE messages SET state = 'sent', sent_at = now() WHERE id = :id", id=row["id"])
    assert again(book, failed, version).messages == 0  # it has been told now
    assert again(book, failed, version, force=True, reason="r").messages == 2


def test_it_can_be_kept_to_one_account_or_one_channel(book: Any, version: Version, every: UUID) -> None:
    account = book.one("SELECT id FROM accounts WHERE external_id = 'expired'")
    made = again(book, every, version, account=account)
    assert {(row["borrower"], row["channel"]) for row in messages(book, made.id)} == {
        ("expired", "sms"),
        ("expired", "in_app"),
    }
    assert {row["channel"] for row in messages(book, again(book, every, version, channel="sms").id)} == {
        "sms"
    }


def test_a_paid_account_is_left_out_and_the_rest_of_the_message_goes(
    story: Any, book: Any, version: Version
) -> None:
    both, paid = book.borrower("both"), book.borrower("paid")
    for borrower, name in ((both, "A1"), (both, "A2"), (paid, "A3"), (paid, "A4")):
        book.account(borrower, name, due_on=TODAY - timedelta(days=3))
    run = story.plan(version)
    story.admit()
    book.run("UPDATE messages SET state = 'failed', reason = 'r'")
    book.run("UPDATE accounts SET amount_due = 0 WHERE external_id IN ('A2', 'A3')")
    book.run("UPDATE accounts SET closed_on = '2026-11-23' WHERE external_id = 'A4'")
    made = again(book, run, version)
    assert left_out(book, made) == {"A2": "paid", "A3": "paid", "A4": "paid"}
    assert {row["borrower"] for row in messages(book, made.id)} == {"both"}
    assert (made.accounts, made.covered, made.excluded, made.messages) == (4, 1, 3, 2)


@pytest.mark.parametrize(("state", "made"), [("planned", 0), ("sent", 0), ("cancelled", 2)])
def test_a_later_days_message_blocks_the_earlier_days_rerun_unless_it_was_cancelled(
    story: Any, book: Any, version: Version, failed: UUID, state: str, made: int
) -> None:
    book.at("2026-11-24T10:00Z")
    story.plan(version, date(2026, 11, 24))
    for row in book.messages(state="planned"):
        book.run(END.format(state), id=row["id"])
    forced = again(book, failed, version, force=True, reason="r")
    assert forced.messages == made
    assert left_out(book, forced) == ({} if made else {"A1": "in_flight"})
    assert again(book, failed, version).messages == 0


def test_a_dry_run_says_what_it_would_do_and_keeps_nothing(book: Any, version: Version, failed: UUID) -> None:
    made = again(book, failed, version, dry_run=True)
    assert (made.accounts, made.covered, made.messages) == (1, 1, 2)
    assert book.one("SELECT count(*) FROM runs") == 1
    assert book.one("SELECT count(*) FROM messages") == 2
    assert book.one("SELECT count(*) FROM audit WHERE action = 'rerun'") == 0


def test_a_run_or_a_portfolio_that_is_not_there_is_refused(book: Any, version: Version, failed: UUID) -> None:
    with pytest.raises(Refused, match="no such run"):
        again(book, uuid4(), version)
    with pytest.raises(Refused, match="has no file any more"):
        rerun(book.engine, {}, RerunRequest(run_id=failed, request_key="k", requested_by="bert"))


def test_a_channel_that_the_present_policy_dropped_does_not_stop_everybody_elses_admission(
    story: Any, book: Any, version: Version, failed: UUID, amended: Amend
) -> None:
    without_sms = amended({"tiers": {"reminder": {"channels": ["in_app"]}}})
    again(book, failed, without_sms)
    story.admit()
    assert {row["state"] for row in book.messages(channel="in_app")} == {"failed", "scheduled"}
