"""Somebody to whom the sandbox posts its status callbacks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import requests
from twilio.request_validator import RequestValidator

from tests.contract.twilio_sdk import BORROWER, PATIENCE_S, SENDER, wait_for
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess

CONFIG = SandboxConfig(progress_s=0.03)


@dataclass
class Received:
    path: str
    form: dict[str, str]
    signature: str
    at: float
    """On the monotonic clock."""


@dataclass
class Receiver:
    url: str
    requests: list[Received] = field(default_factory=list)
    status: int = 204
    """What it answers."""

    def statuses(self) -> list[str]:
        return [request.form["MessageStatus"] for request in self.requests]

    def signed(self, request: Received) -> bool:
        return RequestValidator(CONFIG.auth_token).validate(
            self.url + request.path, request.form, request.signature
        )


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = dict(parse_qsl(body, keep_blank_values=True))
            signature = self.headers.get("X-Twilio-Signature", "")
            made.requests.append(Received(self.path, form, signature, time.monotonic()))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def send(box: SandboxProcess, callback: str, **fields: str) -> dict[str, Any]:
    """Creates a message whose steps are told to `callback`; the provider's answer."""
    form = {"To": BORROWER, "From": SENDER, "Body": "Your payment is due.", "StatusCallback": callback}
    answer = requests.post(
        f"{box.client.base_url}/2010-04-01/Accounts/{CONFIG.account_sid}/Messages.json",
        data=form | fields,
        auth=(CONFIG.account_sid, CONFIG.auth_token),
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 201
    made: dict[str, Any] = answer.json()
    return made


def after_two_more_messages(box: SandboxProcess, receiver: Receiver) -> None:
    """Returns when two later messages have told everything: a receipt still due would have come before."""
    for _ in range(2):
        told = len(box.client.messages())
        send(box, receiver.url + "/later")
        wait_for(lambda told=told: len(box.client.messages()[told]["receipts"]) == 2)
