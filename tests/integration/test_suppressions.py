"""Whom a suppression binds: what the providers' stand-in said of an address is no word about a real one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import Version
from worker.store import suppress

PHONE = "+447700900001"
ALWAYS = {"weekdays": ["00:00-24:00"], "saturday": ["00:00-24:00"], "sunday": ["00:00-24:00"]}
Amend = Callable[[dict[str, Any]], Version]


def say(book: Any, reason: str, *, sandbox: bool) -> bool:
    with book.engine.begin() as connection:
        return suppress.suppress(
            connection,
            channel="sms",
            address=PHONE,
            reason=reason,
            source="provider",
            by="t",
            sandbox=sandbox,
        )


@pytest.fixture
def due_in(story: Any, book: Any, amended: Amend) -> Callable[[str], None]:
    """One borrower's messages, admitted in a portfolio of this mode; by the real clock, as in live."""

    def admitted(mode: str) -> None:
        version = amended({"portfolio": {"mode": mode}, "send_window": ALWAYS})
        sync_portfolios(book.engine, {"uk": version})
        today = datetime.now(UTC).date()
        book.account(book.borrower(phone=PHONE), due_on=today - timedelta(days=10))
        story.plan(version)
        story.admit()

    return admitted


def sms(book: Any) -> tuple[str, str | None]:
    (row,) = book.messages(channel="sms")
    return row["state"], row["reason"]


def test_what_the_sandbox_refused_binds_messages_in_sandbox(book: Any, due_in: Any) -> None:
    say(book, "opted_out", sandbox=True)
    due_in("sandbox")
    assert sms(book) == ("suppressed", "house.suppressed.opted_out")


def test_what_the_sandbox_refused_binds_nobody_in_live(book: Any, sender: Any, due_in: Any) -> None:
    say(book, "opted_out", sandbox=True)
    due_in("live")
    assert sms(book) == ("scheduled", None)
    assert say(book, "invalid_recipient", sandbox=True) is False
    assert [row["state"] for row in sender.claim()] == ["sending"]


def test_a_real_refusal_binds_every_mode_and_outweighs_the_sandbox(
    book: Any, sender: Any, due_in: Any
) -> None:
    say(book, "invalid_recipient", sandbox=True)
    due_in("live")
    assert say(book, "opted_out", sandbox=False) is True
    assert sms(book) == ("cancelled", "suppressed.opted_out")
    assert list(sender.claim()) == []


def test_lifting_by_hand_frees_an_address_in_every_mode(book: Any) -> None:
    say(book, "opted_out", sandbox=True)
    say(book, "opted_out", sandbox=False)
    with book.engine.begin() as connection:
        assert suppress.lift(connection, channel="sms", address=PHONE, by="anna", reason="asked us to")
        assert suppress.active(connection, None, 10) == []
