"""What the services of docker-compose.yml hold.

A rule yields what it objects to. Each is also shown damaged copies of the file, to which it must object.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from worker import wiring
from worker.app import app as celery
from worker.cli import app as cli
from worker.settings import Settings

COMPOSE = (Path(__file__).parents[2] / "docker-compose.yml").read_text(encoding="utf-8")
OURS = "dunlin"
OTHER_SIDE = "sandbox"
"""Plays the providers, and so has no part in the installation's order of starting."""

Services = dict[str, Any]


def ours(services: Services) -> Services:
    return {name: service for name, service in services.items() if service["image"] == OURS}


def every_command_exists_with_its_options(services: Services) -> Iterator[str]:
    commands = [service["command"] for service in ours(services).values()]
    checks = [service.get("healthcheck", {}).get("test", []) for service in ours(services).values()]
    for command in commands + [check[2:] for check in checks if check[1:2] == [OURS]]:
        # An unknown command or option is found before the help is shown.
        result = CliRunner().invoke(cli, [*command, "--help"])
        if result.exit_code:
            yield f"{command}: {result.output}"


def redis_neither_evicts_nor_forgets_nor_lets_anybody_in(services: Services) -> Iterator[str]:
    script = services["redis"]["command"][-1]
    arguments = dict(re.findall(r"--(\S+) (\S+)", script))
    wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}
    for name, value in wanted.items():
        if arguments.get(name) != value:
            yield f"{name} is {arguments.get(name)}"
    if "maxmemory" not in arguments:
        yield "memory without a limit"
    if "\nrequirepass $$REDIS_PASSWORD\n" not in script or "requirepass" in arguments:
        yield "no password, or one that every user of the host can see"


def what_runs_for_long_is_watched_restarted_and_not_root(services: Services) -> Iterator[str]:
    for name, service in services.items():
        if name != "migrate" and not service.get("healthcheck", {}).get("test"):
            yield f"{name} has no health check"
        if service["restart"] != ("no" if name == "migrate" else "unless-stopped"):
            yield f"{name} restarts {service['restart']}"
        # The image of ours has a user of its own.
        user = str(service.get("user", "root" if name not in ours(services) else OURS))
        if user.partition(":")[0] in {"root", "0", ""}:
            yield f"{name} runs as root"


def what_is_ours_can_write_nothing_and_gain_nothing(services: Services) -> Iterator[str]:
    for name, service in services.items():
        if service.get("cap_drop") != ["ALL"] or service.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name} keeps rights it does not need"
        if service.get("privileged") or service.get("cap_add"):
            yield f"{name} is given rights"
    for name, service in ours(services).items():
        mounts = service.get("tmpfs", [])
        if not service.get("read_only") or [mount.partition(":")[0] for mount in mounts] != ["/tmp"]:
            yield f"{name} can write beyond /tmp"
        for volume in service.get("volumes", []):
            if not volume["read_only"]:
                yield f"{name} can write to {volume['target']}"


def only_web_and_flower_are_published_and_on_loopback(services: Services) -> Iterator[str]:
    allowed = {"web": ["${WEB_LISTEN:-127.0.0.1:8000}:8000"], "flower": ["127.0.0.1:5555:5555"]}
    for name, service in services.items():
        ports = service.get("ports", [])
        if ports != allowed.get(name, []) or service.get("network_mode"):
            yield f"{name} publishes {ports}"


def the_servers_are_reached_by_ours_only(services: Services) -> Iterator[str]:
    for name in services.keys() - ours(services).keys():
        if services[name]["networks"] != ["data"]:
            yield name


def the_worker_can_be_scaled(services: Services) -> Iterator[str]:
    yield from services["worker"].keys() & {"container_name", "ports", "hostname"}


def the_workers_queues_are_all_that_tasks_go_to(services: Services) -> Iterator[str]:
    (route,) = celery.conf.task_routes
    sends = [("tasks.send", {"channel": channel}) for channel in wiring.channels()]
    by_beat = [(entry["task"], entry.get("kwargs", {})) for entry in celery.conf.beat_schedule.values()]
    needed = {route(name, (), kwargs)["queue"] for name, kwargs in sends + by_beat}
    given = services["worker"]["environment"]["DUNLIN_QUEUES"]
    consumed = set((given or Settings.model_fields["queues"].default).split(","))
    for queue in needed - consumed:
        yield f"{queue} is consumed by nobody"
    for queue in consumed - {queue.name for queue in celery.conf.task_queues}:
        yield f"there is no queue {queue}"


