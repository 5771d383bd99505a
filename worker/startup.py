"""What a long-running part looks at before it starts: it refuses where its record could not be relied on."""

import structlog
from redis import Redis
from redis.exceptions import RedisError

from worker import settings, wiring
from worker.store import schema, server
from worker.store.engine import DatabaseDown, database_errors

log = structlog.get_logger()


class Unfit(RuntimeError):
    """This installation must not be started like this; the text says what to change."""


def check_database(role: str, *, insist_on_schema: bool) -> None:
    """A database that is away is waited for by whoever works with it, so it stops no start.

    Raises:
        Unfit: it may forget what it has committed, or has another schema than this version needs. Without
            `insist_on_schema` that is a warning: what can be stored must be, and readiness says the rest.
    """
    try:
        with database_errors(), wiring.engine(role).connect() as connection:
            weak = [name for name, value in server.durability(connection).items() if value == "off"]
            present = schema.present(connection)
    except DatabaseDown as error:
        log.warning("startup.database_away", why=str(error))
        return
    finally:
        wiring.engine(role).dispose()
    if weak:
        raise Unfit(
            f"PostgreSQL has {', '.join(weak)} off: after a crash it could forget what was sent, which would "
            "be sent again; turn it on, for the server, the database and the role"
        )
    if present != schema.wanted():
        says = f"the database is at revision {present or 'none'}, this version needs {schema.wanted()}"
        if insist_on_schema:
            raise Unfit(f"{says}: run dunlin migrate, or the version that fits")
        log.warning("startup.schema", why=says, todo="dunlin migrate")


def check_broker() -> None:
    """Warns of a broker that may drop wake-ups. Nothing is lost by it, but everything waits for the pump."""
    try:
        policy = eviction_policy(settings.current().redis_url.get_secret_value())
    except (RedisError, OSError, ValueError) as error:
        log.warning("startup.broker_away", error=type(error).__name__)
        return
    if policy != "noeviction":
        log.warning("startup.broker_evicts", policy=policy, todo="set maxmemory-policy noeviction")


def eviction_policy(url: str) -> str:
    """What the broker does when its memory is full.

    Raises:
        RedisError, OSError, ValueError: it cannot be asked.
    """
    with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
        return str(client.info("memory").get("maxmemory_policy", "unknown"))
