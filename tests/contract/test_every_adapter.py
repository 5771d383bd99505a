"""What every registered adapter must do, whatever its channel: each class of answer, brought about at a
provider in a process of its own. Nothing that raised `NotAccepted` may be there afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from worker.channels.base import (
    Accepted,
    Channel,
    ContentRejected,
    DeliveryError,
    Found,
    InvalidRecipient,
    Misconfigured,
    NotAccepted,
    OutcomeUnknown,
    Permanent,
    ProviderConfig,
    RecipientOptedOut,
    SignatureInvalid,
    Throttled,
    TooLate,
    Transient,
    WebhookRequest,
)
from worker.channels.registry import adapters
from worker.domain.message import InFlight, MessageRef, OutgoingMessage, Rendered, Sender
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process

T = TypeVar("T")
SENDER = Sender(messaging_service_sid="MG" + "a" * 32, email_from="Bank <care@example.com>")
Fault = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """One adapter, and how each class of answer is brought about at its provider."""

    address: str
    options: Callable[[SandboxProcess], dict[str, str]] = lambda _: {}
    answers: tuple[tuple[Fault, type[DeliveryError]], ...] = ()
    bad_address: str = "nobody"
    redis_url: str = field(default="redis://127.0.0.1:1/0")


SUBJECTS = {
    ("sms", "twilio"): Subject(
        address="+12065550101",
        options=lambda box: {
            "account_sid": "AC" + "0" * 32,
            "auth_token": "sandbox",
            "base_url": box.client.base_url,
            "timeout_s": "0.5",
        },
        answers=(
            ({"kind": "http_429"}, Throttled),
            ({"kind": "error", "status": 400, "code": 21730}, Transient),
            ({"kind": "error", "status": 400, "code": 21612}, Permanent),
            ({"kind": "error", "status": 400, "code": 21211}, InvalidRecipient),
            ({"kind": "error", "status": 400, "code": 21610}, RecipientOptedOut),
            ({"kind": "error", "status": 400, "code": 30007}, ContentRejected),
            ({"kind": "error", "status": 400, "code": 35117}, TooLate),
            ({"kind": "unauthorized"}, Misconfigured),
            ({"kind": "http_500"}, OutcomeUnknown),
            ({"kind": "http_500_after"}, OutcomeUnknown),
            ({"kind": "http_502"}, OutcomeUnknown),
            ({"kind": "timeout"}, OutcomeUnknown),
            ({"kind": "slow_drip"}, OutcomeUnknown),
            ({"kind": "drop_after"}, OutcomeUnknown),
            ({"kind": "garbage_200"}, OutcomeUnknown),
            ({"kind": "no_sid_200"}, OutcomeUnknown),
        ),
    ),
    ("email", "smtp"): Subject(
        address="borrower@example.com",
        options=lambda box: {
            "host": "127.0.0.1",
            "port": str(box.ports.smtp),
            "tls": "none",
            "timeout_s": "1",
            "data_timeout_s": "1",
        },
        answers=(
            ({"kind": "greet_421"}, Transient),
            ({"kind": "rcpt_reject", "code": 450}, Transient),
            ({"kind": "data_reject", "code": 451}, Transient),
            ({"kind": "drop_before_data"}, Transient),
            ({"kind": "rcpt_reject", "code": 550}, InvalidRecipient),
            ({"kind": "data_reject", "code": 554}, ContentRejected),
            ({"kind": "drop_after_data"}, OutcomeUnknown),
            ({"kind": "latency", "channel": "email", "s": 3.0, "accept_first": True}, OutcomeUnknown),
        ),
    ),
    ("in_app", "inbox"): Subject(address="B1", bad_address=" "),
}
ANSWERS = [
    pytest.param(pair, fault, error, id=f"{pair[1]}-{fault['kind']}{fault.get('code', '')}")
    for pair, subject in SUBJECTS.items()
    for fault, error in subject.answers
]
PAIRS = list(SUBJECTS)


def test_every_registered_adapter_is_held_to_this() -> None:
    assert set(adapters()) == set(SUBJECTS)


@pytest.fixture(scope="module")
def box() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=30.0, schedule_least_s=1.0)) as running:
        yield running


@pytest.fixture(autouse=True)
def _emptied(box: SandboxProcess) -> None:
    box.client.clear_faults()
    box.client.reset()


def config(pair: tuple[str, str], box: SandboxProcess) -> ProviderConfig:
    subject = SUBJECTS[pair]
    return ProviderConfig(subject.options(box), "http://127.0.0.1:9", subject.redis_url)


def message(pair: tuple[str, str], **changes: Any) -> OutgoingMessage:
    return OutgoingMessage(
        ref=MessageRef(date(2026, 11, 23), uuid4(), uuid4()),
        portfolio="uk",
        channel=pair[0],
        address=SUBJECTS[pair].address,
        rendered=Rendered("Please pay £120.50.", "Your account"),
        sender=SENDER,
        send_before_s=3600,
        **changes,
    )


def during(pair: tuple[str, str], box: SandboxProcess, act: Callable[[Channel], Awaitable[T]]) -> T:
    """Runs with a new adapter, and closes it, twice."""

    async def scene() -> T:
        adapter = adapters()[pair].from_config(config(pair, box))
        try:
            return await act(adapter)
        finally:
            await adapter.close()
            await adapter.close()

    return asyncio.run(scene())


def sent(pair: tuple[str, str], box: SandboxProcess, outgoing: OutgoingMessage) -> Accepted | DeliveryError:
    async def act(adapter: Channel) -> Accepted | DeliveryError:
        try:
            return await adapter.send(adapter.build(outgoing))
        except DeliveryError as error:
            return error

    return during(pair, box, act)


def in_flight(outgoing: OutgoingMessage) -> InFlight:
    digest = sha256(outgoing.rendered.text.encode()).hexdigest()
    return InFlight(outgoing.ref, outgoing.address, digest, outgoing.sender, datetime.now(UTC))


@pytest.mark.parametrize("pair", PAIRS)
def test_what_it_accepts_is_there_once_and_has_an_id(pair: tuple[str, str], box: SandboxProcess) -> None:
    result = sent(pair, box, message(pair))
    assert isinstance(result, Accepted)
    assert result.provider_id
    if SUBJECTS[pair].answers:
        assert list(box.client.counts()["messages"].values()) == [1]


@pytest.mark.parametrize(("pair", "fault", "error"), ANSWERS)
def test_each_answer_is_raised_as_what_it_means_after_one_request(
    pair: tuple[str, str], fault: Fault, error: type[DeliveryError], box: SandboxProcess
) -> None:
    box.client.set_fault(**fault)
    result = sent(pair, box, message(pair))
    assert type(result) is error
    assert "+1206" not in str(result)
    assert "borrower@" not in str(result)
    counts = box.client.counts()
    assert sum(counts["requests"].values()) <= 1
    if isinstance(result, NotAccepted):
        assert counts["messages"] == {}
    if isinstance(result, Throttled):
        assert 1 <= result.retry_after_s <= 3600


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if SUBJECTS[pair].answers])
def test_nobody_at_the_address_of_the_provider_is_a_certain_no(
    pair: tuple[str, str], box: SandboxProcess
) -> None:
    async def act(_: Channel) -> Accepted | DeliveryError:
        there = config(pair, box)
        nowhere = {"base_url": "http://127.0.0.1:1", "port": "1"}
        options = {name: nowhere.get(name, value) for name, value in there.options.items()}
        adapter = adapters()[pair].from_config(replace(there, options=options))
        try:
            return await adapter.send(adapter.build(message(pair)))
        except DeliveryError as error:
            return error
        finally:
            await adapter.close()

    assert type(during(pair, box, act)) is Transient


@pytest.mark.parametrize("pair", PAIRS)
def test_what_it_cannot_carry_is_refused_before_any_request(
    pair: tuple[str, str], box: SandboxProcess
) -> None:
    adapter = adapters()[pair].from_config(config(pair, box))
    good = message(pair)
    with pytest.raises(InvalidRecipient):
        adapter.build(replace(good, address=SUBJECTS[pair].bad_address))
    long = "x" * (adapter.capabilities.max_length + 1)
    for text in (long, " "):
        with pytest.raises(ContentRejected):
            adapter.build(replace(good, rendered=Rendered(text, "Your account")))
    if adapter.capabilities.max_title:
        title = "x" * (adapter.capabilities.max_title + 1)
        with pytest.raises(ContentRejected):
            adapter.build(replace(good, rendered=Rendered("Please pay.", title)))


@pytest.mark.parametrize("pair", PAIRS)
def test_check_finds_what_is_missing_and_sends_nothing(pair: tuple[str, str], box: SandboxProcess) -> None:
    adapters()[pair].from_config(config(pair, box)).check()
    with pytest.raises(Misconfigured):
        adapters()[pair].from_config(ProviderConfig({}, "", "")).check()
    assert box.client.counts()["requests"] == {}


@pytest.mark.parametrize("pair", PAIRS)
def test_it_can_be_asked_or_says_that_it_cannot(pair: tuple[str, str], box: SandboxProcess) -> None:
    known, unknown = message(pair), message(pair, extra={})
    unknown = replace(unknown, rendered=Rendered("Another text.", "Your account"))

    async def act(adapter: Channel) -> tuple[Any, Any]:
        await adapter.send(adapter.build(known))
        if not adapter.capabilities.lookup:
            with pytest.raises(OutcomeUnknown):
                await adapter.find(in_flight(known))
            return None, None
        return await adapter.find(in_flight(known)), await adapter.find(in_flight(unknown))

    found, not_found = during(pair, box, act)
    assert not_found is None
    assert isinstance(found, Found) == adapters()[pair].capabilities.lookup


@pytest.mark.parametrize("pair", PAIRS)
def test_what_waits_can_be_taken_back_once_where_it_says_so(
    pair: tuple[str, str], box: SandboxProcess
) -> None:
    async def act(adapter: Channel) -> list[bool]:
        leaves_at = datetime.now(UTC) + timedelta(minutes=5) if adapter.capabilities.recall else None
        waits = await adapter.send(adapter.build(message(pair, leaves_at=leaves_at)))
        gone = await adapter.send(adapter.build(message(pair)))
        return [await adapter.recall(each.provider_id) for each in (waits, waits, gone)]

    able = adapters()[pair].capabilities.recall
    assert during(pair, box, act) == [able, able, False]


@pytest.mark.parametrize("pair", PAIRS)
def test_an_unsigned_receipt_is_believed_by_nobody(pair: tuple[str, str], box: SandboxProcess) -> None:
    adapter = adapters()[pair].from_config(config(pair, box))
    with pytest.raises(SignatureInvalid):
        adapter.parse_receipt(WebhookRequest("http://127.0.0.1:9/", {"MessageStatus": "delivered"}, {}, {}))


@pytest.mark.parametrize("pair", PAIRS)
def test_its_facts_can_be_worked_with(pair: tuple[str, str]) -> None:
    able = adapters()[pair].capabilities
    assert able.concurrency >= 1
    assert able.max_length >= 160
    assert able.per_second is None or able.per_second > 0
    assert not (able.recall and not able.lookup), "what was taken back could not be looked at"
