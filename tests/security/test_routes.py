"""Every route asks who is there, or is one of those that anybody may call; none can be flooded at our cost.

No database and no server: what is refused here is refused before either is needed.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from worker.channels.base import ProviderConfig
from worker.channels.sms_twilio import TwilioSms
from worker.pipeline.signers import Signer
from worker.store.engine import make_engine
from worker.web import health
from worker.web.app import (
    BAD_TOKENS_PER_MINUTE,
    FAILED_WEBHOOKS_PER_MINUTE,
    INBOX_REQUESTS_PER_MINUTE,
    LINK_REQUESTS_PER_MINUTE,
    make_app,
)
from worker.web.guard import MAX_BODY
from worker.web.service import WebConfig

KEY = "j" * 40
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
PUBLIC = {("GET", "/healthz"), ("GET", "/readyz")}
"""Anybody may call these; they say nothing about anybody."""
BY_SIGNATURE = {("POST", "/webhooks/twilio/status"), ("POST", "/webhooks/twilio/inbound")}
BY_LINK = {("GET", "/unsubscribe"), ("POST", "/unsubscribe")}
BY_TOKEN = {
    ("GET", "/api/inbox"),
    ("GET", "/api/inbox/stream"),
    ("POST", "/api/inbox/{message_id}/{event}"),
}


@pytest.fixture
def app() -> Any:
    twilio = TwilioSms.from_config(ProviderConfig({"account_sid": "AC1", "auth_token": "t"}, "", ""))
    return make_app(
        engine=make_engine(NOWHERE, "web"),
        redis_url="redis://127.0.0.1:1/0",
        config=WebConfig(
            public_url="https://dunlin.example.com",
            unsubscribe_key="l" * 40,
            inbox_jwt_key=KEY,
            production=True,
            ready_s=60.0,
        ),
        signers=[Signer(twilio, sandbox=False)],
    )


class Client:
    """Calls the application without a socket, on a loop of its own."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://dunlin.example.com"
        )

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._runner.run(self._http.request(method, path, **more))


@pytest.fixture
def client(app: Any) -> Iterator[Client]:
    with asyncio.Runner() as runner:
        yield Client(app, runner)


def routes(app: Any) -> set[tuple[str, str]]:
    """Method and path of everything that answers."""
    return {(method, path) for path, methods in _mounted(app.routes) for method in methods - {"HEAD"}}


def _mounted(found: Any, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    for route in found:
        if isinstance(route, Route | APIRoute):
            yield prefix + route.path, set(route.methods)
        else:  # something new: a mount, a web socket, an included router
            inner = getattr(route, "original_router", None) or getattr(route, "app", None)
            assert inner is not None, f"{route!r} is of a kind this test does not know"
            yield from _mounted(inner.routes, prefix)


def test_every_route_is_on_one_of_the_lists(app: Any) -> None:
    assert routes(app) == PUBLIC | BY_SIGNATURE | BY_LINK | BY_TOKEN


def called(client: Client, method: str, path: str, **more: Any) -> int:
    filled = path.format(message_id="00000000-0000-0000-0000-000000000001", event="seen")
    return client.request(method, filled, **more).status_code


@pytest.mark.parametrize(("method", "path"), sorted(BY_TOKEN))
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eDp4", "bearer " + "a." * 3])
def test_without_a_borrowers_token_nothing_is_opened(
    client: Client, method: str, path: str, header: str
) -> None:
    assert called(client, method, path, headers={"Authorization": header}) == 401


@pytest.mark.parametrize(("method", "path"), sorted(BY_SIGNATURE))
def test_without_the_providers_signature_nothing_is_taken(client: Client, method: str, path: str) -> None:
    assert called(client, method, path, data={"MessageSid": "SM1"}) == 403


@pytest.mark.parametrize(("method", "path"), sorted(BY_LINK))
def test_without_a_link_of_ours_nothing_is_changed(client: Client, method: str, path: str) -> None:
    assert called(client, method, path) == 403


@pytest.mark.parametrize(("method", "path"), sorted(PUBLIC | BY_SIGNATURE | BY_LINK | BY_TOKEN))
def test_no_route_reads_a_body_without_end(client: Client, method: str, path: str) -> None:
    assert called(client, method, path, content=b"x" * (MAX_BODY + 1)) == 413


@pytest.mark.parametrize(
    ("method", "path", "first", "allowed"),
    [
        *[(*route, 401, BAD_TOKENS_PER_MINUTE) for route in sorted(BY_TOKEN)],
        *[(*route, 403, FAILED_WEBHOOKS_PER_MINUTE) for route in sorted(BY_SIGNATURE)],
        *[(*route, 403, LINK_REQUESTS_PER_MINUTE) for route in sorted(BY_LINK)],
    ],
)
def test_who_is_refused_again_and_again_is_slowed_down(
    client: Client, method: str, path: str, first: int, allowed: int
) -> None:
    answers = [called(client, method, path) for _ in range(allowed + 3)]
    assert answers == [first] * allowed + [429] * 3


def token(borrower: str) -> dict[str, str]:
    claims = {"sub": borrower, "aud": "dunlin-inbox", "exp": int(time.time()) + 300}
    return {"Authorization": f"Bearer {jwt.encode(claims, KEY)}"}


def test_an_app_that_asks_without_pause_is_slowed_down_and_other_borrowers_are_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pipeline.inbox.fetch", lambda _engine, _borrower: [])
    asked = [
        called(client, "GET", "/api/inbox", headers=token("B1")) for _ in range(INBOX_REQUESTS_PER_MINUTE + 1)
    ]
    assert asked == [200] * INBOX_REQUESTS_PER_MINUTE + [429]
    assert called(client, "GET", "/api/inbox", headers=token("B2")) == 200


def test_however_often_anybody_asks_the_database_is_looked_at_now_and_then(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(health, "_look", lambda _engine: looks.append(1) or {"state": "ok"})
    assert {called(client, "GET", "/readyz") for _ in range(50)} == {503}  # Redis is away
    assert len(looks) == 1
