"""A real worker behind a real broker: what Celery and Redis do to a wake-up, they do not do to the work."""

import signal
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from tests.integration.installation import fill, had_a_run, installation, log_of, received, until
from worker import settings
from worker.app import make_app
from worker.demo.processes import STOP_S, Part, Processes, port
from worker.pump import CONTROL, MAX_WAITING, wake
from worker.sandbox.process import SandboxProcess

pytestmark = pytest.mark.slow
GRACE_S = STOP_S
"""What `dunlin demo` and `dunlin up` grant; the container file grants more."""


@pytest.fixture
def parts(database_url: str, redis_url: str, provider: SandboxProcess, tmp_path: Path) -> Iterator[Processes]:
    with installation(tmp_path, provider, database_url=database_url, redis_url=redis_url) as parts:
        yield parts


@pytest.fixture
def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Dunlin's Celery app in this process, to publish with."""
    monkeypatch.setenv("DUNLIN_REDIS_URL", redis_url)
    settings.current.cache_clear()
    app = make_app()
    yield app
    app.close()
    settings.current.cache_clear()


def open_states(book: Any) -> set[str]:
    return {row["state"] for row in book.messages()} & {"planned", "scheduled", "sending", "unconfirmed"}


def runs(book: Any) -> list[Any]:
    return book.rows("SELECT * FROM runs WHERE portfolio_id = 'uk' ORDER BY business_on, started_at")


def stopped(worker: Part) -> int:
    """Asks the worker to stop, as a container platform does; its exit code."""
    worker.process.send_signal(signal.SIGTERM)
    return worker.process.wait(GRACE_S)


def test_a_scan_and_a_rerun_can_be_asked_for_by_name(
    book: Any, parts: Processes, provider: SandboxProcess, client: Celery
) -> None:
    fill(book, 1)
    book.at("2026-11-23T08:30Z")  # before the day's run is due: none but the one asked for here
    provider.client.set_fault("error", channel="sms", status=400, code=21617, times=1)
    parts.start("worker", "worker")
    client.send_task("tasks.scan", kwargs={"portfolio": "uk", "date": "2026-11-23"})
    until(lambda: len(runs(book)) == 1, parts)
    book.at("2026-11-23T10:00Z")
    until(lambda: book.states().get("sms") == "failed" and not open_states(book), parts)

    (first,) = runs(book)
    assert first["requested_by"] == "tasks.scan"
    arguments = {"run": str(first["id"]), "only": "failed", "reason": "the provider was down"}
    client.send_task("tasks.rerun", kwargs=arguments, task_id="twice")
    client.send_task("tasks.rerun", kwargs=arguments, task_id="twice")
    until(lambda: len(runs(book)) == 2 and not open_states(book), parts)
    again = runs(book)[1]
    assert (again["rerun_of"], again["reason"]) == (first["id"], "the provider was down")
    until(lambda: len(book.messages(run_id=again["id"], state="sent")) == 1, parts)
    assert len(runs(book)) == 2


def test_a_task_by_name_has_the_options_of_its_command(book: Any, parts: Processes, client: Celery) -> None:
    fill(book, 2)
    book.at("2026-11-23T08:30Z")  # before the day's run is due: none but those asked for here
    parts.start("worker", "worker")
    client.send_task("tasks.scan", kwargs={"portfolio": "uk", "dry_run": True})
    until(lambda: '"scheduled": 6, "event": "scan.dry"' in log_of(parts, "worker"), parts)
    assert runs(book) == []
    client.send_task("tasks.scan", kwargs={"portfolio": "uk", "date": "20261123"})
    client.send_task("tasks.scan", kwargs={"portfolio": "uk", "date": "2026-11-23"})
    until(lambda: book.states() == dict.fromkeys(("sms", "email", "in_app"), "scheduled"), parts)
    book.at("2026-11-23T10:00Z")
    until(lambda: len(book.messages()) == 6 and not open_states(book), parts)
    until(lambda: '"task": "tasks.scan", "error": "BadCell"' in log_of(parts, "worker"), parts)

    (first,) = runs(book)
    arguments = {"run": str(first["id"]), "account": "A1", "force": True, "reason": "wrong text"}
    client.send_task("tasks.rerun", kwargs={**arguments, "dry_run": True}, task_id="once")
    until(lambda: '"dry_run": true, "event": "rerun.made"' in log_of(parts, "worker"), parts)
    assert len(runs(book)) == 1
    client.send_task("tasks.rerun", kwargs=arguments, task_id="once")
    client.send_task("tasks.rerun", kwargs=arguments, task_id="once")
    until(lambda: "rerun.made_before" in log_of(parts, "worker"), parts)
    assert len(runs(book)) == 2
    told = {row["borrower_id"] for row in book.messages(run_id=runs(book)[1]["id"])}
    assert told == {book.one("SELECT id FROM borrowers WHERE external_id = 'B1'")}


