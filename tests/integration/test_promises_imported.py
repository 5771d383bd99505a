"""A promise to pay that comes by file: its amount, and what a file that changes it does to the outcome."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from worker.pipeline.holds import judge_promises
from worker.pipeline.importing import ImportOptions, ImportReport, Kind, import_file

HEADERS = {
    Kind.ACCOUNTS: "account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate",
    Kind.HOLDS: "hold_id,borrower_id,portfolio,account_id,type,starts_on,ends_on,reason,promised_amount",
}
Load = Callable[..., ImportReport]


@pytest.fixture(autouse=True)
def _late(book: Any) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), "A1", due_on=date(2026, 11, 10), amount="100")


@pytest.fixture
def load(book: Any, tmp_path: Path) -> Load:
    def load_(kind: Kind, row: str) -> ImportReport:
        file = tmp_path / f"{kind}.csv"
        file.write_text(f"{HEADERS[kind]}\n{row}\n", encoding="utf-8")
        return import_file(book.engine, kind, file, ImportOptions(), requested_by="tests")

    return load_


def account(amount: str) -> str:
    return f"A1,uk,B1,5000,{amount},GBP,2026-11-10,0.0005"


def outcomes(book: Any) -> list[str | None]:
    return [found["outcome"] for found in book.rows("SELECT outcome FROM holds ORDER BY id")]


def judged(kept: int = 0, broken: int = 0) -> dict[str, int]:
    return {"promises_kept": kept, "promises_broken": broken}


def imported(end: str, amount: str = "", reason: str = "") -> str:
    return f"H1,B1,uk,A1,promise_to_pay,2026-11-20,{end},{reason},{amount}"


def test_an_imported_promise_is_judged_like_one_by_hand_and_the_file_again_changes_nothing(
    book: Any, load: Load
) -> None:
    load(Kind.HOLDS, imported("2026-11-27", "40"))
    book.at("2026-11-28T09:00Z")
    load(Kind.ACCOUNTS, account("60"))
    assert judge_promises(book.engine) == judged(kept=1)
    assert load(Kind.HOLDS, imported("2026-11-27", "40.0")).unchanged == 1
    # Another remark is no other promise; another end is.
    assert load(Kind.HOLDS, imported("2026-11-27", "40", "r")).changed == 1
    assert outcomes(book) == ["kept"]
    assert load(Kind.HOLDS, imported("2026-12-04", "50", "r")).changed == 1
    assert outcomes(book) == [None]
    book.at("2026-12-05T09:00Z")
    load(Kind.ACCOUNTS, account("60"))
    assert judge_promises(book.engine) == judged(broken=1)


def test_a_promise_with_an_amount_that_was_over_when_it_was_told_is_not_judged_unless_all_is_paid(
    book: Any, load: Load
) -> None:
    load(Kind.HOLDS, imported("2026-11-21", "40"))
    load(Kind.ACCOUNTS, account("60"))
    assert judge_promises(book.engine) == judged()
    load(Kind.ACCOUNTS, account("0"))
    assert judge_promises(book.engine) == judged(kept=1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (imported("2026-11-27", "0"), "promised_amount: is 0"),
        (imported("2026-11-27", "40,5").replace("40,5", '"40,5"'), "promised_amount: not an amount"),
        ("H1,B1,uk,A1,dispute,2026-11-20,,,40", "promised_amount: only a promise_to_pay has one"),
    ],
)
def test_a_hold_whose_amount_cannot_be_used_still_holds(book: Any, load: Load, line: str, says: str) -> None:
    report = load(Kind.HOLDS, line)
    assert (report.inserted, report.rejected, report.warnings) == (1, 0, 1)
    assert says in Path(report.rejects_path).read_text(encoding="utf-8-sig")
    assert book.one("SELECT promised_amount IS NULL FROM holds")
