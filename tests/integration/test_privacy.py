"""Names, addresses, amounts, words and secrets stay out of logs, broker and process lists, come what may."""

import base64
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis
from sqlalchemy import make_url

from tests.integration.installation import had_a_run, installation, until
from worker.demo.processes import Processes, port
from worker.rendering.catalogue import default_root
from worker.sandbox.client import SandboxClient, SandboxUnreachable

TODAY = date(2026, 11, 23)
COUNT = 20
SECRETS = {
    "sandbox_auth_token": "secret-token-4711",
    "inbox_jwt_key": "secret-inbox-key-4711-secret-inbox-key",
    "unsubscribe_key": "secret-link-key-4711-secret-link-key",
    "flower_basic_auth": "flower:secret-login-4711",
}
DATABASE_PASSWORD = "secret-database-4711"
BREAKS = """{% block tail %}
{% if debtor_name == "Quorn00 Zyxwvut00" %}{{ debtor_name > 5 }}{% endif %}
{% endblock %}"""
"""In the middle of a text, of one borrower only: whoever reads the template beforehand sees nothing wrong."""
SMS_FAULTS = ("http_500", "http_500_after", "http_502", "drop_before", "drop_after", "garbage_200", "double")
MAIL_FAULTS = ["rcpt_reject", "data_reject", "drop_before_data", "drop_after_data"]


class Eavesdropper:
    """Hears everything that is said to Redis, with what is packed in base64 unpacked."""

    def __init__(self, url: str) -> None:
        self.heard: list[str] = []
        self._redis = Redis.from_url(url, socket_timeout=None)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._listening.wait(10)

    def _listen(self) -> None:
        with self._redis.monitor() as monitor:
            self._listening.set()
            for said in monitor.listen():
                if said["command"] == "ECHO end-of-eavesdropping":
                    return
                self.heard.append(said["command"])

    def stop(self) -> str:
        """All of it, and all that is left in Redis."""
        left = [repr((key, self._redis.dump(key))) for key in self._redis.keys("*")]
        if self._thread.is_alive():
            self._redis.echo("end-of-eavesdropping")
            self._thread.join(10)
        self._redis.close()
        return unpacked("\n".join([*self.heard, *left]))


def unpacked(text: str) -> str:
    found = [text]
    for packed in set(re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text)):
        try:
            found.append(base64.b64decode(packed, validate=True).decode())
        except ValueError:
            continue
    return "\n".join(found)


@pytest.fixture
def broker(redis_url: str) -> Iterator[Eavesdropper]:
    heard = Eavesdropper(redis_url)
    yield heard
    heard.stop()


@pytest.fixture
def parts(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Processes]:
    """An installation with secrets worth finding, at the chattiest level of logs."""
    templates = tmp_path / "templates"
    shutil.copytree(default_root(), templates)
    file = templates / "en" / "reminder" / "in_app.txt"
    file.write_text(file.read_text() + BREAKS)
    password = make_url(database_url).set(password=DATABASE_PASSWORD).render_as_string(hide_password=False)
    ours = SECRETS | {
        "database_url": password,
        "redis_url": redis_url,
        "sandbox_url": f"http://127.0.0.1:{port(0)}",
        "sandbox_smtp_port": str(port(0)),
        "templates_dir": str(templates),
        "log_level": "DEBUG",
    }
    with installation(tmp_path, None, **ours) as parts:
        yield parts


def start(parts: Processes) -> SandboxClient:
    ours = parts.environment
    http = ours["DUNLIN_SANDBOX_URL"].rpartition(":")[2]
    options = ["--http-port", http, "--smtp-port", ours["DUNLIN_SANDBOX_SMTP_PORT"], "--list-lag", "0.3"]
    parts.start("sandbox", "sandbox", *options, "--auth-token", SECRETS["sandbox_auth_token"])
    for name in ("web", "beat", "worker"):
        parts.start(name, name)
    client = SandboxClient(ours["DUNLIN_SANDBOX_URL"])
    until(lambda: answers(client), parts)
    until(lambda: asked(f"{ours['DUNLIN_PUBLIC_URL']}/readyz") == 200, parts)
    return client


def answers(client: SandboxClient) -> bool:
    try:
        return bool(client.health())
    except SandboxUnreachable:
        return False


