"""A real web server on loopback over a database of the test file, and messages to talk about.

The server and its database are shared by the tests of a file: each test has a borrower of its own.
"""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
import uvicorn
from twilio.request_validator import RequestValidator

from worker.channels.base import ProviderConfig
from worker.channels.sms_twilio import TwilioSms
from worker.domain.message import MessageRef
from worker.local import LocalServers
from worker.pipeline.signers import Signer
from worker.store.engine import make_engine
from worker.web.app import make_app
from worker.web.service import WebConfig

PUBLIC_URL = "https://dunlin.example.com"
ON = date(2026, 11, 2)
LINK_KEY = "l" * 40
JWT_KEY = "j" * 40
ACCOUNT = {"real": "AC" + "1" * 32, "sandbox": "AC" + "0" * 32}
TOKEN = {"real": "real-token", "previous": "token-before", "sandbox": "sandbox"}
MESSAGE = Path(__file__).with_name("message.sql")
PHONES = (f"+447700900{n:03d}" for n in itertools.count())


def _adapter(account: str, **tokens: str) -> TwilioSms:
    return TwilioSms.from_config(ProviderConfig({"account_sid": account, **tokens}, PUBLIC_URL, ""))


def _signers() -> list[Signer]:
    """The provider's adapter and the sandbox's, as an installation with both has them."""
    real = _adapter(ACCOUNT["real"], auth_token=TOKEN["real"], previous_auth_token=TOKEN["previous"])
    sandbox = _adapter(ACCOUNT["sandbox"], auth_token=TOKEN["sandbox"])
    return [Signer(real, sandbox=False), Signer(sandbox, sandbox=True)]


@contextmanager
def _serving(app: Any) -> Iterator[str]:
    """Serves on a socket of our own, so that nobody else can answer; yields the base URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            _until(lambda: server.started or not thread.is_alive())
            assert server.started
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(15)
            assert not thread.is_alive()


def _until(reached: Callable[[], Any], within_s: float = 10.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := reached()):
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.01)
    return value


@dataclass
class Web:
    """A running service and how its visitors speak."""

    http: httpx.Client

    def webhook(
        self,
        kind: str,
        query: str,
        form: Mapping[str, str],
        *,
        by: str = "real",
        signed_url: str | None = None,
        signed_form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A callback of Twilio's; what is signed is what is sent unless told otherwise."""
        path = f"/webhooks/twilio/{kind}" + (f"?{query}" if query else "")
        url = signed_url or PUBLIC_URL + path
        signature = RequestValidator(TOKEN[by]).compute_signature(url, dict(signed_form or form))
        sent = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
        return self.http.post(path, content=urlencode(form), headers=sent | dict(headers or {}))

    def receipt(
        self, ref: MessageRef, status: str = "delivered", *, by: str = "real", **form: str
    ) -> httpx.Response:
        values = self.form_of(status, by=by, MessageSid=f"SM{ref.message_id.hex}", **form)
        return self.webhook("status", self.query_of(ref), values, by=by)

    def text(self, body: str, *, sender: str, sid: str = "", by: str = "real", **form: str) -> httpx.Response:
        """A borrower's message to us."""
        values = self.form_of("", by=by, From=sender, To="+15005550006", Body=body, **form)
        if sid:
            values["MessageSid"] = sid
        return self.webhook("inbound", "", values, by=by)

    @staticmethod
    def query_of(ref: MessageRef) -> str:
        return f"b={ref.business_on}&m={ref.message_id}&a={ref.attempt_id}"

    @staticmethod
    def form_of(status: str, *, by: str = "real", **form: str) -> dict[str, str]:
        account = ACCOUNT["sandbox" if by == "sandbox" else "real"]
        return {"AccountSid": account, "MessageSid": f"SM{uuid4().hex}", "MessageStatus": status} | form

    @staticmethod
    def bearer(
        borrower: str | None, *, key: Any = JWT_KEY, algorithm: str = "HS256", **claims: Any
    ) -> dict[str, str]:
        """The header of a borrower's app; a claim of None is left out."""
        values = {"sub": borrower, "aud": "dunlin-inbox", "exp": int(time.time()) + 300} | claims
        given = {name: value for name, value in values.items() if value is not None}
        return {"Authorization": f"Bearer {jwt.encode(given, key, algorithm=algorithm)}"}


