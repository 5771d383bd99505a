"""An installation to break: made fresh for each test, with a provider that runs as a process of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.house import LIST_LAG_S, House
from tests.faults.proxy import Proxy, proxy, socket_of, through
from tests.faults.servers import Broker, Database
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.store import schema
from worker.store.engine import make_engine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=50, help="How often workers are killed at random moments.")


@pytest.fixture
def provider() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=LIST_LAG_S, progress_s=0.1)) as running:
        yield running


@pytest.fixture
def house(
    engine: Engine, database_url: str, redis_url: str, provider: SandboxProcess, tmp_path: Path
) -> Iterator[House]:
    """No part of it runs yet."""
    servers = {"DUNLIN_DATABASE_URL": database_url, "DUNLIN_REDIS_URL": redis_url}
    made = House(engine, servers, provider, tmp_path)
    with made.parts:
        yield made
        made.clear()


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    made.start()
    yield made
    made.kill()


@pytest.fixture
def house_on_broker(house: House, broker: Broker) -> House:
    """Its broker may be killed."""
    house.parts.environment = {**house.parts.environment, "DUNLIN_REDIS_URL": broker.url}
    return house


@pytest.fixture
def wire(house: House, database_url: str) -> Iterator[Proxy]:
    """Between the parts of the house and their database."""
    with proxy(socket_of(database_url)) as made:
        url = through(database_url, made.port)
        house.parts.environment = {**house.parts.environment, "DUNLIN_DATABASE_URL": url}
        yield made


@pytest.fixture
def database() -> Iterator[Database]:
    """A migrated database on a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="df"))
    folder.chmod(0o755)
    made = Database(folder / "postgres")
    engine = make_engine(made.url, "tests")
    schema.migrate(engine)
    engine.dispose()
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def house_on_database(
    database: Database, redis_url: str, provider: SandboxProcess, tmp_path: Path
) -> Iterator[House]:
    """Its database may be crashed."""
    engine = make_engine(database.url, "tests")
    servers = {"DUNLIN_DATABASE_URL": database.url, "DUNLIN_REDIS_URL": redis_url}
    made = House(engine, servers, provider, tmp_path)
    with made.parts:
        yield made
        made.clear()
    engine.dispose()
