"""Scheduled messages in the sandbox, seen through Twilio's own SDK."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from worker.sandbox.create_rules import check
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig
from worker.sandbox.twilio_errors import ApiError

CONFIG = SandboxConfig(progress_s=0.02)
SENDER = "+15005550006"
BORROWER = "+12065550101"
SERVICE = "MG" + "a" * 32


class LoopbackHttp(TwilioHttpClient):
    """The SDK's own client with another host."""

    def __init__(self, base_url):
        super().__init__(timeout=5)
        self._base_url = base_url

    def request(self, method, url, *args, **kwargs):
        return super().request(method, url.replace("https://api.twilio.com", self._base_url), *args, **kwargs)


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxProcess]:
    with sandbox_process(CONFIG) as process:
        yield process


@pytest.fixture
def box(running) -> Iterator[SandboxProcess]:
    yield running
    running.client.reset()


@pytest.fixture
def twilio(box) -> Iterator[Client]:
    http = LoopbackHttp(box.client.base_url)
    yield Client(CONFIG.account_sid, CONFIG.auth_token, http_client=http)
    http.session.close()


def wait_for(condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "did not come true in time"
        time.sleep(0.01)


def send(twilio, body="Your payment is due.", **fields):
    return twilio.messages.create(**{"to": BORROWER, "from_": SENDER, "body": body} | fields)


def refusal(twilio, **fields) -> tuple[int, int]:
    with pytest.raises(TwilioRestException) as caught:
        send(twilio, **fields)
    return caught.value.status, caught.value.code


def scheduled(twilio, ahead: timedelta, **fields):
    when = datetime.now(UTC) + ahead
    service = {"from_": None, "messaging_service_sid": SERVICE}
    return send(twilio, send_at=when, schedule_type="fixed", **service | fields)


def test_a_scheduled_message_waits_and_can_be_canceled_once(twilio):
    message = scheduled(twilio, timedelta(seconds=310))
    assert message.status == "scheduled"
    assert message.update(status="canceled").status == "canceled"
    with pytest.raises(TwilioRestException) as caught:
        twilio.messages(message.sid).update(status="canceled")
    assert caught.value.code == 30409


def test_a_message_that_was_not_scheduled_cannot_be_canceled(twilio):
    message = send(twilio)
    with pytest.raises(TwilioRestException) as caught:
        twilio.messages(message.sid).update(status="canceled")
    assert caught.value.code == 30409


def test_a_scheduled_message_can_be_let_go_ahead_of_its_time(box, twilio):
    message = scheduled(twilio, timedelta(days=34))
    assert box.client.release(scheduled=True) == 1
    wait_for(lambda: twilio.messages(message.sid).fetch().status == "delivered")


@pytest.mark.parametrize(
    ("ahead", "fields", "code"),
    [
        (timedelta(seconds=300), {}, 35117),
        (timedelta(seconds=-60), {}, 35117),
        (timedelta(days=35, seconds=60), {}, 35115),
        (timedelta(seconds=600), {"messaging_service_sid": None, "from_": SENDER}, 35118),
        (timedelta(seconds=600), {"schedule_type": None}, 35126),
        (timedelta(seconds=600), {"send_at": None}, 35111),
        (timedelta(seconds=600), {"send_at": "tomorrow"}, 35114),
        (timedelta(seconds=600), {"send_at": "2031-02-30T10:00:00Z"}, 35114),
    ],
)
def test_scheduling_outside_its_rules_is_refused(box, twilio, ahead, fields, code):
    service = {"from_": None, "messaging_service_sid": SERVICE, "schedule_type": "fixed"}
    when = {"send_at": datetime.now(UTC) + ahead}
    assert refusal(twilio, **(service | when | fields)) == (400, code)
    assert box.client.counts()["messages"] == {}


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        (timedelta(seconds=300), 35117),
        (timedelta(seconds=301), None),
        (timedelta(days=35), None),
        (timedelta(days=35, seconds=1), 35115),
    ],
)
def test_the_window_for_scheduling_ends_to_the_second(ahead, code):
    now = datetime(2031, 3, 1, 12, tzinfo=UTC)
    form = {"To": BORROWER, "Body": "x", "MessagingServiceSid": SERVICE, "ScheduleType": "fixed"}
    form["SendAt"] = (now + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")
    if code is None:
        assert check(form, now, 300.0).send_at == now + ahead
    else:
        with pytest.raises(ApiError) as caught:
            check(form, now, 300.0)
        assert caught.value.code == code
