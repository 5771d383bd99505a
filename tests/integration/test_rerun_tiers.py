"""A rerun is held to the mode and to the required earlier notices, as planning was."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from worker.pipeline.book import sync_portfolios
from worker.pipeline.byhand import Refused
from worker.pipeline.rerun import rerun
from worker.portfolios.load import Version
from worker.store import settle
from worker.store.rerun import Rerun, RerunRequest

TODAY = date(2026, 11, 23)
Amend = Callable[[dict[str, Any]], Version]


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


def again(book: Any, run: UUID, version: Version, **asked: Any) -> Rerun:
    values: dict[str, Any] = {"run_id": run, "request_key": str(uuid4()), "requested_by": "bert"} | asked
    made = rerun(book.engine, {"uk": version}, RerunRequest(**values))
    with book.engine.connect() as connection:
        assert settle.books(connection, made.id).agree
    return made


def left_out(book: Any, made: Rerun) -> dict[str, str]:
    sql = (
        "SELECT a.external_id AS name, e.reason FROM run_exclusions e JOIN accounts a ON a.id = e.account_id"
    )
    return {row["name"]: row["reason"] for row in book.rows(f"{sql} WHERE e.run_id = :run", run=made.id)}


def covered(book: Any, made: Rerun) -> set[str]:
    rows = book.rows(
        "SELECT a.external_id AS name FROM messages m JOIN message_accounts x ON x.message_id = m.id "
        "JOIN accounts a ON a.id = x.account_id WHERE m.run_id = :run",
        run=made.id,
    )
    return {row["name"] for row in rows}


@pytest.mark.parametrize(("was", "is_now"), [("sandbox", "live"), ("live", "sandbox"), ("allowlist", "live")])
@pytest.mark.parametrize("force", [False, True])
def test_a_run_of_another_mode_is_not_rerun(
    story: Any, book: Any, amended: Amend, was: str, is_now: str, force: bool
) -> None:
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    before, after = (amended({"portfolio": {"mode": mode}}) for mode in (was, is_now))
    sync_portfolios(book.engine, {"uk": before})
    run = story.plan(before, TODAY)
    book.run("UPDATE messages SET state = 'expired', reason = 'r'")
    with pytest.raises(Refused, match=f"of mode {was} and uk is in mode {is_now}"):
        again(book, run, after, force=force, reason="r")
    assert len(book.messages()) == 2
    assert book.one("SELECT mode FROM portfolios") == was  # what was refused changed nothing
    assert again(book, run, before).messages == 2


@pytest.fixture
def warned(story: Any, book: Any, version: Version) -> UUID:
    """A run of legal warnings that went nowhere: A1 has had its stern notice, A2 is as late and has not."""
    borrower = book.borrower()
    for name in ("A1", "A2"):
        account = book.account(borrower, name, due_on=TODAY - timedelta(days=80))
    book.contact(borrower, account - 1, "stern", "2026-11-01T10:00Z")
    run: UUID = story.plan(version)
    assert {row["tier"] for row in book.messages()} == {"legal_warning"}
    book.run("UPDATE messages SET state = 'expired', reason = 'r'")
    return run


def test_a_legal_warning_goes_again_while_its_stern_notice_stands(
    book: Any, version: Version, warned: UUID
) -> None:
    made = again(book, warned, version)
    assert (made.messages, covered(book, made), left_out(book, made)) == (2, {"A1", "A2"}, {})


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE contacts SET outcome = 'undelivered'",  # a late word: it never arrived
        "UPDATE contacts SET at = '2026-11-20T10:00Z'",  # three days ago: the policy asks for seven
        "UPDATE accounts SET delinquent_since = '2026-11-10'",  # of a delinquency that is over
    ],
)
def test_a_legal_warning_whose_stern_notice_does_not_count_any_more_is_left_out(
    book: Any, version: Version, warned: UUID, force: bool, change: str
) -> None:
    book.run(change)
    made = again(book, warned, version, force=force, reason="r")
    assert made.messages == 0
    assert left_out(book, made) == {"A1": "requires_missing", "A2": "requires_missing"}


def test_an_account_without_the_notice_does_not_get_the_warning_for_one_that_was_paid(
    book: Any, version: Version, warned: UUID
) -> None:
    book.run("UPDATE accounts SET amount_due = 0 WHERE external_id = 'A1'")
    made = again(book, warned, version)
    assert made.messages == 0
    assert left_out(book, made) == {"A1": "paid", "A2": "requires_missing"}


def test_what_a_policy_requires_now_is_asked_of_an_older_run(
    book: Any, warned: UUID, amended: Amend, version: Version
) -> None:
    stricter = amended({"tiers": {"legal_warning": {"requires": {"tier": "stern", "days": 30}}}})
    assert left_out(book, again(book, warned, stricter))["A1"] == "requires_missing"
    assert again(book, warned, version).messages == 2
