"""Sending through real adapters to a provider in a process of its own, whatever it answers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from worker.channels.base import Channel, ProviderConfig
from worker.channels.registry import adapters
from worker.pipeline.send import send_due
from worker.pipeline.settle import settle_due
from worker.portfolios.load import Version
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig
from worker.store import outcome as outcome_store

TODAY = date(2026, 11, 23)
SID = "AC" + "0" * 32


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=30.0)) as running:
        yield running


@pytest.fixture
def provider(sandbox: SandboxProcess) -> Iterator[SandboxClient]:
    sandbox.client.reset()
    sandbox.client.clear_faults()
    yield sandbox.client
    sandbox.client.clear_faults()


@pytest.fixture
def wired(runtime: Any, provider: SandboxClient, sandbox: SandboxProcess, servers: Any) -> Iterator[Any]:
    """The runtime with this process's adapters, talking to the sandbox with short timeouts."""
    made: dict[tuple[str, str], Channel] = {}
    options = {
        "twilio": {
            "account_sid": SID,
            "auth_token": "sandbox",
            "base_url": provider.base_url,
            "timeout_s": "0.7",
        },
        "smtp": {"host": "127.0.0.1", "port": str(sandbox.ports.smtp), "tls": "none", "data_timeout_s": "1"},
        "inbox": {},
    }

    def adapter(channel: str, name: str, _mode: str) -> Channel:
        if (channel, name) not in made:
            config = ProviderConfig(options[name], "http://127.0.0.1:9", servers.redis_url)
            made[channel, name] = adapters()[channel, name].from_config(config)
        return made[channel, name]

    runtime.adapter = adapter
    yield runtime
    for each in made.values():
        runtime.run(each.close())


@pytest.fixture
def due(story: Any, book: Any, version: Version, wired: Any) -> Any:
    """One borrower, three days late, with an SMS and a popup that may go now."""
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    return wired


def sms(book: Any) -> Any:
    (row,) = book.messages(channel="sms")
    return row


def test_an_accepted_sms_is_sent_once_and_kept_as_it_was_sent(due: Any, book: Any, provider: Any) -> None:
    assert send_due(due, "sms") == {"accepted": 1}
    message = sms(book)
    (received,) = provider.messages(channel="sms")
    (kept,) = book.rows("SELECT * FROM message_contents WHERE message_id = :id", id=message["id"])
    assert message["state"] == "sent"
    assert message["provider_id"] == received["provider_id"]
    assert kept["text"] == received["text"]
    assert kept["address"] == received["to"] == "+447700900001"
    assert "120.50" in received["text"]
    assert provider.counts()["messages"] == {str(message["id"]): 1}
    assert send_due(due, "sms") == {}


def test_a_popup_is_stored_and_therefore_sent(due: Any, book: Any) -> None:
    assert send_due(due, "in_app") == {"accepted": 1}
    (message,) = book.messages(channel="in_app")
    assert message["state"] == "sent"
    (kept,) = book.rows("SELECT * FROM message_contents WHERE message_id = :id", id=message["id"])
    assert kept["extra"]["amount_due"] == "£120.50"


@pytest.mark.parametrize(
    ("fault", "state", "reason", "attempts", "received"),
    [
        ({"kind": "error", "status": 400, "code": 21211}, "failed", "invalid_recipient", 1, 0),
        ({"kind": "error", "status": 400, "code": 21610}, "failed", "opted_out", 1, 0),
        ({"kind": "error", "status": 400, "code": 30007}, "failed", None, 1, 0),
        ({"kind": "http_429", "retry_after_s": 90}, "scheduled", "throttled", 0, 0),
        ({"kind": "unauthorized"}, "scheduled", "misconfigured", 0, 0),
        ({"kind": "http_500"}, "unconfirmed", "outcome_unknown", 1, 0),
        ({"kind": "http_500_after"}, "unconfirmed", "outcome_unknown", 1, 1),
        ({"kind": "http_502"}, "unconfirmed", "outcome_unknown", 1, 0),
        ({"kind": "timeout"}, "unconfirmed", "outcome_unknown", 1, 1),
        ({"kind": "timeout_before"}, "unconfirmed", "outcome_unknown", 1, 0),
        ({"kind": "drop_after"}, "unconfirmed", "outcome_unknown", 1, 1),
        ({"kind": "drop_before"}, "unconfirmed", "outcome_unknown", 1, 0),
        ({"kind": "garbage_200"}, "unconfirmed", "outcome_unknown", 1, 1),
        ({"kind": "no_sid_200"}, "unconfirmed", "outcome_unknown", 1, 1),
    ],
    ids=lambda value: value["kind"] + str(value.get("code", "")) if isinstance(value, dict) else None,
)
def test_what_the_provider_says_decides(
    due: Any,
    book: Any,
    provider: Any,
    fault: dict[str, Any],
    state: str,
    reason: str | None,
    attempts: int,
    received: int,
) -> None:
    provider.set_fault(**fault)
    send_due(due, "sms")
    message = sms(book)
    assert message["state"] == state
    assert reason is None or message["reason"] == reason
    assert message["attempts"] == attempts
    assert provider.counts()["requests"].get(str(message["id"])) == 1  # one POST, whatever came of it
    assert provider.counts()["messages"].get(str(message["id"]), 0) == received


