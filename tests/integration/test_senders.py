"""Who carries a channel: circuit breakers, rates and failover, with real adapters and providers in processes
of their own.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from worker.channels.base import Channel, ProviderConfig
from worker.channels.sms_twilio import TwilioSms
from worker.domain.breaker import CAREFUL_CHUNK, MOST_BAD, PROBES
from worker.pipeline import control
from worker.pipeline.book import sync_portfolios
from worker.pipeline.carriers import carriers
from worker.pipeline.send import send_due
from worker.pipeline.settle import settle_due
from worker.portfolios.load import Version
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig
from worker.store import claim
from worker.store.engine import autocommit

TODAY = date(2026, 11, 23)
SID = "AC" + "0" * 32


class OtherSms(TwilioSms):
    """A second company that speaks the same protocol."""

    provider: ClassVar[str] = "other"


@pytest.fixture(scope="module")
def first_sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=30.0)) as running:
        yield running


@pytest.fixture(scope="module")
def second_sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=30.0)) as running:
        yield running


def emptied(sandbox: SandboxProcess) -> SandboxClient:
    sandbox.client.reset()
    sandbox.client.clear_faults()
    return sandbox.client


@pytest.fixture
def first(first_sandbox: SandboxProcess) -> SandboxClient:
    return emptied(first_sandbox)


@pytest.fixture
def second(second_sandbox: SandboxProcess) -> SandboxClient:
    return emptied(second_sandbox)


@pytest.fixture
def wired(runtime: Any, first: SandboxClient, second: SandboxClient) -> Iterator[Any]:
    """Twilio, and another provider of the same channel at another address."""
    made: dict[str, Channel] = {}
    urls = {"twilio": first.base_url, "other": second.base_url}

    def adapter(channel: str, name: str, _mode: str) -> Channel:
        assert channel == "sms"
        if name not in made:
            options = {
                "account_sid": SID,
                "auth_token": "sandbox",
                "base_url": urls[name],
                "timeout_s": "0.5",
            }
            kind = OtherSms if name == "other" else TwilioSms
            made[name] = kind.from_config(ProviderConfig(options, "http://127.0.0.1:9", ""))
        return made[name]

    runtime.adapter = adapter
    runtime.lookups = frozenset({("sms", "twilio"), ("sms", "other")})
    yield runtime
    for each in made.values():
        runtime.run(each.close())


def portfolio(amended: Any, **changes: Any) -> Version:
    changed: Version = amended(changes)
    return changed


@pytest.fixture
def fill(story: Any, book: Any, wired: Any) -> Any:
    """Makes borrowers whose SMS may go now, under a policy."""

    def make(version: Version, count: int) -> None:
        sync_portfolios(book.engine, {"uk": version})
        book.at("2026-11-23T10:00Z")
        for n in range(count):
            borrower = book.borrower(f"B{n}", phone=f"+4477009{n:05d}")
            book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=3))
        story.plan(version)
        story.admit()

    return make


def states(book: Any) -> Counter[str]:
    return Counter(row["state"] for row in book.messages(channel="sms"))


def sender(book: Any, provider: str = "twilio") -> Any:
    rows = book.rows("SELECT * FROM senders WHERE provider = :p", p=provider)
    return rows[0] if rows else None


def its_time_comes(book: Any) -> None:
    book.run("UPDATE senders SET retry_at = clock_timestamp() WHERE state = 'open'")


BOTH: dict[str, Any] = {"providers": {"sms": ["twilio", "other"]}}


def test_a_sender_whose_answers_are_unknown_stops_early_and_nothing_of_the_rest_is_tried_or_fails(
    fill: Any, wired: Any, book: Any, first: Any, version: Version
) -> None:
    fill(version, 80)
    wired.timing = replace(wired.timing, claim_batch=12)
    first.set_fault("http_500")
    with capture_logs() as logs:
        for _ in range(3):
            send_due(wired, "sms")
    assert states(book) == {"unconfirmed": 12, "scheduled": 68}
    assert {row["attempts"] for row in book.messages(state="scheduled", channel="sms")} == {0}
    assert sender(book)["state"] == "open"
    assert timedelta(seconds=55) < sender(book)["retry_at"] - sender(book)["changed_at"]
    assert [log["state"] for log in logs if log["event"] == "sender.changed"] == ["open"]


def test_in_trouble_few_requests_are_under_way_at_once(
    fill: Any, wired: Any, book: Any, first: Any, version: Version
) -> None:
    fill(version, 60)
    book.run(
        "INSERT INTO senders (portfolio_id, channel, provider, recent) "
        "VALUES ('uk', 'sms', 'twilio', 'xxxxx')"
    )
    first.set_fault("http_500")
    send_due(wired, "sms")
    assert states(book)["unconfirmed"] == CAREFUL_CHUNK


def test_half_open_a_few_try_it_one_process_at_a_time_and_good_answers_close_it(
    fill: Any, wired: Any, book: Any, first: Any, version: Version
) -> None:
    fill(version, 40)
    wired.timing = replace(wired.timing, claim_batch=MOST_BAD)
    first.set_fault("http_500")
    send_due(wired, "sms")
    assert states(book) == {"unconfirmed": MOST_BAD, "scheduled": 40 - MOST_BAD}
    its_time_comes(book)
    send_due(wired, "sms")  # as bad as before
    assert states(book)["unconfirmed"] == MOST_BAD + PROBES
    assert (sender(book)["state"], sender(book)["trips"]) == ("open", 2)
    its_time_comes(book)
    first.clear_faults()
    book.run("UPDATE senders SET state = 'half_open', retry_at = clock_timestamp() + interval '1 minute'")
    assert send_due(wired, "sms") == {}  # another process is trying it
    book.run("UPDATE senders SET retry_at = clock_timestamp()")  # and died
    send_due(wired, "sms")
    assert states(book) == {"unconfirmed": MOST_BAD + PROBES, "sent": 40 - MOST_BAD - PROBES}
    assert (sender(book)["state"], sender(book)["recent"], sender(book)["trips"]) == ("closed", "", 0)


def test_a_good_sender_costs_no_write(fill: Any, wired: Any, book: Any, version: Version) -> None:
    fill(version, 5)
    assert send_due(wired, "sms") == {"accepted": 5}
    assert sender(book) is None


def test_what_waits_for_a_provider_beyond_its_end_expires_with_that_reason(
    fill: Any, wired: Any, book: Any, first: Any, version: Version
) -> None:
    fill(version, 1)
    book.run(
        "INSERT INTO senders (portfolio_id, channel, provider, state, retry_at) "
        "VALUES ('uk', 'sms', 'twilio', 'open', clock_timestamp() + interval '1 hour')"
    )
    assert send_due(wired, "sms") == {}
    book.at("2026-11-27T10:00Z")
    settle_due(wired)
    (row,) = book.messages(channel="sms")
    assert (row["state"], row["reason"]) == ("expired", "expired.provider_away")


def test_a_rate_is_kept_over_batches_and_what_it_does_not_let_through_is_not_claimed(
    fill: Any, wired: Any, book: Any, first: Any, amended: Any
) -> None:
    fill(portfolio(amended, senders={"sms": {"twilio": {"per_second": 4}}}), 30)
    wired.timing = replace(wired.timing, time_box_s=0.1)
    began = wired.clock.monotonic()
    assert send_due(wired, "sms") == {"accepted": 24}  # one second's worth, and five seconds' more
    assert wired.clock.monotonic() - began >= 4.5
    assert send_due(wired, "sms") == {"accepted": 6}
    assert wired.clock.monotonic() - began >= 6.0
    assert {row["outcome"] for row in book.rows("SELECT outcome FROM attempts")} == {"accepted"}


def test_too_many_requests_slow_this_sender_and_no_other(
    fill: Any, wired: Any, book: Any, first: Any, second: Any, amended: Any
) -> None:
    fill(portfolio(amended, **BOTH), 3)
    first.set_fault("http_429", retry_after_s=30, times=1)
    send_due(wired, "sms")
    book.run("UPDATE messages SET send_at = dunlin_now() WHERE state = 'scheduled'")
    before = first.counts()["calls"]["create"]
    send_due(wired, "sms")
    assert first.counts()["calls"]["create"] == before
    book.run("UPDATE messages SET next_provider = 'other' WHERE state = 'scheduled'")
    book.run("UPDATE messages SET attempted_at = NULL WHERE state = 'scheduled'")
    assert send_due(wired, "sms")["accepted"] >= 1
    assert {row["attempts"] for row in book.messages(channel="sms", state="scheduled")} <= {0}


def again(wired: Any, story: Any, book: Any) -> None:
    """A retry is decided again before it goes."""
    for _ in range(2):
        book.run("UPDATE messages SET send_at = dunlin_now() WHERE state = 'scheduled'")
        send_due(wired, "sms")
        story.admit()
    send_due(wired, "sms")


def test_a_certain_refusal_goes_to_the_next_provider_at_once(
    fill: Any, wired: Any, story: Any, book: Any, first: Any, second: Any, amended: Any
) -> None:
    changes = {**BOTH, "senders": {"sms": {"other": {"sms_from": "+12025550111"}}}}
    fill(portfolio(amended, **changes), 2)
    first.set_fault("error", status=400, code=21612)
    assert send_due(wired, "sms")["permanent"] == 2
    assert {row["reason"] for row in book.messages(channel="sms")} <= {"failover", "retry"}
    again(wired, story, book)
    assert states(book) == {"sent": 2}
    assert sorted(second.counts()["messages"].values()) == [1, 1]
    assert first.counts()["messages"] == {}
    assert {row["from"] for row in second.messages(channel="sms")} == {"+12025550111"}


@pytest.mark.parametrize("code", [21211, 21610, 30007])
def test_what_is_the_recipients_or_the_texts_own_fault_fails_and_goes_nowhere_else(
    fill: Any, wired: Any, story: Any, book: Any, first: Any, second: Any, amended: Any, code: int
) -> None:
    fill(portfolio(amended, **BOTH), 1)
    first.set_fault("error", status=400, code=code)
    send_due(wired, "sms")
    again(wired, story, book)
    assert states(book) == {"failed": 1}
    assert second.counts()["requests"] == {}


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "http_500", "timeout"])
def test_an_unknown_outcome_never_goes_to_another_provider(
    fill: Any, wired: Any, story: Any, book: Any, first: Any, second: Any, amended: Any, fault: str
) -> None:
    fill(portfolio(amended, **BOTH), 1)
    first.set_fault(fault, times=1)
    send_due(wired, "sms")
    assert states(book) == {"unconfirmed": 1}
    # The first is open for other messages' sake; this one waits for its word all the same.
    book.run(
        "INSERT INTO senders (portfolio_id, channel, provider, state, retry_at) "
        "VALUES ('uk', 'sms', 'twilio', 'open', clock_timestamp() + interval '1 hour') "
        "ON CONFLICT (portfolio_id, channel, provider) DO UPDATE SET state = 'open', "
        "retry_at = excluded.retry_at"
    )
    wired.timing = replace(wired.timing, lease_s=0.0, request_s=0.0, sandbox_settle_s=0.0)
    for _ in range(3):
        book.run("UPDATE messages SET check_at = dunlin_now() WHERE state = 'unconfirmed'")
        settle_due(wired)
    wired.timing = replace(wired.timing, lease_s=30.0)
    again(wired, story, book)
    assert second.counts()["requests"] == {}
    assert states(book) == ({"sent": 1} if fault in ("drop_after", "timeout") else {"scheduled": 1})
    book.run("UPDATE senders SET state = 'closed'")
    again(wired, story, book)
    assert states(book) == {"sent": 1}
    assert second.counts()["requests"] == {}
    assert list(first.counts()["messages"].values()) == [1]


def test_while_the_first_is_open_the_second_carries_everything(
    fill: Any, wired: Any, story: Any, book: Any, first: Any, second: Any, amended: Any
) -> None:
    fill(portfolio(amended, **BOTH), 40)
    wired.timing = replace(wired.timing, claim_batch=MOST_BAD)
    first.set_fault("http_500")
    send_due(wired, "sms")
    send_due(wired, "sms")
    assert states(book) == {"unconfirmed": MOST_BAD, "sent": 40 - MOST_BAD}
    assert len(second.counts()["messages"]) == 40 - MOST_BAD


def test_one_with_wrong_credentials_is_left_out_with_one_alarm_until_somebody_resumes(
    fill: Any, wired: Any, story: Any, book: Any, first: Any, second: Any, amended: Any
) -> None:
    fill(portfolio(amended, **BOTH), 4)
    first.set_fault("unauthorized")
    with capture_logs() as logs:
        send_due(wired, "sms")
        again(wired, story, book)
    assert states(book) == {"sent": 4}
    assert len(second.counts()["messages"]) == 4
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["sender.shut"]
    assert (sender(book)["state"], sender(book)["retry_at"]) == ("open", None)
    assert book.rows("SELECT * FROM pauses") == []
    assert control.resume(book.engine, portfolio=None, channel="sms", by="anna") == 1
    assert sender(book)["state"] == "closed"


def test_when_no_provider_is_left_the_channel_pauses_and_one_resume_brings_all_back(
    fill: Any, wired: Any, story: Any, book: Any, first: Any, second: Any, amended: Any
) -> None:
    fill(portfolio(amended, **BOTH), 4)
    first.set_fault("unauthorized")
    second.set_fault("unauthorized")
    with capture_logs() as logs:
        for _ in range(3):
            again(wired, story, book)
    alarms = [log["event"] for log in logs if log["log_level"] == "error"]
    assert alarms == ["sender.shut", "channel.paused"]
    assert set(states(book)) <= {"scheduled", "planned"}
    assert {row["attempts"] for row in book.messages(channel="sms")} == {0}
    first.clear_faults()
    second.clear_faults()
    assert control.resume(book.engine, portfolio=None, channel="sms", by="anna") == 2
    again(wired, story, book)
    assert states(book) == {"sent": 4}


@pytest.mark.parametrize("providers", [["twilio", "other"], ["twilio"]])
def test_two_processes_that_find_out_at_once_sound_one_alarm(
    fill: Any, wired: Any, book: Any, amended: Any, providers: list[str]
) -> None:
    fill(portfolio(amended, providers={"sms": providers}), 4)
    with autocommit(book.engine) as connection:
        (due,) = claim.due_portfolios(connection, "sms")
        both = [next(carriers(wired, connection, "sms", due)) for _ in range(2)]
    with capture_logs() as logs:
        for each in both:
            each.misconfigured(wired, "20003")
    assert [log["log_level"] for log in logs] == ["error"]