def test_what_is_not_ours_to_read_is_refused_and_the_worker_lives(
    book: Any, parts: Processes, client: Celery, tmp_path: Path
) -> None:
    fill(book, 0)
    worker = parts.start("worker", "worker")
    touched = tmp_path / "touched"
    client.send_task("tasks.scan", args=[Touch(str(touched))], serializer="pickle")
    client.send_task("tasks.no_such", kwargs={"run": "x"}, queue=CONTROL)
    client.send_task("tasks.scan", kwargs={"portfolio": "no such"})
    client.send_task("tasks.scan", kwargs={"date": "yesterday"})
    client.send_task("tasks.scan", kwargs={"no": "such argument"})
    client.send_task("tasks.rerun", kwargs={"run": "x"})
    client.send_task("tasks.send", kwargs={"channel": "voice"}, queue="sms")
    client.send_task("tasks.scan", kwargs={"portfolio": "uk"})
    until(lambda: len(runs(book)) == 1, parts)
    assert worker.process.poll() is None
    assert not touched.exists()


class Touch:
    """What a pickle can do to its reader."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def test_one_wake_up_fifty_times_sends_each_message_once(
    book: Any, parts: Processes, provider: SandboxProcess, client: Celery
) -> None:
    fill(book, 20)
    provider.client.set_fault("latency", s=0.2, on="create")
    parts.start("worker", "worker")
    client.send_task("tasks.scan", kwargs={"portfolio": "uk"})
    for _ in range(50):
        for name, arguments in (
            ("tasks.plan", {}),
            ("tasks.admit", {}),
            ("tasks.settle", {}),
            ("tasks.send", {"channel": "sms"}),
            ("tasks.send", {"channel": "email"}),
        ):
            client.send_task(name, kwargs=arguments)
    until(lambda: len(book.messages()) == 60 and not open_states(book), parts)
    counts = received(provider.client)
    assert len(counts) == 40
    assert set(counts.values()) == {1}


def test_a_queue_takes_no_more_wake_ups_than_it_may_hold(client: Celery, redis_url: str) -> None:
    taken = [wake(client, "tasks.send", "sms", channel="sms") for _ in range(MAX_WAITING + 3)]
    assert taken == [True] * MAX_WAITING + [False] * 3
    with Redis.from_url(redis_url) as redis:
        assert redis.llen("dunlin:sms") == MAX_WAITING
    assert wake(client, "tasks.admit", CONTROL)


def test_a_wake_up_that_cannot_be_published_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUNLIN_REDIS_URL", f"redis://127.0.0.1:{port(0)}/0")
    settings.current.cache_clear()
    app = make_app()
    began = time.monotonic()
    try:
        assert wake(app, "tasks.admit", CONTROL) is False
    finally:
        app.close()
        settings.current.cache_clear()
    assert time.monotonic() - began < 15


def test_a_broker_emptied_in_mid_run_loses_nothing(
    book: Any, parts: Processes, provider: SandboxProcess, client: Celery, redis_url: str
) -> None:
    fill(book, 120)
    provider.client.set_fault("latency", s=0.5, on="create")
    parts.start("worker", "worker")
    client.send_task("tasks.scan", kwargs={"portfolio": "uk"})
    for wanted in (1, 60):
        until(lambda wanted=wanted: len(received(provider.client)) >= wanted, parts)
        with Redis.from_url(redis_url) as redis:
            redis.flushall()
    until(lambda: len(book.messages()) == 360 and not open_states(book), parts)
    assert set(received(provider.client).values()) == {1}
    assert len(received(provider.client)) == 240

    # And whoever asks next is heard, without a restart.
    (run,) = runs(book)
    client.send_task("tasks.rerun", kwargs={"run": str(run["id"]), "only": "failed"})
    until(lambda: len(runs(book)) == 2, parts)


def test_a_worker_told_to_stop_in_mid_batch_finishes_what_it_holds(
    book: Any, parts: Processes, provider: SandboxProcess, client: Celery
) -> None:
    fill(book, 400)
    provider.client.set_fault("latency", s=2.0, on="create", accept_first=True)
    worker = parts.start("worker", "worker")
    client.send_task("tasks.scan", kwargs={"portfolio": "uk"})
    until(lambda: provider.client.counts()["channels"].get("sms", {}).get("accepted", 0) > 0, parts)

    assert stopped(worker) == 0
    assert book.messages(state="sending") == []
    assert book.messages(state="unconfirmed") == []
    left = {row["state"] for row in book.messages(channel="sms")}
    assert "scheduled" in left, "nothing was left to hand back: this test proves nothing"
    assert set(received(provider.client).values()) == {1}


def test_two_beats_after_two_days_away_plan_the_newest_date_once_and_write_down_the_rest(
    book: Any, parts: Processes
) -> None:
    fill(book, 1)
    parts.environment = {**parts.environment, "DUNLIN_PUMP_S": "3600"}  # only beat wakes anybody
    had_a_run(book, date(2026, 11, 20))
    for name in ("worker", "beat", "beat2"):
        parts.start(name, name.rstrip("2"))
    until(lambda: len(runs(book)) > 1, parts, patience_s=90)
    until(lambda: "planning" not in {run["state"] for run in runs(book)}, parts)
    found = [(str(run["business_on"]), run["state"], run["requested_by"]) for run in runs(book)]
    assert found[1:] == [
        ("2026-11-21", "missed", "beat"),
        ("2026-11-22", "missed", "beat"),
        ("2026-11-23", "open", "beat"),
    ]
    assert len(book.messages()) == 3