@pytest.mark.parametrize(("code", "why"), [(21211, "invalid_recipient"), (21610, "opted_out")])
def test_an_address_the_provider_refuses_for_good_is_suppressed(
    due: Any, book: Any, provider: Any, code: int, why: str
) -> None:
    provider.set_fault("error", status=400, code=code)
    send_due(due, "sms")
    (row,) = book.rows("SELECT channel, address, reason, source FROM suppressions")
    assert dict(row) == {"channel": "sms", "address": "+447700900001", "reason": why, "source": "provider"}


def test_an_opt_out_is_kept_even_if_the_process_dies_before_the_outcome_is(
    due: Any, book: Any, provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.set_fault("error", status=400, code=21610)
    monkeypatch.setattr(outcome_store, "finish", die)
    with pytest.raises(Killed):
        send_due(due, "sms")
    assert sms(book)["state"] == "sending"
    assert book.one("SELECT reason FROM suppressions") == "opted_out"


def test_a_suppression_that_cannot_be_written_holds_up_neither_outcomes_nor_what_is_handed_back(
    story: Any, book: Any, version: Version, wired: Any, provider: Any
) -> None:
    book.at("2026-11-23T10:00Z")
    for n in range(2):
        borrower = book.borrower(f"B{n}", phone=f"+4477009001{n:02d}")
        book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    book.run("ALTER TABLE suppressions ADD CONSTRAINT no_more CHECK (channel <> 'sms')")
    provider.set_fault("error", status=400, code=21610)
    adapter = wired.adapter("sms", "twilio", "sandbox")
    adapter.capabilities = replace(adapter.capabilities, concurrency=1)
    wired.stopping = lambda: bool(provider.counts()["requests"])
    with pytest.raises(IntegrityError):
        send_due(wired, "sms")
    assert [row["state"] for row in book.messages(channel="sms")].count("failed") == 1
    assert [row["state"] for row in book.messages(channel="sms")].count("scheduled") == 1


class Killed(BaseException):
    pass


def die(*_: Any) -> None:
    raise Killed


def test_a_throttled_sender_waits_and_others_do_not(due: Any, book: Any, provider: Any) -> None:
    provider.set_fault("http_429", retry_after_s=90, times=1)
    send_due(due, "sms")
    assert send_due(due, "sms") == {}
    assert send_due(due, "in_app") == {"accepted": 1}
    assert book.rows("SELECT * FROM pauses") == []
    (waits,) = book.messages(channel="sms")
    assert timedelta(seconds=80) < waits["send_at"] - book.now() <= timedelta(seconds=90)


def test_wrong_credentials_pause_the_channel_and_fail_nothing(
    due: Any, story: Any, book: Any, provider: Any
) -> None:
    provider.set_fault("unauthorized", times=1)
    send_due(due, "sms")
    assert send_due(due, "sms") == {}  # paused until a person resumes
    (pause,) = book.rows("SELECT * FROM pauses")
    assert pause["until_at"] is None
    book.run("UPDATE pauses SET resumed_at = now()")
    assert send_due(due, "sms") == {"planned": 1}  # decided again before a retry
    story.admit()
    assert send_due(due, "sms") == {"accepted": 1}


def test_a_refused_connection_is_tried_again_and_decided_again_before_it(
    due: Any, story: Any, book: Any, sandbox: Any
) -> None:
    working = due.adapter("sms", "twilio", "sandbox")
    dead = type(working).from_config(
        ProviderConfig(
            {"account_sid": SID, "auth_token": "x", "base_url": "http://127.0.0.1:9"},
            "http://127.0.0.1:9",
            "",
        )
    )
    living, due.adapter = due.adapter, lambda *_: dead
    assert send_due(due, "sms") == {"transient": 1}
    due.run(dead.close())
    message = sms(book)
    assert (message["state"], message["reason"], message["attempts"]) == ("scheduled", "retry", 1)
    assert timedelta(seconds=10) < message["send_at"] - book.now() <= timedelta(seconds=30)
    due.adapter = living
    book.at("2026-11-23T10:05Z")
    assert send_due(due, "sms") == {"planned": 1}
    story.admit()
    assert send_due(due, "sms") == {"accepted": 1}
    assert book.one("SELECT count(*) FROM attempts") == 2


def test_an_unconfirmed_sms_that_the_provider_has_is_found_and_never_sent_again(
    due: Any, book: Any, provider: Any
) -> None:
    provider.set_fault("drop_after", times=1)
    send_due(due, "sms")
    assert sms(book)["state"] == "unconfirmed"
    settle_later(due, book)
    assert sms(book)["state"] == "sent"
    assert provider.counts()["messages"] == {str(sms(book)["id"]): 1}


def test_an_unconfirmed_sms_goes_again_only_after_two_empty_listings(
    due: Any, story: Any, book: Any, provider: Any
) -> None:
    provider.set_fault("drop_before", times=1)
    send_due(due, "sms")
    settle_later(due, book)
    assert (sms(book)["state"], sms(book)["checks"]) == ("unconfirmed", 1)
    assert provider.counts()["calls"]["list"] == 1
    settle_later(due, book)
    assert (sms(book)["state"], sms(book)["reason"]) == ("scheduled", "not_at_provider")
    assert send_due(due, "sms") == {"planned": 1}
    story.admit()
    assert send_due(due, "sms") == {"accepted": 1}
    assert provider.counts()["messages"] == {str(sms(book)["id"]): 1}


def test_a_provider_that_cannot_be_asked_leaves_it_unconfirmed(due: Any, book: Any, provider: Any) -> None:
    provider.set_fault("drop_before", times=1)
    provider.set_fault("error", on="list", status=503, code=20503)
    send_due(due, "sms")
    for _ in range(3):
        settle_later(due, book)
    assert sms(book)["state"] == "unconfirmed"
    assert provider.counts()["requests"] == {str(sms(book)["id"]): 1}


def settle_later(runtime: Any, book: Any) -> None:
    """Past the settle time and the lease of whoever may still be posting."""
    kept = runtime.timing
    runtime.timing = replace(kept, lease_s=0.0, request_s=0.0, sandbox_settle_s=0.0)
    book.run("UPDATE messages SET check_at = dunlin_now() WHERE state = 'unconfirmed'")
    settle_due(runtime)
    runtime.timing = kept


def test_one_bad_number_does_not_hold_up_the_batch(
    story: Any, book: Any, version: Version, wired: Any, provider: Any
) -> None:
    book.at("2026-11-23T10:00Z")
    for n in range(30):
        book.account(
            book.borrower(f"B{n}", phone=f"+4477009001{n:02d}"), f"A{n}", due_on=TODAY - timedelta(days=3)
        )
    provider.set_fault("error", to="+447700900107", status=400, code=21211)
    story.plan(version)
    story.admit()
    assert send_due(wired, "sms") == {"accepted": 29, "permanent": 1}
    assert max(provider.counts()["messages"].values()) == 1


def test_a_message_that_cannot_be_built_fails_alone(
    story: Any, book: Any, version: Version, wired: Any, provider: Any
) -> None:
    book.at("2026-11-23T10:00Z")
    for n in range(3):
        book.account(
            book.borrower(f"B{n}", phone=f"+4477009001{n:02d}"), f"A{n}", due_on=TODAY - timedelta(days=3)
        )
    book.run("UPDATE borrowers SET phone = '12' WHERE external_id = 'B1'")
    story.plan(version)
    story.admit()
    counts = send_due(wired, "sms")
    assert counts["accepted"] == 2
    assert [row["reason"] for row in book.messages(channel="sms", state="failed")] == ["invalid_recipient"]


def test_nothing_is_posted_after_the_batchs_deadline(due: Any, book: Any, provider: Any) -> None:
    due.timing = replace(due.timing, deadline_s=0.0)
    assert send_due(replace_box(due), "sms")["handed_back"] >= 1
    assert provider.counts()["requests"] == {}
    assert sms(book)["state"] == "scheduled"
    assert sms(book)["attempts"] == 0


def replace_box(runtime: Any) -> Any:
    runtime.timing = replace(runtime.timing, time_box_s=0.05)
    return runtime


@pytest.fixture
def due_email(story: Any, book: Any, version: Version, wired: Any) -> Any:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    story.plan(version)
    story.admit()
    return wired


def email(book: Any) -> Any:
    (row,) = book.messages(channel="email")
    return row


def test_an_email_arrives_with_both_parts_and_its_one_click_headers(
    due_email: Any, book: Any, provider: Any
) -> None:
    assert send_due(due_email, "email") == {"accepted": 1}
    (received,) = provider.messages(channel="email")
    message = email(book)
    assert received["message_id"] == str(message["id"])
    assert message["state"] == "sent"
    headers = {name.lower(): value for name, value in received["headers"]}
    assert headers["message-id"] == f"<{message['id']}.2026-11-23@uk.example.com>"
    assert headers["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert f"m={message['id']}" in headers["list-unsubscribe"]


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        ({"kind": "greet_421"}, "scheduled", "retry"),
        ({"kind": "rcpt_reject", "code": 450}, "scheduled", "retry"),
        ({"kind": "rcpt_reject", "code": 550}, "failed", "invalid_recipient"),
        ({"kind": "data_reject", "code": 451}, "scheduled", "retry"),
        ({"kind": "drop_before_data"}, "scheduled", "retry"),
        ({"kind": "drop_after_data"}, "unconfirmed", "outcome_unknown"),
    ],
    ids=lambda value: value["kind"] + str(value.get("code", "")) if isinstance(value, dict) else None,
)
def test_what_the_mail_server_says_decides(
    due_email: Any, book: Any, provider: Any, fault: dict[str, Any], state: str, reason: str
) -> None:
    provider.set_fault(**fault)
    send_due(due_email, "email")
    assert (email(book)["state"], email(book)["reason"]) == (state, reason)
    settle_later(due_email, book)
    if state == "unconfirmed":  # nobody can ask a mail server: a person decides
        assert email(book)["state"] == "unconfirmed"
