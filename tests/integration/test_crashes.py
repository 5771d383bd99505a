"""What kills its worker is bounded: claimed alone after its second lost lease, set aside after its third."""

from datetime import date, timedelta
from typing import Any

import pytest

from worker.channels.base import ProviderConfig
from worker.channels.sms_twilio import TwilioSms
from worker.pipeline import send
from worker.pipeline.settle import settle_due
from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)


@pytest.fixture
def due(story: Any, book: Any, version: Version) -> Any:
    book.at("2026-11-23T10:00Z")
    for n in range(3):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    return story


def lose(story: Any, book: Any) -> None:
    book.run("UPDATE messages SET lease_until = clock_timestamp() WHERE state = 'sending'")
    settle_due(story.runtime)


@pytest.mark.parametrize(("crashes", "together"), [(0, 3), (1, 2), (2, 1), (7, 1)])
def test_what_lost_leases_is_claimed_in_small_company_and_then_alone(
    due: Any, book: Any, monkeypatch: pytest.MonkeyPatch, crashes: int, together: int
) -> None:
    monkeypatch.setattr(send, "TOGETHER", {1: 2, 2: 1})
    book.run("UPDATE messages SET crashes = :crashes", crashes=crashes)
    claimed: list[int] = []
    real = send.store.claim

    def claim(*args: Any, **kwargs: Any) -> Any:
        rows = real(*args, **kwargs)
        claimed.append(len(rows))
        return []

    monkeypatch.setattr(send.store, "claim", claim)
    due.runtime.adapter = lambda *_: TwilioSms(
        ProviderConfig({}, "http://127.0.0.1:1", "redis://127.0.0.1:1")
    )
    send.send_due(due.runtime, "sms")
    assert [count for count in claimed if count] == [together]


def test_others_go_before_what_lost_its_lease(due: Any, book: Any, sender: Any) -> None:
    (first,) = sender.claim(limit=1)
    lose(due, book)
    assert first["id"] not in {row["id"] for row in sender.claim()}
    assert [row["id"] for row in sender.claim()] == [first["id"]]


def test_the_third_lease_lost_in_a_row_sets_the_message_aside_with_its_reason(
    due: Any, book: Any, sender: Any
) -> None:
    (row,) = sender.claim(limit=1)
    book.run("UPDATE messages SET crashes = 2 WHERE id = :id", id=row["id"])
    lose(due, book)
    (message,) = book.messages(id=row["id"])
    assert (message["state"], message["reason"]) == ("failed", "worker_crashed")


def test_an_outcome_ends_the_count(due: Any, book: Any, sender: Any) -> None:
    (row,) = sender.claim(limit=1)
    book.run("UPDATE messages SET crashes = 2 WHERE id = :id", id=row["id"])
    sender.begin([row])
    sender.finish([row], "scheduled")
    (message,) = book.messages(id=row["id"])
    assert message["crashes"] == 0
