"""The installation that the demo runs: servers, settings, schema, book, processes."""

import os
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from worker import local
from worker.demo.processes import Processes, port
from worker.pipeline.book import sync_portfolios
from worker.pipeline.importing import ImportOptions, ImportReport, Kind, import_file
from worker.portfolios.load import Version
from worker.sample.book import write_book
from worker.sandbox.client import SandboxClient
from worker.settings import PREFIX
from worker.store import schema
from worker.store.engine import make_engine

READY_S = 60.0
OWN = tuple(f"{PREFIX}{name}_DIR" for name in ("PORTFOLIOS", "TEMPLATES", "RULEPACKS"))


class DemoFailed(RuntimeError):
    """A part did not come up or the sums do not agree; the text says which and where its log is."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts listen, on loopback."""

    web: str
    flower: str
    flower_login: str
    sandbox: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A running installation."""

    engine: Engine
    environment: dict[str, str]
    addresses: Addresses
    processes: Processes
    sandbox: SandboxClient


@contextmanager
def stage(folder: Path, say: Callable[[str], None], *, own_book: bool = False) -> Iterator[Stage]:
    """Brings everything up under `folder`, and down again; with `own_book` the lender's files instead of
    ours.

    Raises:
        DemoFailed: a part did not come up.
    """
    say("PostgreSQL and Redis from their wheels")
    with local.servers(folder) as running:
        environment, addresses = _environment(running, folder, own_book=own_book)
        engine = make_engine(running.database_url, "demo")
        say("schema")
        schema.migrate(engine)
        with Processes(environment, folder / "logs") as processes:
            say("sandbox, web, worker, beat, Flower")
            _start(processes, environment)
            for url in (f"{addresses.sandbox}/_sandbox/healthz", f"{addresses.web}/readyz", addresses.flower):
                _wait_for(url, processes)
            try:
                yield Stage(engine, environment, addresses, processes, SandboxClient(addresses.sandbox))
            finally:
                engine.dispose()


def import_sample(
    engine: Engine,
    versions: dict[str, Version],
    folder: Path,
    as_of: date,
    progress: Callable[[str, int, int], None],
) -> list[ImportReport]:
    """The sample book with its dates moved to `as_of`."""
    sync_portfolios(engine, versions)
    return [
        import_file(
            engine,
            Kind(kind),
            path,
            ImportOptions(),
            requested_by="demo",
            progress=partial(progress, kind),
        )
        for kind, path in write_book(folder, as_of)
    ]


def _environment(
    running: local.LocalServers, folder: Path, *, own_book: bool
) -> tuple[dict[str, str], Addresses]:
    web, flower, http, smtp = port(8000), port(5555), port(8026), port(8025)
    login = f"dunlin:{secrets.token_urlsafe(9)}"
    ours = {
        "DATABASE_URL": running.database_url,
        "REDIS_URL": running.redis_url,
        "PUBLIC_URL": f"http://127.0.0.1:{web}",
        "WEB_PORT": str(web),
        "FLOWER_PORT": str(flower),
        "FLOWER_BASIC_AUTH": login,
        "SANDBOX_URL": f"http://127.0.0.1:{http}",
        "SANDBOX_SMTP_PORT": str(smtp),
        "INBOX_JWT_KEY": secrets.token_urlsafe(32),
        "UNSUBSCRIBE_KEY": secrets.token_urlsafe(32),
        "STATE_DIR": str(folder),
        "PUMP_S": "1",
        # The stand-in answers at once: what a killed worker held is known to be lost sooner than elsewhere.
        "LEASE_S": "30",
        "DEADLINE_S": "10",
        "SMTP_TIMEOUT_S": "5",
        "SMTP_DATA_TIMEOUT_S": "10",
    }
    # The sample goes with the policies and templates that ship; whatever else is set here is not ours to use.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PREFIX) or (own_book and name in OWN)
    }
    addresses = Addresses(
        web=f"http://127.0.0.1:{web}",
        flower=f"http://127.0.0.1:{flower}",
        flower_login=login,
        sandbox=f"http://127.0.0.1:{http}",
    )
    return kept | {PREFIX + name: value for name, value in ours.items()}, addresses


def _start(processes: Processes, environment: dict[str, str]) -> None:
    http_port = environment[f"{PREFIX}SANDBOX_URL"].rpartition(":")[2]
    smtp_port = environment[f"{PREFIX}SANDBOX_SMTP_PORT"]
    processes.start("sandbox", "sandbox", "--http-port", http_port, "--smtp-port", smtp_port)
    for name in ("web", "worker", "beat", "flower"):
        processes.start(name, name)


def _wait_for(url: str, processes: Processes) -> None:
    ends = time.monotonic() + READY_S
    while True:
        dead = processes.died()
        if dead:
            raise DemoFailed(f"{dead[0].name} stopped at start; see {processes.logs / dead[0].name}.log")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  # loopback, made above
                return
        except urllib.error.HTTPError as error:
            if error.code == 401:  # Flower answers: it asks who we are
                return
        except OSError:
            pass
        if time.monotonic() > ends:
            raise DemoFailed(f"{url} did not answer within {READY_S:.0f} s; logs are in {processes.logs}")
        time.sleep(0.1)
