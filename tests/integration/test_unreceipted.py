"""What a provider took and never spoke of again, and mails that may go again under their Message-ID."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from worker.channels.base import Channel, ProviderConfig
from worker.channels.registry import adapters
from worker.domain.backoff import MAX_ATTEMPTS
from worker.pipeline.ask import find
from worker.pipeline.book import sync_portfolios
from worker.pipeline.send import send_due
from worker.pipeline.settle import settle_due
from worker.pipeline.unreceipted import RECEIPT_S
from worker.portfolios.load import Version
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig
from worker.store import clock, unreceipted

TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=0.01)) as running:
        yield running


@pytest.fixture
def provider(sandbox: SandboxProcess) -> SandboxClient:
    sandbox.client.reset()
    sandbox.client.clear_faults()
    return sandbox.client


@pytest.fixture
def wired(runtime: Any, provider: SandboxClient, sandbox: SandboxProcess) -> Iterator[Any]:
    made: dict[str, Channel] = {}
    options = {
        "twilio": {"account_sid": "AC" + "0" * 32, "auth_token": "sandbox", "base_url": provider.base_url},
        "smtp": {"host": "127.0.0.1", "port": str(sandbox.ports.smtp), "tls": "none"},
    }

    def adapter(channel: str, name: str, _mode: str) -> Channel:
        if name not in made:
            config = ProviderConfig(options[name], "http://127.0.0.1:9", "")
            made[name] = adapters()[channel, name].from_config(config)
        return made[name]

    runtime.adapter = adapter
    runtime.timing = replace(runtime.timing, request_s=0.0, sandbox_settle_s=0.0)
    yield runtime
    for each in made.values():
        runtime.run(each.close())


def prepare(story: Any, book: Any, version: Version, *, days: int = 3) -> None:
    sync_portfolios(book.engine, {"uk": version})
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=days))
    story.plan(version)
    story.admit()


def row(book: Any, channel: str) -> Any:
    (found,) = book.messages(channel=channel)
    return found


def shown(book: Any) -> int:
    with book.engine.connect() as connection:
        return unreceipted.count(connection, channels={"sms"}, after_s=RECEIPT_S)


def test_an_sms_without_a_receipt_is_shown_after_its_time_and_asked_about_once(
    story: Any, book: Any, wired: Any, provider: SandboxClient, version: Version
) -> None:
    prepare(story, book, version)
    provider.set_fault("hold")  # the provider has it, and nothing comes of it
    send_due(wired, "sms")
    settle_due(wired)
    assert (shown(book), provider.counts()["calls"].get("list", 0)) == (0, 0)
    book.at("2026-11-23T16:01Z")
    for _ in range(3):
        settle_due(wired)
    assert (shown(book), provider.counts()["calls"]["list"]) == (1, 1)
    assert row(book, "sms")["state"] == "sent"


def test_what_the_provider_knows_of_it_stands_for_the_receipt_that_never_came(
    story: Any, book: Any, wired: Any, provider: SandboxClient, version: Version
) -> None:
    prepare(story, book, version)
    provider.set_fault("never")
    send_due(wired, "sms")
    wait_until_delivered(provider)
    book.at("2026-11-23T16:01Z")
    settle_due(wired)
    assert row(book, "sms")["state"] == "delivered"
    assert shown(book) == 0


def wait_until_delivered(provider: SandboxClient) -> None:
    for _ in range(1000):
        if provider.messages(channel="sms")[0]["status"] == "delivered":
            return
    raise AssertionError("the sandbox did not deliver")


@pytest.fixture
def unconfirmed_mail(story: Any, book: Any, wired: Any, provider: SandboxClient, amended: Any) -> Any:
    """A mail whose server took it and hung up before it said so, under a policy of the test's."""

    def make(unconfirmed: str) -> None:
        prepare(story, book, amended({"senders": {"email": {"smtp": {"unconfirmed": unconfirmed}}}}), days=10)
        provider.set_fault("drop_after_data", times=1)
        send_due(wired, "email")
        assert row(book, "email")["state"] == "unconfirmed"
        book.run("UPDATE messages SET check_at = dunlin_now() WHERE state = 'unconfirmed'")

    return make


def worker_is_gone(book: Any) -> None:
    book.run("UPDATE attempts SET started_at = clock_timestamp() - interval '1 hour'")


def test_an_unconfirmed_mail_waits_for_a_person_unless_the_policy_says_otherwise(
    unconfirmed_mail: Any, book: Any, wired: Any
) -> None:
    unconfirmed_mail("hold")
    worker_is_gone(book)
    settle_due(wired)
    assert row(book, "email")["state"] == "unconfirmed"


def test_one_that_may_be_sent_again_goes_under_the_same_message_id(
    unconfirmed_mail: Any, story: Any, book: Any, wired: Any, provider: SandboxClient
) -> None:
    unconfirmed_mail("resend")
    wired.timing = replace(wired.timing, lease_s=600.0)
    settle_due(wired)
    assert row(book, "email")["state"] == "unconfirmed"  # its worker may still be sending
    worker_is_gone(book)
    settle_due(wired)
    assert (row(book, "email")["state"], row(book, "email")["reason"]) == ("scheduled", "resend")
    send_due(wired, "email")
    story.admit()
    assert send_due(wired, "email") == {"accepted": 1}
    ids = [
        value
        for mail in provider.messages(channel="email")
        for name, value in mail["headers"]
        if name.lower() == "message-id"
    ]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_it_goes_again_a_few_times_only_and_not_after_its_end(
    unconfirmed_mail: Any, book: Any, wired: Any
) -> None:
    unconfirmed_mail("resend")
    worker_is_gone(book)
    book.run("UPDATE messages SET attempts = :most WHERE channel = 'email'", most=MAX_ATTEMPTS)
    settle_due(wired)
    assert row(book, "email")["state"] == "unconfirmed"
    book.run("UPDATE messages SET attempts = 1, expires_at = dunlin_now() WHERE channel = 'email'")
    settle_due(wired)
    assert row(book, "email")["state"] == "unconfirmed"


def test_a_provider_is_asked_by_its_own_clock_when_that_of_the_database_is_an_hour_fast(
    wired: Any, story: Any, book: Any, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(story, book, version)
    assert send_due(wired, "sms") == {"accepted": 1}
    (attempt,) = book.rows(
        "SELECT m.*, r.policy_hash, a.provider, a.started_at + interval '1 hour' AS started_at, c.address, "
        "c.sha256 "
        "FROM messages m JOIN runs r ON r.id = m.run_id JOIN attempts a ON a.id = m.attempt_id "
        "JOIN message_contents c ON c.attempt_id = m.attempt_id"
    )
    monkeypatch.setattr(clock, "real", lambda _: datetime.now(UTC) + timedelta(hours=1))
    found = find(wired, attempt)
    assert found is not None
    assert found.provider_id == attempt["provider_id"]
