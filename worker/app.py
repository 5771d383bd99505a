"""The Celery app: queues, routes, beat's schedule. It carries wake-ups only; PostgreSQL is the record and the
queue.

Set so that Celery and Redis cannot hurt: what a lost, doubled or late task does to the work is nothing.
"""

from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import (
    after_task_publish,
    beat_init,
    setup_logging,
    task_success,
    worker_init,
    worker_shutdown,
    worker_shutting_down,
)
from kombu import Exchange, Queue

from worker import farewell, logs, reconnect, settings, slots
from worker.domain.message import CHANNELS
from worker.pump import CONTROL, EXPIRES_S, Pump
from worker.task import Task
from worker.timings import SOFT_TIME_LIMIT_S, TIME_LIMIT_S, VISIBILITY_TIMEOUT_S


def _route(name: str, args: Any, kwargs: Any, *_: Any, **__: Any) -> dict[str, str]:
    """A send goes to its channel's queue, everything else to control."""
    if name != "tasks.send":
        return {"queue": CONTROL}
    return {"queue": kwargs["channel"] if "channel" in kwargs else args[0]}


def _schedule(pump_s: float) -> dict[str, dict[str, Any]]:
    every = timedelta(seconds=pump_s)
    entries: dict[str, dict[str, Any]] = {
        "plan": {"task": "tasks.plan", "schedule": crontab()},
        "admit": {"task": "tasks.admit", "schedule": every},
        "settle": {"task": "tasks.settle", "schedule": every},
        "upkeep": {"task": "tasks.upkeep", "schedule": crontab(minute="17")},
    }
    for channel in ("sms", "email", "in_app"):
        entries[f"send-{channel}"] = {"task": "tasks.send", "kwargs": {"channel": channel}, "schedule": every}
    for entry in entries.values():
        entry["options"] = {"expires": EXPIRES_S}
    return entries


BROKER = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    # Without these a half-open connection or a paused server blocks for ever. Short, because a task that
    # waits for one holds up a worker that is told to stop.
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    # A wake-up is tried once: whoever waits for a broker that is away does so by `worker.reconnect`.
    "max_retries": 0,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "global_keyprefix": "dunlin:",
}
TASKS = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "result_backend": None,
    "task_ignore_result": True,
    "task_acks_late": True,
    # On would bring a task that kills its process back for ever; the lease brings its messages back instead.
    "task_reject_on_worker_lost": False,
    "task_time_limit": TIME_LIMIT_S,
    "task_soft_time_limit": SOFT_TIME_LIMIT_S,
    "task_create_missing_queues": False,
    "task_publish_retry": True,
    "task_publish_retry_policy": {
        "max_retries": 2,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.5,
    },
    "task_send_sent_event": False,
}
WORKER = {
    "worker_prefetch_multiplier": 1,
    # Nothing of the parent's connections may be shared with its children.
    "worker_pool_start_method": "spawn",
    # A process that is new imports everything. Where the machine is busy that takes longer than Celery's four
    # seconds, after which it would be killed, and so would every one after it.
    "worker_proc_alive_timeout": 60.0,
    "worker_max_memory_per_child": 600_000,
    "worker_soft_shutdown_timeout": 30,
    "worker_send_task_events": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_consumer": reconnect.Consumer,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
}


def make_app() -> Celery:
    """The app of this process, from its settings."""
    config = settings.current()
    celery = Celery("dunlin", broker=config.redis_url.get_secret_value(), task_cls=Task, set_as_current=True)
    celery.conf.update(
        **TASKS,
        **WORKER,
        broker_transport_options=BROKER,
        include=["tasks.plan", "tasks.admit", "tasks.send", "tasks.settle", "tasks.upkeep", "tasks.byhand"],
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in (CONTROL, *CHANNELS)],
        task_default_queue=CONTROL,
        task_routes=(_route,),
        beat_schedule=_schedule(config.pump_s),
        worker_concurrency=config.concurrency,
        enable_utc=True,
        timezone="UTC",
    )
    celery.steps["consumer"].add(Pump)
    return celery


@setup_logging.connect
def _logging(**_: Any) -> None:
    config = settings.current()
    logs.configure(config.log_format, config.log_level)


def _alive(**_: Any) -> None:
    if path := settings.current().alive_file:
        path.touch()


@task_success.connect
def _alive_by_working(result: object = None, **_: Any) -> None:
    # A task done means that broker, pool and database work; a process that merely runs would prove nothing,
    # nor does one that leaves the work to others, who may be stuck in it.
    if result != slots.LEFT_TO_OTHERS:
        _alive()


@beat_init.connect
def _alive_by_publishing(**_: Any) -> None:
    after_task_publish.connect(_alive, weak=False)


@worker_init.connect
def _watch(**_: Any) -> None:
    farewell.watch()


@worker_shutting_down.connect
def _stopping(**_: Any) -> None:
    # The pool's processes are not told by Celery; they look before they begin anything new.
    farewell.ask()


@worker_shutdown.connect
def _tidy(**_: Any) -> None:
    slots.clear()


app = make_app()