class Mailbag:
    """A borrower, and messages as the pipeline leaves them at a given moment, without the way there."""

    def __init__(self, book: Any) -> None:
        self.book = book
        self.lease: UUID = uuid4()
        self.phone = next(PHONES)
        self.who = f"B{uuid4().hex[:12]}"
        self.email = f"{self.who.lower()}@example.com"
        self.borrower = book.borrower(self.who, phone=self.phone)
        book.account(self.borrower, f"A{self.who}", due_on=date(2026, 10, 30))

    def message(
        self,
        channel: str = "sms",
        state: str = "sent",
        *,
        mode: str = "live",
        reason: str | None = None,
        lives: str = "1 day",
    ) -> MessageRef:
        """One message with one attempt, its text stored; in `sending` under this bag's lease."""
        ref = MessageRef(ON, uuid4(), uuid4())
        address = {"email": self.email, "in_app": self.who}.get(channel, self.phone)
        values = {"on": ON, "id": ref.message_id, "attempt": ref.attempt_id, "borrower": self.borrower}
        values |= {"token": self.lease, "address": address, "channel": channel, "state": state}
        values |= {"mode": mode, "reason": reason, "lives": lives}
        for statement in MESSAGE.read_text(encoding="utf-8").split(";\n"):
            self.book.run(statement, **values)
        return ref

    def state(self, ref: MessageRef) -> str:
        return str(self.book.one("SELECT state FROM messages WHERE id = :id", id=ref.message_id))

    def receipts(self, ref: MessageRef) -> int:
        sql = "SELECT count(*) FROM receipts WHERE message_id = :id"
        return int(self.book.one(sql, id=ref.message_id))

    def strays(self) -> int:
        return int(self.book.one("SELECT count(*) FROM stray_receipts"))

    def events(self, ref: MessageRef, kind: str) -> int:
        sql = "SELECT count(*) FROM message_events WHERE message_id = :id AND kind = :kind"
        return int(self.book.one(sql, id=ref.message_id, kind=kind))

    def suppressions(self) -> list[tuple[str, str, str]]:
        """Channel, reason and source of what is active for this borrower's number and mailbox."""
        rows = self.book.rows(
            "SELECT channel, reason, source FROM suppressions WHERE lifted_at IS NULL "
            "AND address IN (:phone, :email) ORDER BY id",
            phone=self.phone,
            email=self.email,
        )
        return [tuple(row.values()) for row in rows]


@pytest.fixture(scope="module")
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """One for the file instead of one for each test: most of a small test would go into making it."""
    with fresh_database() as url:
        yield url


@pytest.fixture(scope="module")
def serve(database_url: str, servers: LocalServers) -> Iterator[Callable[..., Web]]:
    """Starts a service; tests name what is different about theirs."""
    usual = WebConfig(
        public_url=PUBLIC_URL,
        unsubscribe_key=LINK_KEY,
        inbox_jwt_key=JWT_KEY,
        production=True,
        poll_s=0.2,
        quiet_poll_s=60.0,
        ready_s=0.0,
        ping_s=1,
    )
    with ExitStack() as stack:

        def start(*, database: str = database_url, redis_url: str = servers.redis_url, **changes: Any) -> Web:
            engine = make_engine(database, "web", pool_size=8)
            config = replace(usual, **changes)
            app = make_app(engine=engine, redis_url=redis_url, config=config, signers=_signers())
            url = stack.enter_context(_serving(app))
            return Web(stack.enter_context(httpx.Client(base_url=url, timeout=10)))

        yield start


@pytest.fixture(scope="module")
def web(serve: Callable[..., Web]) -> Web:
    return serve()


@pytest.fixture
def mail(book: Any) -> Mailbag:
    book.at("2026-11-02T10:00+00:00")
    return Mailbag(book)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for another thread or process; returns what it waited for."""
    return _until
