"""Health, what every answer carries, and the service as a server starts and stops it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from redis import Redis

import worker

NO_DATABASE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
NO_REDIS = "redis://127.0.0.1:1/0"
SECRET = "j" * 40


def test_a_living_process_says_so_and_its_version(serve: Any) -> None:
    answer = serve(database=NO_DATABASE, redis_url=NO_REDIS).http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive", "version": worker.__version__})


def test_with_both_parts_there_it_is_ready(web: Any) -> None:
    answer = web.http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["parts"] == {"database": "ok", "redis": "ok"}


def test_without_the_database_it_is_not_ready_and_says_which_part(serve: Any) -> None:
    answer = serve(database=NO_DATABASE).http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert answer.json()["parts"] == {"database": "down", "redis": "ok"}


def test_without_redis_it_is_not_ready_and_says_which_part(serve: Any) -> None:
    answer = serve(redis_url=NO_REDIS).http.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]) == (503, {"database": "ok", "redis": "down"})


def test_at_another_revision_it_is_not_ready(serve: Any, book: Any) -> None:
    present = book.one("SELECT version_num FROM alembic_version")
    book.run("UPDATE alembic_version SET version_num = '0000'")
    try:
        answer = serve().http.get("/readyz")
    finally:
        book.run("UPDATE alembic_version SET version_num = :present", present=present)
    assert (answer.status_code, answer.json()["parts"]["database"]) == (
        503,
        f"at revision 0000, not {present}",
    )


def test_the_oldest_due_message_of_each_channel_is_told_in_seconds(web: Any, mail: Any, book: Any) -> None:
    mail.message("sms", "scheduled")
    mail.message("in_app", "sent")
    book.at("2026-11-02T10:05+00:00")
    mail.message("sms", "scheduled")
    ages = web.http.get("/readyz").json()["oldest_due_s"]
    assert 300 <= ages["sms"] < 330
    assert (ages["in_app"], ages["email"]) == (0, 0)
    book.at("2026-11-02T09:00+00:00")
    assert web.http.get("/readyz").json()["oldest_due_s"]["sms"] == 0


@pytest.mark.parametrize(
    "path", ["/healthz", "/nowhere", "/api/inbox", "/unsubscribe", "/webhooks/twilio/status"]
)
def test_every_answer_carries_the_security_headers(web: Any, path: str) -> None:
    headers = web.http.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_production_describes_itself_to_nobody(web: Any, path: str) -> None:
    assert web.http.get(path).status_code == 404


def test_a_path_with_a_slash_too_many_is_not_redirected_to_the_host_the_caller_named(web: Any) -> None:
    answer = web.http.get("/healthz/", headers={"Host": "evil.example.org"})
    assert (answer.status_code, "Location" in answer.headers) == (404, False)


def test_an_error_nobody_foresaw_says_nothing_about_what_it_was_about(
    serve: Any, mail: Any, book: Any
) -> None:
    web, ref = serve(), mail.message("in_app", "sent")
    book.run("ALTER TABLE message_events RENAME COLUMN kind TO sort")
    try:
        answer = web.http.post(f"/api/inbox/{ref.message_id}/seen", headers=web.bearer(mail.who))
    finally:
        book.run("ALTER TABLE message_events RENAME COLUMN sort TO kind")
    assert (answer.status_code, answer.json()) == (500, {"detail": "internal error"})


@contextmanager
def process(settings: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service as `uvicorn --factory` runs it, on a socket that only it can answer on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "uvicorn", "worker.web.app:create", "--factory", "--fd"]
        child = subprocess.Popen(
            [*command, str(listening.fileno())],
            env=os.environ | {f"DUNLIN_{name}": value for name, value in settings.items()},
            pass_fds=[listening.fileno()],
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield child, f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            child.kill()
            child.communicate()


def test_the_service_starts_from_its_settings_keeps_quiet_and_stops_with_a_stream_open(
    database_url: str, servers: Any, mail: Any, web: Any, until: Callable[..., Any]
) -> None:
    ref = mail.message("in_app")
    settings = {"DATABASE_URL": database_url, "REDIS_URL": servers.redis_url, "INBOX_JWT_KEY": SECRET}
    settings |= {"LOG_LEVEL": "DEBUG", "UNSUBSCRIBE_KEY": SECRET, "PUBLIC_URL": "http://127.0.0.1:9"}
    with process(settings) as (child, url), httpx.Client(base_url=url, timeout=30) as http:
        assert http.get("/healthz").json()["status"] == "alive"
        http.get("/unsubscribe?b=2026-11-02&m=canary-in-the-query&s=x")
        http.post("/webhooks/twilio/inbound", data={"From": mail.phone, "Body": "canary in the body"})
        with http.stream("GET", "/api/inbox/stream", headers=web.bearer(mail.who)) as stream:
            lines = stream.iter_lines()
            assert next(lines) == f"id: {ref.message_id}"
            until(lambda: mail.state(ref) == "delivered")
            child.send_signal(signal.SIGTERM)
            began = time.monotonic()
            child.wait(10)
            assert time.monotonic() - began < 5
        said = child.stdout.read()
    assert "Application shutdown complete" in said
    assert "webhook.refused" in said
    for canary in ("canary", mail.phone, mail.who, "Please pay", "£120.50", SECRET, "Bearer", "/unsubscribe"):
        assert canary not in said, canary


def test_a_setting_that_cannot_be_used_stops_the_start_with_its_name(database_url: str) -> None:
    with process({"DATABASE_URL": database_url, "INBOX_JWT_KEY": "short"}) as (child, _):
        said, _ = child.communicate(timeout=30)
    assert child.returncode != 0
    assert "DUNLIN_INBOX_JWT_KEY must have at least 32 bytes for HS256" in said


def test_redis_holds_no_borrowers_id(web: Any, mail: Any, servers: Any, until: Any) -> None:
    with (
        Redis.from_url(servers.redis_url, decode_responses=True) as redis,
        web.http.stream("GET", "/api/inbox/stream", headers=web.bearer(mail.who)),
    ):
        channels = until(lambda: redis.pubsub_channels("dunlin:inbox:*"))
        assert not any(mail.who in channel for channel in channels)