def asked(url: str, body: bytes | None = None, **headers: str) -> int | None:
    """The status of the answer; None: there was none."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=5)
    try:
        connection.request("GET" if body is None else "POST", f"{parts.path}?{parts.query}", body, headers)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def phone(n: int) -> str:
    return f"+4477009001{n:02d}"


def fill(book: Any) -> list[str]:
    """Twenty borrowers; returns everything about them that must not be found anywhere."""
    book.at("2026-11-23T10:00Z")
    private = []
    for n in range(COUNT):
        name, mail, amount = f"Quorn{n:02d} Zyxwvut{n:02d}", f"zyxwvut{n:02d}@example.org", f"{7131 + n}.37"
        borrower = book.borrower(f"B{n}", phone=phone(n), email=mail)
        book.run("UPDATE borrowers SET name = :name WHERE id = :id", name=name, id=borrower)
        days = 3 if n < 4 else 10
        book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=days), amount=amount)
        private += [*name.split(), mail, phone(n), phone(n).removeprefix("+44"), amount, f"{7131 + n:,}.37"]
    book.run("UPDATE borrowers SET phone = '+44770090011x' WHERE external_id = 'B18'")
    book.run("UPDATE borrowers SET email = 'zyxwvut19@exa mple.org' WHERE external_id = 'B19'")
    return private


def set_faults(client: SandboxClient) -> None:
    """Everything a provider can answer, each to one borrower."""
    client.set_fault("error", to=phone(1), channel="sms", status=400, code=21211)
    for n, kind in enumerate(SMS_FAULTS):
        client.set_fault(kind, to=phone(n + 2), channel="sms", times=1)
    for n, kind in enumerate(MAIL_FAULTS):
        client.set_fault(kind, to=f"zyxwvut{n + 5:02d}@example.org", channel="email", times=1)


def provoke(parts: Processes, client: SandboxClient) -> None:
    """Requests that the web service has to refuse, with things in them that it must not repeat."""
    web = parts.environment["DUNLIN_PUBLIC_URL"]
    form = b"From=%2B447700900103&To=%2B15005550006&Body=Quorn03+STOP&MessageSid=SM1"
    assert asked(f"{web}/webhooks/twilio/inbound", form) == 403
    assert asked(f"{web}/webhooks/twilio/status?b=x&m=zyxwvut03@example.org", form) == 403
    assert asked(f"{web}/nowhere/zyxwvut03@example.org?name=Quorn03") == 404
    assert asked(f"{web}/api/inbox", Authorization="Bearer Quorn03.zyxwvut03@example.org.x") == 401
    asked(f"{web}/unsubscribe?b=Quorn03&m=zyxwvut03@example.org&s=x")
    asked(f"{web}/webhooks/twilio/status", b"\xff\xfe=Quorn03", **{"Content-Type": "Quorn03"})
    url = f"{web}/webhooks/twilio/inbound"
    client.inbound(borrower=phone(3), sender="+15005550006", body="STOP Quorn03", url=url)


def tried(message: Any) -> bool:
    return message["state"] not in ("planned", "scheduled", "sending") or message["attempts"] > 0


def logs_of(parts: Processes) -> dict[str, str]:
    return {log.name: unpacked(log.read_text()) for log in parts.logs.glob("*.log")}


def found_in(texts: dict[str, str], private: list[str]) -> dict[str, set[str]]:
    """Where something private stands, with the line around its first appearance."""
    found: dict[str, set[str]] = {}
    for name, text in texts.items():
        for word in private:
            if (at := text.find(word)) >= 0:
                found.setdefault(name, set()).add(f"{word}: …{text[max(0, at - 150) : at + 80]}…")
    return found


@pytest.mark.slow
def test_nothing_private_is_written_to_logs_broker_or_process_list(
    book: Any, parts: Processes, broker: Eavesdropper, database_url: str, redis_url: str
) -> None:
    private = fill(book)
    client = start(parts)
    set_faults(client)
    had_a_run(book)
    until(lambda: len(book.messages()) > COUNT, parts)
    until(lambda: client.counts()["channels"]["sms"]["accepted"] > 3, parts)
    book.engine.dispose()
    book.run(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    provoke(parts, client)
    until(lambda: all(tried(message) for message in book.messages()), parts)
    until(lambda: book.one("SELECT count(*) FROM receipts") > 0, parts)
    listed = subprocess.run(
        ["ps", "axww", "-o", "command="], capture_output=True, text=True, check=True
    ).stdout
    ours = "\n".join(line for line in listed.splitlines() if " sandbox " not in line)
    texts = [row["text"] for row in book.rows("SELECT text FROM message_contents")]
    states = {row["state"] for row in book.messages()}
    for part in parts.parts:
        part.process.send_signal(signal.SIGTERM)
    for part in parts.parts:
        part.process.wait(30)

    written = logs_of(parts)
    said = broker.stop()
    for event in (
        "send.batch",
        "send.not_accepted",
        "send.not_composed",
        "webhook.refused",
        "receipt.stored",
    ):
        assert any(event in log for log in written.values()), f"{event} was not provoked: {states}"
    assert "task-succeeded" in said, "events were not heard: this test proves nothing"
    assert "tasks.send" in said
    words = [piece for text in texts for piece in re.split(r"[.!?。]\s|\n", text) if len(piece) > 25]
    assert len(words) > 100
    secrets = [*SECRETS.values(), DATABASE_PASSWORD, str(make_url(redis_url).password)]
    assert found_in(written, [*private, *words, *secrets]) == {}
    assert found_in({"redis": said}, [*private, *words, *secrets]) == {}
    assert found_in({"processes": ours}, [*private, *secrets]) == {}


@pytest.mark.slow
def test_an_error_of_the_database_that_quotes_its_row_is_not_repeated(
    book: Any, parts: Processes, broker: Eavesdropper
) -> None:
    private = fill(book)
    parts.environment = {**parts.environment, "DUNLIN_LOG_LEVEL": "INFO"}
    book.run("ALTER TABLE suppressions ADD CONSTRAINT no_more CHECK (channel <> 'sms')")
    client = start(parts)
    client.set_fault("error", channel="sms", status=400, code=21211)
    had_a_run(book)
    until(lambda: any("task-failed" in unpacked(command) for command in broker.heard), parts)
    assert found_in(logs_of(parts), private) == {}
    assert found_in({"redis": broker.stop()}, private) == {}
