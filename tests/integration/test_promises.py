"""A promise to pay holds until its day is over; the next book says whether it was kept."""

import os
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from time import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from tasks import upkeep
from worker.domain.holds import HoldType
from worker.pipeline import holds
from worker.pipeline.byhand import Refused
from worker.pipeline.holds import HoldRequest, judge_promises
from worker.pipeline.importing import ImportOptions, Kind, import_file

TODAY = date(2026, 11, 23)
LAST = date(2026, 11, 27)
OVER = "2026-11-28T09:00Z"
ACCOUNTS = "account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate"
Load = Callable[..., Any]
Promise = Callable[..., int]


@pytest.fixture(autouse=True)
def _two_late_accounts(book: Any) -> None:
    book.at("2026-11-23T10:00Z")
    borrower = book.borrower()
    book.account(borrower, "A1", due_on=date(2026, 11, 10), amount="100")
    book.account(borrower, "A2", due_on=date(2026, 11, 10), amount="50")


@pytest.fixture
def load(book: Any, tmp_path: Path) -> Load:
    """Imports a file that was written so many seconds ago."""

    def load_(
        rows: str, kind: Kind = Kind.ACCOUNTS, header: str = ACCOUNTS, age_s: int = 0, **more: Any
    ) -> Any:
        file = tmp_path / f"{kind}.csv"
        file.write_text("\n".join([header, *(line.strip() for line in rows.splitlines())]), encoding="utf-8")
        os.utime(file, (time() - age_s, time() - age_s))
        return import_file(book.engine, kind, file, ImportOptions(**more), requested_by="tests")

    return load_


@pytest.fixture
def promise(book: Any) -> Promise:
    def add(account: str | None = "A1", last: date = LAST, amount: str | None = None, **more: Any) -> int:
        of = holds.subject(book.engine, account=account, borrower=None if account else "B1")
        request = HoldRequest(
            type=HoldType.PROMISE_TO_PAY,
            last_on=last,
            amount=Decimal(amount) if amount else None,
            reason="on the telephone",
            by="anna",
            **more,
        )
        return holds.add(book.engine, of, request)[0]

    return add


def row(account: str, amount: str, due_on: str = "2026-11-10") -> str:
    return f"{account},uk,B1,5000,{amount},GBP,{due_on},0.0005"


def outcomes(book: Any) -> list[str | None]:
    return [found["outcome"] for found in book.rows("SELECT outcome FROM holds ORDER BY id")]


def judged(kept: int = 0, broken: int = 0) -> dict[str, int]:
    return {"promises_kept": kept, "promises_broken": broken}


@pytest.mark.parametrize(
    ("account", "amount", "book_says", "outcome"),
    [
        ("A1", None, [row("A1", "0")], "kept"),
        ("A1", None, [row("A1", "99.99")], "broken"),
        ("A1", None, [row("A1", "100")], "broken"),
        # The oldest unpaid due date has moved beyond the promise: what it was about is paid.
        ("A1", None, [row("A1", "100", "2026-11-28")], "kept"),
        ("A1", None, [row("A1", "100", "2026-11-27")], "broken"),
        ("A1", "40", [row("A1", "60")], "kept"),
        ("A1", "40", [row("A1", "60.01")], "broken"),
        ("A1", "40", [row("A2", "0")], "broken"),
        ("A1", "400", [row("A1", "0")], "kept"),
        (None, None, [row("A1", "0")], "broken"),
        (None, None, [row("A1", "0"), row("A2", "0")], "kept"),
        (None, "100", [row("A1", "0")], "kept"),
        (None, "100", [row("A1", "25"), row("A2", "25")], "kept"),
        (None, "100", [row("A1", "25"), row("A2", "26")], "broken"),
        (None, "100", [row("A1", "100", "2026-12-10")], "kept"),
    ],
)
def test_the_book_after_its_end_says_whether_a_promise_was_kept(
    book: Any,
    load: Load,
    promise: Promise,
    account: str | None,
    amount: str | None,
    book_says: Any,
    outcome: str,
) -> None:
    promise(account, amount=amount)
    book.at(OVER)
    load("\n".join(book_says))
    assert judge_promises(book.engine) == judged(**{outcome: 1})
    assert outcomes(book) == [outcome]


