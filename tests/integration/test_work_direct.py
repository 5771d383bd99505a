"""`dunlin work --direct`: the whole day with no broker anywhere, by the same code; and beside Celery's."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.installation import (
    BRIEF,
    PATIENCE_S,
    TODAY,
    fill,
    had_a_run,
    installation,
    received,
    until,
)
from worker import local
from worker.demo.processes import STOP_S, Processes, port
from worker.sandbox.process import SandboxProcess
from worker.store import schema
from worker.store.engine import make_engine

DIRECT = ("work", "--direct")
NO_CELERY = """
import sys
sys.modules.update(dict.fromkeys(("celery", "kombu", "billiard", "vine")))
from worker.cli import main
main()
"""
"""The command where Celery cannot be imported."""


@pytest.fixture
def parts(database_url: str, provider: SandboxProcess, tmp_path: Path) -> Iterator[Processes]:
    """Its broker is gone."""
    nowhere = f"redis://127.0.0.1:{port(0)}/0"
    servers = {"database_url": database_url, "redis_url": nowhere}
    with installation(tmp_path, provider, **servers, pump_s="0.3") as parts:
        yield parts


def counts(book: Any) -> Counter[tuple[str, str]]:
    return Counter((row["channel"], row["state"]) for row in book.messages())


def out(book: Any, channel: str) -> int:
    """How many messages have gone out on a channel."""
    found = counts(book)
    return found[channel, "sent"] + found[channel, "delivered"]


def all_out(book: Any, count: int) -> bool:
    """Whether each borrower's SMS, mail and popup have gone out."""
    return {out(book, channel) for channel in ("sms", "email", "in_app")} == {count}


def once(parts: Processes, *options: str, patience_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", NO_CELERY, *DIRECT, "--once", *options],
        env=dict(parts.environment),
        check=False,
        capture_output=True,
        text=True,
        timeout=patience_s,
    )


@pytest.mark.slow
def test_a_whole_day_needs_no_broker(book: Any, parts: Processes, provider: SandboxProcess) -> None:
    fill(book, 12)
    had_a_run(book)
    parts.environment = {**parts.environment, "DUNLIN_LOG_LEVEL": "DEBUG"}
    parts.start("web", "web")
    work = parts.start("work", *DIRECT)
    until(lambda: counts(book)["sms", "delivered"] == 12 and all_out(book, 12), parts)
    assert set(received(provider.client).values()) == {1}
    assert {
        row["state"] for row in book.rows("SELECT state FROM runs WHERE business_on = :on", on=TODAY)
    } <= {
        "open",
        "closed",
    }
    work.process.send_signal(signal.SIGTERM)
    assert work.process.wait(STOP_S) == 0
    log = (parts.logs / "work.log").read_text()
    assert '"event": "send.batch"' in log
    for words in ("Traceback", "Unclosed", "Name of", "@example.com", "4477009", "120.50"):
        assert words not in log, words


@pytest.mark.slow
def test_once_ends_when_nothing_is_due_and_says_what_it_did(book: Any, parts: Processes) -> None:
    fill(book, 5)
    had_a_run(book)
    first = once(parts, "--json")
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert said["done"]["plan"] == {"runs": 1, "shards": 1, "messages": 15}
    assert said["done"]["admit"] == {"scheduled": 15}
    assert [said["done"][channel] for channel in ("sms", "email", "in_app")] == [{"accepted": 5}] * 3
    assert said["waiting"]["due"] == said["waiting"]["sending"] == said["waiting"]["to_admit"] == 0
    assert all_out(book, 5)

    again = once(parts)
    assert again.returncode == 0
    assert "Waiting: nothing" in again.stdout
    assert len(book.messages()) == 15


@pytest.mark.slow
def test_once_leaves_what_is_not_due_and_says_how_much(book: Any, parts: Processes) -> None:
    fill(book, 3)
    had_a_run(book)
    book.run("UPDATE borrowers SET zone = 'Pacific/Auckland' WHERE external_id = 'B1'")  # 23:00 there
    left = json.loads(once(parts, "--json").stdout)["waiting"]
    assert left["later"] == 3
    assert left["due"] == 0


@pytest.mark.slow
def test_beside_celerys_workers_nothing_is_doubled(
    book: Any, parts: Processes, provider: SandboxProcess, redis_url: str
) -> None:
    fill(book, 150)
    had_a_run(book)
    parts.environment = {**parts.environment, "DUNLIN_REDIS_URL": redis_url}
    parts.start("worker", "worker")
    parts.start("one", *DIRECT)
    parts.start("two", *DIRECT)
    until(lambda: all_out(book, 150), parts)
    assert set(received(provider.client).values()) == {1}
    assert len(received(provider.client)) == 300
    assert len(book.rows("SELECT 1 FROM runs WHERE business_on = :on", on=TODAY)) == 1
    assert book.one("SELECT count(*) FROM attempts WHERE outcome = 'accepted'") == 450


