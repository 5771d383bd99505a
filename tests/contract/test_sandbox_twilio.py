"""The sandbox's Messages API seen through Twilio's own SDK: creating and fetching."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from tests.contract.twilio_sdk import BORROWER, SENDER, SERVICE, LoopbackHttp, refusal, send, wait_for
from worker.sandbox.server import SandboxConfig

CONFIG = SandboxConfig(progress_s=0.02)


def test_a_message_from_a_number_starts_queued_and_unsent(twilio):
    message = send(twilio, body="Bonjour €")
    assert (message.status, message.from_, message.to) == ("queued", SENDER, BORROWER)
    assert (message.body, message.num_segments, message.direction) == ("Bonjour €", "1", "outbound-api")
    assert (message.date_sent, message.error_code, message.messaging_service_sid) == (None, None, None)
    assert abs(datetime.now(UTC) - message.date_created) < timedelta(seconds=5)
    assert message.sid.startswith("SM")
    assert len(message.sid) == 34
    assert message.uri.endswith(f"/Messages/{message.sid}.json")


def test_a_message_of_a_service_starts_accepted_and_gets_its_number_later(twilio):
    message = send(twilio, from_=None, messaging_service_sid=SERVICE)
    assert (message.status, message.from_, message.num_segments) == ("accepted", None, "0")
    wait_for(lambda: twilio.messages(message.sid).fetch().status == "delivered")
    settled = twilio.messages(message.sid).fetch()
    assert (settled.from_, settled.num_segments) == (CONFIG.pool_number, "1")
    assert settled.messaging_service_sid == SERVICE


def test_a_message_can_be_fetched_at_once_and_is_sent_then_delivered(twilio):
    made = send(twilio)
    seen = [made, twilio.messages(made.sid).fetch()]
    while seen[-1].status != "delivered" and len(seen) < 1000:
        seen.append(twilio.messages(made.sid).fetch())
    # On a busy machine a step may pass between two looks; none is seen after a later one.
    steps = ["queued", "sent", "delivered"]
    places = [steps.index(message.status) for message in seen]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 2)
    assert all((message.date_sent is None) == (message.status == "queued") for message in seen)


def test_an_unknown_sid_is_not_found(twilio):
    with pytest.raises(TwilioRestException) as caught:
        twilio.messages("SM" + "0" * 32).fetch()
    assert (caught.value.status, caught.value.code) == (404, 20404)


@pytest.mark.parametrize(
    ("recipient", "code"),
    [
        ("+15005550001", 21211),
        ("+15005550002", 21612),
        ("+15005550003", 21408),
        ("+15005550004", 21610),
        ("+15005550009", 21614),
    ],
)
def test_twilios_magic_recipients_fail_as_they_do_there(box, twilio, recipient, code):
    assert refusal(twilio, to=recipient) == (400, code)
    assert box.client.counts()["channels"]["sms"] == {"accepted": 0, "refused": 1}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"to": ""}, 21604),
        ({"to": "2065550101"}, 21211),
        ({"to": "+0065550101"}, 21211),
        ({"to": "+1206555010١"}, 21211),
        ({"from_": ""}, 21603),
        ({"from_": "12345678901234"}, 21212),
        ({"from_": BORROWER}, 21266),
        ({"messaging_service_sid": "MG123"}, 21705),
        ({"body": ""}, 21602),
        ({"body": "x" * 1601}, 21617),
        ({"validity_period": 0}, 21624),
        ({"validity_period": 36001}, 21624),
        ({"status_callback": "ftp://example.com/x"}, 21609),
        ({"status_callback": "/relative"}, 21609),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_and_counted(box, twilio, fields, code):
    assert refusal(twilio, **fields) == (400, code)
    assert box.client.counts()["channels"]["sms"] == {"accepted": 0, "refused": 1}
    assert box.client.messages(outcome="refused")[0]["reason"] == str(code)


def test_wrong_credentials_are_refused_everywhere(box):
    http = LoopbackHttp(box.client.base_url)
    stranger = Client(CONFIG.account_sid, "wrong", http_client=http)
    assert refusal(stranger) == (401, 20003)
    with pytest.raises(TwilioRestException) as caught:
        stranger.messages("SM" + "0" * 32).fetch()
    assert caught.value.code == 20003
    http.session.close()


def test_an_api_key_opens_the_api_too(box):
    http = LoopbackHttp(box.client.base_url)
    client = Client(CONFIG.api_key_sid, CONFIG.api_key_secret, CONFIG.account_sid, http_client=http)
    assert send(client).status == "queued"
    http.session.close()


def test_another_account_is_not_found(box):
    http = LoopbackHttp(box.client.base_url)
    client = Client(CONFIG.account_sid, CONFIG.auth_token, "AC" + "1" * 32, http_client=http)
    assert refusal(client) == (404, 20404)
    http.session.close()


def test_our_ids_come_from_the_status_callback(box, twilio):
    message_id, attempt_id = str(uuid4()), str(uuid4())
    callback = f"http://127.0.0.1:9/webhooks/twilio/status?b=2031-03-01&m={message_id}&a={attempt_id}"
    box.client.set_fault("never")
    send(twilio, status_callback=callback)
    send(twilio, status_callback=callback)
    box.client.clear_faults()
    assert box.client.counts()["messages"] == {message_id: 2}
    (first, _) = box.client.messages(message_id=message_id)
    assert (first["attempt_id"], first["status_callback"]) == (attempt_id, callback)


def test_a_message_without_callback_is_counted_by_its_text(box, twilio):
    send(twilio, body="one")
    send(twilio, body="one")
    send(twilio, body="two")
    assert sorted(box.client.counts()["messages"].values()) == [1, 2]


def test_a_borrower_who_wrote_stop_is_refused_until_start(box, twilio):
    def says(word):
        box.client.inbound(borrower=BORROWER, sender=SENDER, body=word, url="http://127.0.0.1:9/inbound")

    says(" stop ")
    assert refusal(twilio) == (400, 21610)
    assert refusal(twilio, from_=None, messaging_service_sid=SERVICE) == (400, 21610)
    assert send(twilio, to="+12065550102").status == "queued"
    assert send(twilio, from_="+12065550199").status == "queued"
    says("START")
    assert send(twilio).status == "queued"
