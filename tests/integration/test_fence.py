"""A fenced SMS: the provider is told when to send it, refuses what is late for that, and can drop it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from worker.channels.base import ProviderConfig
from worker.channels.sms_twilio import TwilioSms
from worker.domain.message import MessageRef
from worker.pipeline import control
from worker.pipeline.book import sync_portfolios
from worker.pipeline.send import send_due
from worker.pipeline.settle import settle_due
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig
from worker.store import receipts
from worker.store.receipts import Applied, Word

TODAY = date(2026, 11, 23)
SID = "AC" + "0" * 32
LEAD_S = 6
LEAST_S = 3.0
"""How far ahead the sandbox wants a scheduled message, where Twilio wants 300."""
FENCED: dict[str, Any] = {
    "sender": {"messaging_service_sid": "MG" + "a" * 32},
    "senders": {"sms": {"twilio": {"fence": "send_at", "fence_lead_s": LEAD_S}}},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    config = SandboxConfig(list_lag_s=0.0, progress_s=30.0, schedule_least_s=LEAST_S)
    with sandbox_process(config) as running:
        yield running


@pytest.fixture
def provider(sandbox: SandboxProcess) -> SandboxClient:
    sandbox.client.reset()
    sandbox.client.clear_faults()
    return sandbox.client


@pytest.fixture
def adapter(provider: SandboxClient) -> TwilioSms:
    options = {"account_sid": SID, "auth_token": "sandbox", "base_url": provider.base_url}
    return TwilioSms(ProviderConfig(options | {"timeout_s": "5"}, "http://127.0.0.1:9", ""))


@pytest.fixture
def due(story: Any, book: Any, runtime: Any, adapter: TwilioSms, amended: Any) -> Iterator[Any]:
    """One borrower whose SMS may go now, by a fenced sender."""
    version = amended(FENCED)
    sync_portfolios(book.engine, {"uk": version})
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    runtime.adapter = lambda *_: adapter
    yield runtime
    runtime.run(adapter.close())


def sms(book: Any) -> Any:
    (row,) = book.messages(channel="sms")
    return row


def test_it_is_handed_over_at_once_and_leaves_at_a_fixed_time_within_its_window(
    due: Any, book: Any, provider: SandboxClient
) -> None:
    assert send_due(due, "sms") == {"accepted": 1}
    (received,) = provider.messages(channel="sms")
    (attempt,) = book.rows("SELECT * FROM attempts WHERE provider = 'twilio'")
    assert sms(book)["state"] == "sent"
    assert received["status"] == "scheduled"
    assert datetime.fromisoformat(received["send_at"]) == attempt["leaves_at"]
    ahead = attempt["leaves_at"] - attempt["claimed_at"]
    assert timedelta(seconds=LEAD_S - 1) <= ahead <= timedelta(seconds=LEAD_S)
    left = (sms(book)["send_before"] - sms(book)["sent_at"]).total_seconds()
    assert received["validity_s"] <= left - LEAD_S


def test_it_is_not_handed_over_when_its_window_has_no_room_for_the_wait(
    due: Any, story: Any, book: Any, provider: SandboxClient
) -> None:
    seconds = 60 + due.timing.deadline_s + 2 * LEAD_S
    book.run("UPDATE messages SET send_before = dunlin_now() + :left", left=timedelta(seconds=seconds - 1))
    assert send_due(due, "sms") == {"planned": 1}
    assert sms(book)["reason"] == "window_closed"
    assert provider.counts()["requests"] == {}


def test_a_worker_that_was_stopped_too_long_is_refused_and_nothing_counts(
    due: Any, story: Any, book: Any, provider: SandboxClient, adapter: Any
) -> None:
    prompt = adapter.send

    async def stopped(payload: Any) -> Any:
        until = datetime.fromisoformat(payload["SendAt"]) - timedelta(seconds=LEAST_S)
        await asyncio.sleep((until - datetime.now(UTC)).total_seconds() + 0.05)
        return await prompt(payload)

    adapter.send = stopped
    assert send_due(due, "sms") == {"too_late": 1}
    message = sms(book)
    assert (message["state"], message["reason"], message["attempts"]) == ("scheduled", "fenced", 0)
    assert provider.counts()["messages"] == {}
    adapter.send = prompt
    book.at("2026-11-23T10:02Z")
    send_due(due, "sms")
    story.admit()
    assert send_due(due, "sms") == {"accepted": 1}
    assert list(provider.counts()["messages"].values()) == [1]


def pays(book: Any) -> None:
    book.run("UPDATE accounts SET amount_due = 0")


def disputes(book: Any) -> None:
    book.hold(book.one("SELECT id FROM borrowers"))


def opts_out(book: Any) -> None:
    control.suppress(
        book.engine, channel="sms", address="+447700900001", region="", reason="opted_out", by="anna"
    )


@pytest.mark.parametrize(
    ("what", "reason"),
    [(pays, "paid"), (disputes, "house.hold.dispute"), (opts_out, "house.suppressed.opted_out")],
)
def test_who_pays_disputes_or_opts_out_before_it_leaves_never_gets_it(
    due: Any, book: Any, provider: SandboxClient, what: Any, reason: str
) -> None:
    send_due(due, "sms")
    settle_due(due)
    assert sms(book)["state"] == "sent"
    assert provider.counts()["calls"].get("update", 0) == 0
    what(book)
    assert settle_due(due).recalled == 1
    assert (sms(book)["state"], sms(book)["reason"]) == ("cancelled", reason)
    (received,) = provider.messages(channel="sms")
    assert received["status"] == "canceled"
    assert provider.release(scheduled=True) == 0
    assert settle_due(due).recalled == 0


def test_what_has_left_stays_sent(due: Any, book: Any, provider: SandboxClient) -> None:
    send_due(due, "sms")
    provider.release(scheduled=True)
    pays(book)
    assert settle_due(due).recalled == 0
    assert (sms(book)["state"], sms(book)["reason"]) == ("sent", None)


def test_a_provider_that_cannot_be_told_is_told_again(due: Any, book: Any, provider: SandboxClient) -> None:
    send_due(due, "sms")
    pays(book)
    provider.set_fault("http_500", on="update", times=1)
    assert settle_due(due).recalled == 0
    assert sms(book)["state"] == "sent"
    assert settle_due(due).recalled == 1
    assert sms(book)["state"] == "cancelled"


def test_one_that_was_dropped_while_we_did_not_hear_the_answer_is_cancelled_too(
    due: Any, book: Any, provider: SandboxClient, adapter: Any
) -> None:
    send_due(due, "sms")
    pays(book)
    due.run(adapter.recall(sms(book)["provider_id"]))
    assert settle_due(due).recalled == 1
    assert (sms(book)["state"], sms(book)["reason"]) == ("cancelled", "paid")


def test_a_receipt_of_the_cancellation_may_be_faster_than_the_answer(
    due: Any, book: Any, engine: Engine, adapter: Any
) -> None:
    send_due(due, "sms")
    pays(book)
    asked = adapter.recall

    async def told_first(provider_id: str) -> bool:
        dropped: bool = await asked(provider_id)
        ref = MessageRef(sms(book)["business_on"], sms(book)["id"], sms(book)["attempt_id"])
        word = Word(ref, "twilio", provider_id, "cancelled", "", {"MessageStatus": "canceled"})
        with engine.begin() as connection:
            assert receipts.apply(connection, [word]) == [Applied.MOVED]
        return dropped

    adapter.recall = told_first
    settle_due(due)
    assert (sms(book)["state"], sms(book)["reason"]) == ("cancelled", "paid")


def test_nothing_is_asked_of_it_before_the_provider_would_refuse_it(
    due: Any, book: Any, provider: SandboxClient
) -> None:
    provider.set_fault("drop_before", times=1)
    send_due(due, "sms")
    due.timing = replace(due.timing, lease_s=0.0, request_s=0.0, sandbox_settle_s=0.0)

    def ask() -> int:
        book.run("UPDATE messages SET check_at = dunlin_now() WHERE state = 'unconfirmed'")
        settle_due(due)
        calls: int = provider.counts()["calls"].get("list", 0)
        return calls

    assert sms(book)["state"] == "unconfirmed"
    assert ask() == 0  # a stopped worker's request would still be taken
    book.run("UPDATE attempts SET leaves_at = clock_timestamp()")
    assert ask() == 1
    assert ask() == 2
    assert (sms(book)["state"], sms(book)["reason"]) == ("scheduled", "not_at_provider")