@pytest.mark.slow
def test_told_to_stop_in_mid_batch_it_finishes_what_it_holds(
    book: Any, parts: Processes, provider: SandboxProcess
) -> None:
    fill(book, 400)
    had_a_run(book)
    provider.client.set_fault("latency", channel="sms", s=2.0, on="create", accept_first=True)
    work = parts.start("work", *DIRECT)
    until(lambda: provider.client.counts()["channels"].get("sms", {}).get("accepted", 0) > 0, parts)
    work.process.send_signal(signal.SIGTERM)
    assert work.process.wait(STOP_S) == 0
    assert book.messages(state="sending") == []
    assert book.messages(state="unconfirmed") == []
    assert counts(book)["sms", "scheduled"] > 0, "nothing was left to hand back: this test proves nothing"
    assert set(received(provider.client).values()) == {1}


@pytest.mark.slow
def test_once_told_to_stop_ends_with_the_code_for_a_part(
    book: Any, parts: Processes, provider: SandboxProcess
) -> None:
    fill(book, 200)
    had_a_run(book)
    provider.client.set_fault("latency", channel="sms", s=1.0, on="create")
    work = parts.start("work", *DIRECT, "--once")
    until(lambda: len(received(provider.client)) > 0, parts)
    work.process.send_signal(signal.SIGINT)
    assert work.process.wait(STOP_S) == 3
    assert re.search(r"Waiting: .*due \d", (parts.logs / "work.log").read_text())


@pytest.mark.slow
def test_what_a_killed_one_held_another_takes_over_and_nothing_goes_twice(
    book: Any, parts: Processes, provider: SandboxProcess
) -> None:
    fill(book, 60)
    had_a_run(book)
    parts.environment = {**parts.environment, **BRIEF}
    provider.client.set_fault("latency", channel="sms", s=2.0, on="create", accept_first=True, times=60)
    work = parts.start("work", *DIRECT)
    until(lambda: provider.client.counts()["channels"].get("sms", {}).get("accepted", 0) > 0, parts)
    work.process.kill()
    work.process.wait()
    held = counts(book)
    assert held["sms", "sending"] > 0, "nothing was held: this test proves nothing"
    parts.start("another", *DIRECT)
    until(lambda: out(book, "sms") == out(book, "in_app") == 60, parts)
    # A mail server cannot be asked what it has: such a mail waits for a person.
    until(lambda: out(book, "email") + counts(book)["email", "unconfirmed"] == 60, parts)
    assert set(received(provider.client).values()) == {1}


@pytest.mark.slow
def test_a_channel_whose_provider_is_slow_holds_up_no_other(
    book: Any, parts: Processes, provider: SandboxProcess
) -> None:
    fill(book, 300)
    had_a_run(book)
    provider.client.set_fault("latency", channel="sms", s=2.5, on="create")
    parts.start("work", *DIRECT)
    until(lambda: counts(book)["in_app", "sent"] == counts(book)["email", "sent"] == 300, parts)
    assert counts(book)["sms", "sent"] < 300


@pytest.mark.slow
def test_it_goes_on_by_itself_once_its_database_is_back(parts: Processes, folder: Path) -> None:
    log = parts.logs / "work.log"
    with local.postgres(folder / "postgres") as url:
        engine = make_engine(url, "tests")
        schema.migrate(engine)
        engine.dispose()
        parts.environment = {**parts.environment, "DUNLIN_DATABASE_URL": url}
        work = parts.start("work", *DIRECT)
        until(lambda: _planned(url), parts)
    until(lambda: log.read_text().count("work.failed") > 10, parts)
    with local.postgres(folder / "postgres") as again:
        assert again == url, "another address: this test proves nothing"
        engine = make_engine(url, "tests")
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM portfolios")
        until(lambda: _planned(url), parts)
        engine.dispose()
        work.process.send_signal(signal.SIGTERM)
        assert work.process.wait(STOP_S) == 0
    text = log.read_text()
    for words in ("Traceback", "psycopg", "Is the server running", "work.left"):
        assert words not in text


def _planned(url: str) -> bool:
    """Whether `plan` has been there: it notes the portfolios."""
    engine = make_engine(url, "tests")
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM portfolios").scalar_one() > 0
    finally:
        engine.dispose()


def test_once_without_a_database_gives_up_with_the_code_for_try_again(parts: Processes) -> None:
    nowhere = f"postgresql+psycopg://dunlin@127.0.0.1:{port(0)}/dunlin"
    parts.environment = {**parts.environment, "DUNLIN_DATABASE_URL": nowhere, "DUNLIN_PUMP_S": "0.1"}
    ended = once(parts)
    assert ended.returncode == 5
    assert "the database does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_before_a_migration_once_says_what_to_do(servers: Any, parts: Processes) -> None:
    bare = servers.database_url.replace("/dunlin", "/postgres")
    parts.environment = {**parts.environment, "DUNLIN_DATABASE_URL": bare, "DUNLIN_PUMP_S": "0.1"}
    ended = once(parts)
    assert ended.returncode == 4
    assert "run dunlin migrate" in ended.stderr


@pytest.mark.parametrize("options", [[], ["--once"], ["--direct", "--json"]])
def test_options_that_make_no_sense_are_a_wrong_command_line(parts: Processes, options: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "work", *options],
        env=dict(parts.environment),
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
