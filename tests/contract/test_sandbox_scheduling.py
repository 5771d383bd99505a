"""Scheduled messages in the sandbox, seen through Twilio's own SDK."""

from datetime import UTC, datetime, timedelta

import pytest
from twilio.base.exceptions import TwilioRestException

from tests.contract.twilio_sdk import BORROWER, SENDER, SERVICE, refusal, send, wait_for
from worker.sandbox.create_rules import check
from worker.sandbox.server import SandboxConfig
from worker.sandbox.twilio_errors import ApiError

CONFIG = SandboxConfig(progress_s=0.02)


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