def test_nothing_is_judged_before_its_end_nor_before_a_book_that_is_newer(
    book: Any, load: Load, promise: Promise
) -> None:
    promise()
    load(row("A1", "0"))
    assert judge_promises(book.engine) == judged()
    book.at("2026-11-27T23:59Z")
    load(row("A1", "0"))
    assert judge_promises(book.engine) == judged()
    book.at(OVER)
    assert judge_promises(book.engine) == judged()
    # Imported late, but written the evening before: a payment of the last day may not be in it.
    load(row("A1", "100"), age_s=10 * 3600)
    assert judge_promises(book.engine) == judged()
    assert outcomes(book) == [None]
    load(row("A2", "50"))
    assert judge_promises(book.engine) == judged(broken=1)


def test_a_promise_is_judged_once_and_what_is_paid_later_does_not_mend_it(
    book: Any, load: Load, promise: Promise
) -> None:
    held = promise()
    book.at(OVER)
    load(row("A1", "100"))
    with capture_logs() as logged:
        assert judge_promises(book.engine) == judged(broken=1)
    assert logged == [{"event": "promise.judged", "log_level": "info", "hold": held, "outcome": "broken"}]
    load(row("A1", "0"))
    assert judge_promises(book.engine) == judged()
    assert outcomes(book) == ["broken"]
    (trace,) = book.rows("SELECT * FROM audit WHERE subject = :s AND actor = 'dunlin'", s=f"hold:{held}")
    assert trace["action"] == "promise.broken"
    assert {k: trace["detail"][k] for k in ("promised_amount", "amount_due_before", "amount_due")} == {
        "promised_amount": None,
        "amount_due_before": "100.0000",
        "amount_due": "100.0000",
    }


def test_a_promise_of_a_whole_borrower_waits_for_the_book_of_every_portfolio(
    book: Any, load: Load, promise: Promise
) -> None:
    book.run(
        "INSERT INTO portfolios (id, title, policy_hash, mode, currency, timezone, region) "
        "SELECT 'cn', title, policy_hash, mode, 'CNY', 'Asia/Shanghai', 'CN' FROM portfolios"
    )
    borrower = book.one("SELECT id FROM borrowers")
    book.account(borrower, "A9", due_on=TODAY - timedelta(days=5), portfolio="cn")
    with pytest.raises(Refused, match="CNY, GBP"):
        promise(None, amount="10")
    promise(None)
    book.at(OVER)
    load(f"{row('A1', '0')}\n{row('A2', '0')}")
    assert judge_promises(book.engine) == judged()
    load("A9,cn,B1,1,0,CNY,2026-11-18,")
    assert judge_promises(book.engine) == judged(kept=1)


def test_a_snapshot_that_closes_the_account_keeps_the_promise(
    book: Any, load: Load, promise: Promise
) -> None:
    promise("A2")
    book.at(OVER)
    load(row("A1", "100"), snapshot=True, portfolio="uk")
    assert judge_promises(book.engine) == judged(kept=1)


def test_a_promise_that_was_lifted_is_not_judged(book: Any, load: Load, promise: Promise) -> None:
    holds.lift(book.engine, promise(), by="anna", reason="made a new plan")
    book.at(OVER)
    load(row("A1", "100"))
    assert judge_promises(book.engine) == judged()


def test_upkeep_judges_promises(
    book: Any, load: Load, promise: Promise, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "runtime", lambda: runtime)
    promise()
    book.at(OVER)
    load(row("A1", "0"))
    assert upkeep.upkeep().items() >= judged(kept=1).items()
    assert upkeep.upkeep().items() >= judged().items()


def test_what_is_due_is_noted_when_a_promise_begins_and_not_when_it_is_entered(
    book: Any, load: Load, promise: Promise
) -> None:
    promise(first_on=date(2026, 11, 25), amount="30")
    noted = "SELECT amount_due_before FROM holds"
    judge_promises(book.engine)
    assert book.one(noted) is None
    load(row("A1", "80"))
    book.at("2026-11-25T00:17Z")
    judge_promises(book.engine)
    assert book.one(noted) == 80
    load(row("A1", "50"))
    judge_promises(book.engine)
    assert book.one(noted) == 80
    book.at(OVER)
    load(row("A1", "50"))
    assert judge_promises(book.engine) == judged(kept=1)