def a_worker_is_given_the_time_to_finish(services: Services) -> Iterator[str]:
    worker = services["worker"]
    parts = ("time_box_s", "deadline_s", "smtp_timeout_s", "smtp_data_timeout_s")
    needed_s = sum(Settings.model_fields[part].default for part in parts)
    if int(worker["stop_grace_period"].removesuffix("s")) < needed_s:
        yield f"it may hold messages for {needed_s} s"
    if worker["stop_signal"] != "SIGTERM" or not worker["init"]:
        yield "the signal to finish does not reach it"


def nothing_starts_before_the_schema_is_there(services: Services) -> Iterator[str]:
    for name in ours(services).keys() - {"migrate", OTHER_SIDE}:
        if services[name]["depends_on"].get("migrate") != {"condition": "service_completed_successfully"}:
            yield name
    if services["migrate"]["depends_on"] != {"postgres": {"condition": "service_healthy"}}:
        yield "migrate"


Rule = Callable[[Services], Iterator[str]]
RULES: dict[Rule, list[tuple[str, str]]] = {
    every_command_exists_with_its_options: [
        ("command: [beat]", "command: [bat]"),
        ("--allow-any-host", "--allow-all-hosts"),
        ("test: [CMD-SHELL, 'find", "test: [CMD, dunlin, health]\n      x-was: ['find"),
    ],
    redis_neither_evicts_nor_forgets_nor_lets_anybody_in: [
        ("noeviction", "allkeys-lru"),
        ("--appendonly yes ", ""),
        ("--maxmemory 512mb", ""),
        ("requirepass $$REDIS_PASSWORD", "# requirepass $$REDIS_PASSWORD"),
        ("everysec", "everysec --requirepass $$REDIS_PASSWORD"),
    ],
    what_runs_for_long_is_watched_restarted_and_not_root: [
        ("healthcheck: *alive", "x-check: none"),
        ("restart: unless-stopped", "restart: on-failure"),
        ('user: "999:999"', 'user: "0:0"'),
        ('user: "999:999"', "hostname: postgres"),
        ("command: [web]", "command: [web]\n    user: root"),
    ],
    what_is_ours_can_write_nothing_and_gain_nothing: [
        ("  read_only: true\n  tmpfs", "  tmpfs"),
        ("  cap_drop: [ALL]\n", ""),
        ("no-new-privileges:true", "apparmor:unconfined"),
        ("/lender\n  read_only: true", "/lender\n  read_only: false"),
        ("command: [web]", "command: [web]\n    cap_add: [NET_RAW]"),
    ],
    only_web_and_flower_are_published_and_on_loopback: [
        ("127.0.0.1:5555:5555", "5555:5555"),
        ("127.0.0.1:8000}", "0.0.0.0:8000}"),
        ("image: postgres:18", 'image: postgres:18\n    ports: ["5432:5432"]'),
        ("command: [beat]", "command: [beat]\n    network_mode: host"),
    ],
    the_servers_are_reached_by_ours_only: [
        ("networks: [data]\n  logging", "networks: [default]\n  logging"),
    ],
    the_worker_can_be_scaled: [
        ("command: [worker]", "command: [worker]\n    container_name: worker"),
    ],
    the_workers_queues_are_all_that_tasks_go_to: [
        ("DUNLIN_QUEUES:", "DUNLIN_QUEUES: control,sms,email"),
        ("DUNLIN_QUEUES:", "DUNLIN_QUEUES: sms,email,in_app"),
        ("DUNLIN_QUEUES:", "DUNLIN_QUEUES: control,sms,email,in_app,fax"),
    ],
    a_worker_is_given_the_time_to_finish: [
        ("stop_grace_period: 120s", "stop_grace_period: 110s"),
        ("stop_signal: SIGTERM", "stop_signal: SIGKILL"),
        ("  init: true", "  init: false"),
    ],
    nothing_starts_before_the_schema_is_there: [
        ("completed_successfully", "started"),
        ("postgres: {condition: service_healthy}", "postgres: {condition: service_started}"),
    ],
}
DAMAGES = [(rule, *damage) for rule, damages in RULES.items() for damage in damages]


@pytest.mark.parametrize("rule", RULES)
def test_the_services_keep_the_rule(rule: Rule) -> None:
    assert list(rule(yaml.safe_load(COMPOSE)["services"])) == []


@pytest.mark.parametrize(("rule", "old", "new"), DAMAGES)
def test_the_rule_objects_to_damaged_services(rule: Rule, old: str, new: str) -> None:
    assert old in COMPOSE
    assert list(rule(yaml.safe_load(COMPOSE.replace(old, new, 1))["services"]))


def test_the_servers_network_has_no_way_out() -> None:
    assert yaml.safe_load(COMPOSE)["networks"]["data"] == {"internal": True}
