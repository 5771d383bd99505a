"""Providers are asked for so long and no longer: a slow one must not hold up what else there is to settle."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from worker.channels.base import ProviderConfig
from worker.channels.sms_twilio import TwilioSms
from worker.pipeline.send import send_due
from worker.pipeline.settle import ask_providers
from worker.pipeline.unreceipted import ask_once
from worker.portfolios.load import Version
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig

TODAY = date(2026, 11, 23)
COUNT = 5


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=60.0)) as running:
        yield running


@pytest.fixture
def provider(sandbox: SandboxProcess) -> SandboxClient:
    sandbox.client.reset()
    sandbox.client.clear_faults()
    return sandbox.client


@pytest.fixture
def due(story: Any, book: Any, runtime: Any, version: Version, provider: SandboxClient) -> Iterator[Any]:
    """A few SMS that may go now, and whoever sends them."""
    book.at("2026-11-23T10:00Z")
    for n in range(COUNT):
        borrower = book.borrower(f"B{n}", phone=f"+4477009{n:05d}")
        book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    options = {"account_sid": "AC" + "0" * 32, "auth_token": "sandbox", "base_url": provider.base_url}
    adapter = TwilioSms(ProviderConfig(options, "http://127.0.0.1:9", ""))
    runtime.adapter = lambda *_: adapter
    runtime.timing = replace(runtime.timing, request_s=0.0, sandbox_settle_s=0.0)
    yield runtime
    runtime.run(adapter.close())


def asked(provider: SandboxClient) -> int:
    calls: int = provider.counts()["calls"].get("list", 0)
    return calls


def states(book: Any) -> set[str]:
    return {row["state"] for row in book.messages(channel="sms")}


@pytest.fixture
def unconfirmed(due: Any, book: Any, provider: SandboxClient) -> Any:
    """The provider took them and said nothing."""
    provider.set_fault("drop_after", channel="sms", times=COUNT)
    send_due(due, "sms")
    assert states(book) == {"unconfirmed"}
    book.run("UPDATE attempts SET started_at = clock_timestamp() - interval '2 hours'")
    book.run("UPDATE messages SET check_at = dunlin_now() WHERE state = 'unconfirmed'")
    return due


class ClockOfAnswers:
    """A second passes with each listing."""

    def __init__(self, provider: SandboxClient) -> None:
        self._provider = provider

    def monotonic(self) -> float:
        return float(asked(self._provider))


@pytest.mark.parametrize("why", ["told to stop", "time is up"])
def test_whoever_was_not_asked_about_in_time_is_asked_about_in_the_next_round(
    unconfirmed: Any, book: Any, provider: SandboxClient, why: str
) -> None:
    usual, clock = unconfirmed.timing, unconfirmed.clock
    # Who is put off before asking would be asked about again after this long.
    unconfirmed.timing = replace(usual, sandbox_settle_s=3600.0)
    if why == "told to stop":
        unconfirmed.stopping = lambda: asked(provider) > 1
    else:
        unconfirmed.timing = replace(unconfirmed.timing, time_box_s=2.0)
        unconfirmed.clock = ClockOfAnswers(provider)
    assert ask_providers(unconfirmed) == 2
    assert asked(provider) == 2
    unconfirmed.stopping, unconfirmed.clock, unconfirmed.timing = (lambda: False), clock, usual
    assert ask_providers(unconfirmed) == COUNT - 2
    assert (asked(provider), states(book)) == (COUNT, {"sent"})


def test_what_was_never_receipted_is_asked_about_once_though_a_round_was_cut_short(
    due: Any, book: Any, provider: SandboxClient
) -> None:
    send_due(due, "sms")
    book.at("2026-11-23T17:00Z")
    due.stopping = lambda: asked(provider) > 1
    ask_once(due)
    assert asked(provider) == 2
    due.stopping = lambda: False
    ask_once(due)
    ask_once(due)
    assert asked(provider) == COUNT
