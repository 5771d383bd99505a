"""A second mail server: the adapter for SMTP under another name, as a lender's package would have it."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, ClassVar

import pytest

from worker.channels.base import Channel, ProviderConfig
from worker.channels.email_smtp import SmtpEmail
from worker.pipeline.book import sync_portfolios
from worker.pipeline.send import send_due
from worker.sandbox.client import SandboxClient
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process

TODAY = date(2026, 11, 23)


class Relay(SmtpEmail):
    """The lender's other mail server."""

    provider: ClassVar[str] = "relay"


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[dict[str, SandboxProcess]]:
    with sandbox_process(SandboxConfig()) as first, sandbox_process(SandboxConfig()) as second:
        yield {"smtp": first, "relay": second}


@pytest.fixture
def due(
    runtime: Any, story: Any, book: Any, amended: Any, sandboxes: dict[str, SandboxProcess]
) -> Iterator[Any]:
    """One borrower with a mail that may go now, and two servers to carry it."""
    made: dict[str, Channel] = {}

    def adapter(_channel: str, name: str, _mode: str) -> Channel:
        if name not in made:
            kind = Relay if name == "relay" else SmtpEmail
            port = str(sandboxes[name].ports.smtp)
            made[name] = kind(ProviderConfig({"host": "127.0.0.1", "port": port, "tls": "none"}, "", ""))
        return made[name]

    for each in sandboxes.values():
        each.client.reset()
        each.client.clear_faults()
    version = amended(
        {
            "providers": {"email": ["smtp", "relay"]},
            "senders": {"email": {"relay": {"email_from": "Bank <relay@example.com>"}}},
        }
    )
    sync_portfolios(book.engine, {"uk": version})
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    story.plan(version)
    story.admit()
    runtime.adapter = adapter
    yield runtime
    for each in made.values():
        runtime.run(each.close())


def received(sandbox: SandboxProcess) -> list[dict[str, Any]]:
    client: SandboxClient = sandbox.client
    return client.messages(channel="email")


def test_what_the_first_server_turns_away_goes_by_the_second_from_its_own_address(
    due: Any, story: Any, book: Any, sandboxes: dict[str, SandboxProcess]
) -> None:
    sandboxes["smtp"].client.set_fault("greet_421")
    send_due(due, "email")
    story.admit()
    assert send_due(due, "email")["accepted"] == 1
    assert received(sandboxes["smtp"]) == []
    (mail,) = received(sandboxes["relay"])
    headers = {name.lower(): value for name, value in mail["headers"]}
    assert "relay@example.com" in headers["from"]


def test_a_mail_that_the_first_may_have_taken_never_goes_by_the_second(
    due: Any, story: Any, book: Any, sandboxes: dict[str, SandboxProcess]
) -> None:
    sandboxes["smtp"].client.set_fault("drop_after_data", times=1)
    send_due(due, "email")
    (message,) = book.messages(channel="email")
    assert (message["state"], message["next_provider"]) == ("unconfirmed", "smtp")
    story.admit()
    send_due(due, "email")
    assert received(sandboxes["relay"]) == []
