"""Twilio's own SDK against the sandbox, and sends and waits as its tests need them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from worker.sandbox.config import SandboxConfig

SENDER = "+15005550006"
BORROWER = "+12065550101"
SERVICE = "MG" + "a" * 32
PATIENCE_S = 20.0


class LoopbackHttp(TwilioHttpClient):
    """The SDK's own client with another host."""

    def __init__(self, base_url: str) -> None:
        super().__init__(timeout=PATIENCE_S)
        self._base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self._base_url), *args, **kwargs)


@contextmanager
def sdk(base_url: str, config: SandboxConfig) -> Iterator[Client]:
    http = LoopbackHttp(base_url)
    yield Client(config.account_sid, config.auth_token, http_client=http)
    http.session.close()


def wait_for(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, "did not come true in time"
        time.sleep(0.01)


def send(twilio: Client, body: str = "Your payment is due.", **fields: Any) -> Any:
    return twilio.messages.create(**{"to": BORROWER, "from_": SENDER, "body": body} | fields)


def refusal(twilio: Client, **fields: Any) -> tuple[int, int]:
    """The status and the code with which a send is refused."""
    with pytest.raises(TwilioRestException) as caught:
        send(twilio, **fields)
    return caught.value.status, caught.value.code
