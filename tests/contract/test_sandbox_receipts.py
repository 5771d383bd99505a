"""What the sandbox posts back: status callbacks and inbound messages, signed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer

import requests

from tests.contract.callbacks import CONFIG, after_two_more_messages, send
from tests.contract.twilio_sdk import BORROWER, SENDER, wait_for

QUERY = (
    "b=2031-03-01&m=11111111-1111-4111-8111-111111111111&a=22222222-2222-4222-8222-222222222222&x=%2B%20%7Ey"
)


def test_each_step_is_told_signed_and_without_the_fragment(box, receiver):
    message = send(box, f"{receiver.url}/webhooks/twilio/status?{QUERY}#rc=3&rp=all")
    wait_for(lambda: len(receiver.requests) == 2)
    assert receiver.statuses() == ["sent", "delivered"]
    first, last = receiver.requests
    assert first.path == f"/webhooks/twilio/status?{QUERY}"
    assert receiver.signed(first)
    assert receiver.signed(last)
    assert first.form == {
        "AccountSid": CONFIG.account_sid,
        "MessageSid": message["sid"],
        "SmsSid": message["sid"],
        "MessageStatus": "sent",
        "SmsStatus": "sent",
        "To": BORROWER,
        "From": SENDER,
        "ApiVersion": "2010-04-01",
    }
    assert len(last.form["RawDlrDoneDate"]) == 10


def test_a_changed_receipt_no_longer_fits_its_signature(box, receiver):
    send(box, receiver.url + "/status")
    wait_for(lambda: receiver.requests)
    request = receiver.requests[0]
    request.form["MessageStatus"] = "delivered!"
    assert not receiver.signed(request)


def test_a_message_of_a_service_also_tells_that_it_was_queued(box, receiver):
    send(box, receiver.url + "/status", From="", MessagingServiceSid="MG" + "b" * 32)
    wait_for(lambda: len(receiver.requests) == 3)
    assert receiver.statuses() == ["queued", "sent", "delivered"]
    assert {request.form["MessagingServiceSid"] for request in receiver.requests} == {"MG" + "b" * 32}


def test_a_canceled_message_tells_so(box, receiver):
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 900))
    service = {"From": "", "MessagingServiceSid": "MG" + "b" * 32, "ScheduleType": "fixed", "SendAt": when}
    message = send(box, receiver.url + "/status", **service)
    requests.post(
        box.client.base_url + message["uri"],
        data={"Status": "canceled"},
        auth=(CONFIG.account_sid, CONFIG.auth_token),
        timeout=5,
    )
    wait_for(lambda: receiver.statuses() == ["canceled"])


def test_the_answer_to_each_receipt_is_kept_and_a_refused_one_is_not_repeated(box, receiver):
    receiver.status = 503
    send(box, receiver.url + "/status")
    wait_for(lambda: len(box.client.messages()[0]["receipts"]) == 2)
    assert box.client.messages()[0]["receipts"] == [
        {"status": "sent", "answer": "503"},
        {"status": "delivered", "answer": "503"},
    ]
    assert len(receiver.requests) == 2


@contextmanager
def closing_server(*, after_request: bool) -> Iterator[tuple[int, list[int]]]:
    """Closes each connection without an answer; tells its port and, in a list, each connection it had."""
    connections: list[int] = []

    class Handler(BaseRequestHandler):
        def handle(self):
            connections.append(1)
            if after_request:
                self.request.recv(65536)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], connections
        server.shutdown()
        thread.join()


def test_a_receipt_is_tried_once_more_when_no_connection_came_about(box, receiver):
    with closing_server(after_request=False) as (port, connections):
        # The connection dies before TLS is up, so nothing can have been posted.
        send(box, f"https://127.0.0.1:{port}/status")
        wait_for(lambda: len(box.client.messages()[0]["receipts"]) == 2)
    assert len(connections) == 4


def test_a_receipt_that_may_have_arrived_is_not_repeated(box, receiver):
    with closing_server(after_request=True) as (port, connections):
        send(box, f"http://127.0.0.1:{port}/status")
        wait_for(lambda: len(box.client.messages()[0]["receipts"]) == 2)
    assert len(connections) == 2


def test_a_receipt_nobody_takes_is_given_up(box, receiver):
    send(box, "http://127.0.0.1:9/status")
    wait_for(lambda: len(box.client.messages()[0]["receipts"]) == 2)
    assert {receipt["answer"] for receipt in box.client.messages()[0]["receipts"]} == {"ClientConnectorError"}


def test_fault_hold_keeps_a_message_queued_until_released(box, receiver):
    box.client.set_fault("hold", times=1)
    send(box, receiver.url + "/held")
    after_two_more_messages(box, receiver)
    assert box.client.messages()[0]["status"] == "queued"
    assert box.client.release() == 1
    wait_for(lambda: box.client.messages()[0]["status"] == "delivered")
    wait_for(lambda: [r.path for r in receiver.requests].count("/held") == 2)


def test_a_held_message_fails_when_its_validity_ends_and_a_released_one_does_not(box, receiver):
    box.client.set_fault("hold")
    send(box, receiver.url + "/released", ValidityPeriod="1")
    assert box.client.release() == 1
    send(box, receiver.url + "/status", ValidityPeriod="1")
    wait_for(lambda: box.client.messages()[1]["status"] == "failed")
    wait_for(lambda: len(receiver.requests) == 3)
    assert receiver.statuses() == ["sent", "delivered", "failed"]
    assert receiver.requests[2].form["ErrorCode"] == "30036"
    assert box.client.release() == 0


def test_after_a_reset_nothing_is_told_of_earlier_messages(box, receiver):
    box.client.set_fault("late", s=0.3, times=1)
    send(box, receiver.url + "/told-late")
    wait_for(lambda: box.client.messages()[0]["status"] == "delivered")
    send(box, receiver.url + "/not-sent-yet")
    box.client.reset()
    assert box.client.messages() == []
    started = time.monotonic()
    while time.monotonic() - started < 0.4:
        after_two_more_messages(box, receiver)
    assert {request.path for request in receiver.requests} == {"/later"}


def test_an_inbound_message_is_posted_signed(box, receiver):
    answer = box.client.inbound(
        borrower=BORROWER, sender=SENDER, body="STOP ¿?", url=receiver.url + "/in?k=1"
    )
    assert answer == "204"
    (request,) = receiver.requests
    assert request.path == "/in?k=1"
    assert receiver.signed(request)
    assert (request.form["From"], request.form["To"], request.form["Body"]) == (BORROWER, SENDER, "STOP ¿?")
    assert request.form["MessageSid"].startswith("SM")
    assert request.form["AccountSid"] == CONFIG.account_sid
