"""A hold added by hand stops what was admitted before it, from its first moment to its last."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import text

from worker.domain.holds import HoldType
from worker.pipeline import holds
from worker.pipeline.byhand import Refused
from worker.pipeline.holds import HoldRequest
from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)
Add = Callable[..., int]


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def late(book: Any) -> int:
    """One borrower, three days late with A1 and A2."""
    borrower: int = book.borrower()
    for name in ("A1", "A2"):
        book.account(borrower, name, due_on=TODAY - timedelta(days=3))
    return borrower


@pytest.fixture
def hold(book: Any) -> Add:
    """Adds a hold on the borrower, or on an account of theirs; returns its id."""

    def add(type_: str = "dispute", account: str | None = None, **more: Any) -> int:
        of = holds.subject(book.engine, account=account, borrower=None if account else "B1")
        request = HoldRequest(type=HoldType(type_), **{"reason": "wrote to us", "by": "anna"} | more)
        return holds.add(book.engine, of, request)[0]

    return add


def sms(book: Any) -> tuple[str, str | None]:
    (row,) = book.messages(channel="sms")
    return row["state"], row["reason"]


def stored(book: Any) -> list[Any]:
    return book.rows("SELECT starts_at, ends_at FROM holds ORDER BY id")


@pytest.mark.parametrize("type_", list(HoldType))
def test_a_hold_added_between_admission_and_claim_stops_the_send(
    story: Any, book: Any, sender: Any, version: Version, late: int, hold: Add, type_: str
) -> None:
    story.plan(version)
    story.admit()
    more = {"last_on": TODAY} if type_ == "promise_to_pay" else {}
    hold(type_, **more)
    assert sms(book) == ("scheduled", None)
    assert [row["state"] for row in sender.claim()] == ["cancelled"]
    assert sms(book) == ("cancelled", f"house.hold.{type_}")


def test_a_hold_on_one_account_takes_it_out_and_what_was_admitted_is_decided_again(
    story: Any, book: Any, sender: Any, version: Version, late: int, hold: Add
) -> None:
    story.plan(version)
    story.admit()
    hold(account="uk/A1")
    sender.claim()
    assert sms(book) == ("planned", "facts_changed")
    story.admit()
    (row,) = sender.claim()
    assert [account[0] for account in row["accounts"]] == ["A2"]


def test_lifting_lets_the_next_run_go_and_decides_again_what_was_admitted(
    story: Any, book: Any, sender: Any, version: Version, late: int, hold: Add
) -> None:
    held = hold(account="A1")
    story.plan(version)
    story.admit()
    holds.lift(book.engine, held, by="bert", reason="answered")
    sender.claim()
    assert sms(book) == ("planned", "facts_changed")
    (row,) = book.rows("SELECT lifted_at = dunlin_now() OR lifted_at < dunlin_now() AS past, lifted_by, "
                       "lift_reason FROM holds")  # fmt: skip
    assert tuple(row.values()) == (True, "bert", "answered")
    book.at("2026-11-24T10:00Z")
    story.plan(version)
    assert book.one("SELECT count(*) FROM message_accounts WHERE business_on = '2026-11-24' "
                    "AND account_id = (SELECT id FROM accounts WHERE external_id = 'A1')") == 2  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "zone", "starts", "ends"),
    [
        ("A9", "Europe/London", "2026-11-24T16:00Z", "2026-11-30T16:00Z"),
        (None, "America/Los_Angeles", "2026-11-25T08:00Z", "2026-12-01T08:00Z"),
        (None, None, "2026-11-24T10:00Z", "2026-12-01T12:00Z"),
        (None, "Nowhere/Known_To_The_Database", "2026-11-24T10:00Z", "2026-12-01T12:00Z"),
    ],
    ids=["of the portfolio", "of the borrower", "of nobody known", "of a zone too new"],
)
def test_a_hold_lasts_from_the_start_of_its_first_day_to_the_end_of_its_last(
    book: Any, late: int, hold: Add, subject: str | None, zone: str | None, starts: str, ends: str
) -> None:
    book.run("UPDATE borrowers SET zone = :zone", zone=zone)
    book.run(
        "INSERT INTO portfolios (id, title, policy_hash, mode, currency, timezone, region) "
        "SELECT 'cn', title, policy_hash, mode, 'CNY', 'Asia/Shanghai', 'CN' FROM portfolios"
    )
    book.account(late, "A9", due_on=TODAY, portfolio="cn")
    hold(account=subject, first_on=date(2026, 11, 25), last_on=date(2026, 11, 30))
    (row,) = stored(book)
    assert (row["starts_at"], row["ends_at"]) == tuple(map(datetime.fromisoformat, (starts, ends)))


def test_a_hold_without_dates_begins_now_and_stays(book: Any, late: int, hold: Add) -> None:
    before = book.now()
    hold()
    (row,) = stored(book)
    assert before <= row["starts_at"] <= book.now()
    assert row["ends_at"] is None


def test_a_hold_added_leaves_its_row_in_the_audit_with_ids_only(book: Any, late: int, hold: Add) -> None:
    held = hold(account="A2")
    holds.lift(book.engine, held, by="bert", reason="answered")
    added, lifted = book.rows("SELECT * FROM audit ORDER BY id")
    assert (added["actor"], added["action"], added["reason"]) == ("anna", "hold.add", "wrote to us")
    assert (lifted["actor"], lifted["action"], lifted["reason"]) == ("bert", "hold.lift", "answered")
    assert added["subject"] == lifted["subject"] == f"hold:{held}"
    account = book.one("SELECT id FROM accounts WHERE external_id = 'A2'")
    assert added["detail"] == {"type": "dispute", "borrower": late, "account": account}


def test_the_same_hold_added_twice_is_one_and_another_is_another(book: Any, late: int, hold: Add) -> None:
    first = hold()
    assert hold(reason="says so again") == first
    others = {hold("minor"), hold(account="A1"), hold(last_on=TODAY)}
    assert len(others | {first}) == 4
    assert book.one("SELECT count(*) FROM audit") == 4
    holds.lift(book.engine, first, by="bert", reason="answered")
    assert hold() not in others | {first}


def test_two_people_who_add_the_same_hold_at_once_make_one(book: Any, late: int, hold: Add) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor(2) as pool, book.engine.connect() as other, other.begin() as transaction:
        other.execute(text("UPDATE borrowers SET facts_changed_at = clock_timestamp()"))
        added = [pool.submit(hold) for _ in range(2)]
        ends = monotonic() + 30
        while book.one(f"{waiting} AND datname = current_database()") < 2:
            assert monotonic() < ends
            sleep(0.02)
        transaction.commit()
        assert added[0].result() == added[1].result()
    assert book.one("SELECT count(*) FROM audit") == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"last_on": TODAY - timedelta(days=1)}, "has passed in Europe/London"),
        ({"first_on": TODAY + timedelta(days=2), "last_on": TODAY + timedelta(days=1)}, "before the first"),
        ({"reason": " "}, "a name and a reason"),
        ({"by": " "}, "a name and a reason"),
        ({"reason": "r" * 501}, "longer than 500"),
        ({"type_": "promise_to_pay"}, "the last day"),
        ({"amount": 5, "last_on": TODAY}, "not to a hold of type dispute"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_a_hold_that_makes_no_sense_is_refused_and_leaves_nothing(
    book: Any, late: int, hold: Add, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        hold(**more)
    assert stored(book) == book.rows("SELECT * FROM audit") == []
    assert book.one("SELECT facts_changed_at FROM borrowers") == datetime(2000, 1, 1, tzinfo=UTC)
