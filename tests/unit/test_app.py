"""The Celery app is set so that Celery and Redis cannot hurt; each setting here has cost somebody a night."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound
from celery.schedules import crontab

from worker import settings
from worker.app import make_app
from worker.channels import registry
from worker.domain.message import CHANNELS
from worker.pump import CONTROL, EXPIRES_S
from worker.settings import Settings


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    for variable in settings.variables():
        monkeypatch.delenv(variable, raising=False)
    settings.current.cache_clear()
    made = make_app()
    made.loader.import_default_modules()
    yield made
    made.close()
    settings.current.cache_clear()


def queue_of(app: Celery, name: str, **arguments: Any) -> str:
    route = app.amqp.router.route({}, name, (), arguments)
    return str(route["queue"].name)


def test_every_scheduled_task_is_a_task_there_is(app: Celery) -> None:
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= app.tasks.keys()


def test_every_included_module_brings_its_tasks(app: Celery) -> None:
    ours = {name for name in app.tasks if name.startswith("tasks.")}
    assert ours == {f"tasks.{n}" for n in ("plan", "admit", "send", "settle", "upkeep", "scan", "rerun")}


def test_every_route_leads_to_a_queue_that_a_default_worker_consumes(app: Celery) -> None:
    consumed = set(Settings().queues.split(","))
    assert {queue_of(app, f"tasks.{name}") for name in ("plan", "admit", "settle", "scan", "rerun")} == {
        CONTROL
    }
    for channel in registry.providers_by_channel():
        assert queue_of(app, "tasks.send", channel=channel) == channel
        assert channel in consumed
    assert CONTROL in consumed
    assert consumed <= app.amqp.queues.keys()


def test_there_is_a_queue_for_each_channel_and_one_for_control(app: Celery) -> None:
    assert app.amqp.queues.keys() == {CONTROL, *CHANNELS}


def test_a_send_for_a_channel_that_there_is_not_is_not_published(app: Celery) -> None:
    with pytest.raises(QueueNotFound):
        queue_of(app, "tasks.send", channel="fax")


def test_a_send_may_name_its_channel_by_position_too(app: Celery) -> None:
    route = app.amqp.router.route({}, "tasks.send", ("sms",), {})
    assert route["queue"].name == "sms"


def test_beat_wakes_every_channel_that_has_an_adapter(app: Celery) -> None:
    woken = {
        entry["kwargs"]["channel"]
        for entry in app.conf.beat_schedule.values()
        if entry["task"] == "tasks.send"
    }
    assert woken == registry.providers_by_channel().keys()


def test_a_wake_up_that_waited_too_long_is_dropped(app: Celery) -> None:
    assert {entry["options"]["expires"] for entry in app.conf.beat_schedule.values()} == {EXPIRES_S}


def test_due_runs_are_looked_for_every_minute(app: Celery) -> None:
    assert app.conf.beat_schedule["plan"]["schedule"] == crontab()
    every = {entry["schedule"] for entry in app.conf.beat_schedule.values() if entry["task"] == "tasks.send"}
    assert every == {timedelta(seconds=Settings().pump_s)}


def test_only_json_goes_in_or_out(app: Celery) -> None:
    assert app.conf.task_serializer == "json"
    assert list(app.conf.accept_content) == ["json"]
    assert list(app.conf.result_accept_content) == ["json"]


def test_nothing_is_kept_of_a_task_that_is_done(app: Celery) -> None:
    assert app.conf.task_ignore_result is True
    assert app.conf.result_backend is None


def test_a_task_is_taken_off_the_broker_when_it_is_done_and_never_comes_back_by_itself(app: Celery) -> None:
    assert app.conf.task_acks_late is True
    assert app.conf.task_reject_on_worker_lost is False
    assert app.conf.worker_prefetch_multiplier == 1


def test_a_task_ends_long_before_the_broker_would_hand_it_out_again(app: Celery) -> None:
    options = app.conf.broker_transport_options
    slowest = Settings().time_box_s + Settings().deadline_s
    assert slowest < app.conf.task_soft_time_limit < app.conf.task_time_limit
    assert app.conf.task_time_limit * 2 < options["visibility_timeout"]


def test_no_queue_comes_into_being_by_a_slip_of_the_pen(app: Celery) -> None:
    assert app.conf.task_create_missing_queues is False


def test_a_connection_to_the_broker_that_says_nothing_is_noticed(app: Celery) -> None:
    options = app.conf.broker_transport_options
    assert 0 < options["socket_timeout"] <= 30
    assert 0 < options["socket_connect_timeout"] <= 30
    assert 0 < options["health_check_interval"] <= 60
    assert options["socket_keepalive"] is True


def test_a_worker_waits_for_its_broker_without_end(app: Celery) -> None:
    assert app.conf.broker_connection_retry_on_startup is True
    assert app.conf.broker_connection_max_retries is None


def test_children_share_nothing_with_their_parent_and_are_renewed_when_they_grow(app: Celery) -> None:
    assert app.conf.worker_pool_start_method == "spawn"
    assert app.conf.worker_max_memory_per_child > 0


def test_a_child_may_take_its_time_to_start(app: Celery) -> None:
    """Celery kills one that has not said in four seconds that it is up, and the next one, and so on."""
    assert app.conf.worker_proc_alive_timeout >= 60


def test_flower_can_watch(app: Celery) -> None:
    assert app.conf.worker_send_task_events is True
    assert app.conf.worker_enable_remote_control is True


def test_importing_the_app_opens_no_connection(tmp_path: Any) -> None:
    code = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('opened a connection')\n"
        "socket.socket.connect = refuse\n"
        "import worker.app, tasks.send, tasks.byhand, tasks.upkeep\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
