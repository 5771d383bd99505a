"""Each way in which the sandbox's status callbacks can be told to mislead."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import pytest
import requests
from twilio.request_validator import RequestValidator

from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig

CONFIG = SandboxConfig(progress_s=0.03)
BORROWER = "+12065550101"
SENDER = "+15005550006"


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


def status_of(box):
    return box.client.messages()[-1]["status"]


def after_two_more_messages(box, receiver):
    """Returns when two later messages have told everything: a receipt still due would have come before."""
    for _ in range(2):
        told = len(box.client.messages())
        send(box, receiver.url + "/later")
        wait_for(lambda told=told: len(box.client.messages()[told]["receipts"]) == 2)


def test_fault_late_delays_receipts_but_not_the_message(box, receiver):
    box.client.set_fault("late", s=0.4)
    started = time.monotonic()
    send(box, receiver.url + "/status")
    wait_for(lambda: status_of(box) == "delivered")
    wait_for(lambda: len(receiver.requests) == 2)
    assert min(request.at for request in receiver.requests) - started >= 0.4


def test_fault_double_tells_each_step_twice(box, receiver):
    box.client.set_fault("double")
    send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 4)
    assert sorted(receiver.statuses()) == ["delivered", "delivered", "sent", "sent"]


def test_fault_reorder_tells_delivered_before_sent(box, receiver):
    box.client.set_fault("reorder")
    send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 2)
    assert receiver.statuses() == ["delivered", "sent"]
    assert all(receiver.signed(request) for request in receiver.requests)


def test_fault_never_tells_nothing(box, receiver):
    box.client.set_fault("never", times=1)
    send(box, receiver.url + "/status")
    after_two_more_messages(box, receiver)
    assert box.client.messages()[0]["status"] == "delivered"
    assert {request.path for request in receiver.requests} == {"/later"}


def test_fault_undelivered_ends_with_its_code(box, receiver):
    box.client.set_fault("undelivered", code=30005)
    message = send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 2)
    assert receiver.statuses() == ["sent", "undelivered"]
    assert receiver.requests[1].form["ErrorCode"] == "30005"
    resource = requests.get(
        box.client.base_url + message["uri"], auth=(CONFIG.account_sid, CONFIG.auth_token), timeout=5
    ).json()
    assert (resource["status"], resource["error_code"]) == ("undelivered", 30005)
    assert resource["error_message"]


def test_fault_contradict_takes_delivered_back(box, receiver):
    box.client.set_fault("contradict", code=30008)
    send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 3)
    assert receiver.statuses() == ["sent", "delivered", "undelivered"]
    assert receiver.requests[2].form["ErrorCode"] == "30008"
