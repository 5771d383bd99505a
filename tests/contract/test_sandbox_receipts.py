"""What the sandbox posts back: status callbacks and inbound messages, signed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import parse_qsl

import pytest
import requests
from twilio.request_validator import RequestValidator

from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig

CONFIG = SandboxConfig(progress_s=0.03)
BORROWER = "+12065550101"
SENDER = "+15005550006"
QUERY = (
    "b=2031-03-01&m=11111111-1111-4111-8111-111111111111&a=22222222-2222-4222-8222-222222222222&x=%2B%20%7Ey"
)


@dataclass
class Received:
    path: str
    form: dict[str, str]
    signature: str
    at: float


@dataclass
class Receiver:
    url: str
    requests: list[Received] = field(default_factory=list)
    status: int = 204

    def statuses(self) -> list[str]:
        return [request.form["MessageStatus"] for request in self.requests]

    def signed(self, request: Received) -> bool:
        return RequestValidator(CONFIG.auth_token).validate(
            self.url + request.path, request.form, request.signature
        )


@pytest.fixture(scope="module")
def box() -> Iterator[SandboxProcess]:
    with sandbox_process(CONFIG) as running:
        yield running


@pytest.fixture
def receiver(box) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = dict(parse_qsl(body, keep_blank_values=True))
            signature = self.headers.get("X-Twilio-Signature", "")
            made.requests.append(Received(self.path, form, signature, time.monotonic()))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    box.client.clear_faults()
    box.client.reset()
    server.shutdown()
    thread.join()
    server.server_close()


def wait_for(condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "did not come true in time"
        time.sleep(0.01)


def send(box, callback, **fields):
    form = {"To": BORROWER, "From": SENDER, "Body": "Your payment is due.", "StatusCallback": callback}
    answer = requests.post(
        f"{box.client.base_url}/2010-04-01/Accounts/{CONFIG.account_sid}/Messages.json",
        data=form | fields,
        auth=(CONFIG.account_sid, CONFIG.auth_token),
        timeout=5,
    )
    assert answer.status_code == 201
    return answer.json()


def after_two_more_messages(box, receiver):
    """Returns when two later messages have told everything: a receipt still due would have come before."""
    for _ in range(2):
        told = len(box.client.messages())
        send(box, receiver.url + "/later")
        wait_for(lambda told=told: len(box.client.messages()[told]["receipts"]) == 2)


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
