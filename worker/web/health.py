"""Health is progress in the database: the process is alive, its parts answer, and nothing due waits long."""

import asyncio
from functools import cache
from typing import Any, Final

import structlog
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import Engine

import worker
from worker.domain.message import CHANNELS
from worker.store import progress, schema
from worker.store.engine import DatabaseDown
from worker.web.service import Service

READY_TIMEOUT_S: Final = 8.0
"""Longer than connecting may take, so that a refused connection is told from a slow answer."""

log = structlog.get_logger()


def routes(service: Service) -> APIRouter:
    """/healthz says that this process lives; /readyz that it can work, and which part cannot."""
    router = APIRouter()
    asking = asyncio.Lock()
    known: tuple[float, int, dict[str, Any]] | None = None

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive", "version": worker.__version__}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        # Anybody may ask, as often as they like: the parts are asked now and then, not each time.
        nonlocal known
        async with asking:
            clock = asyncio.get_running_loop()
            if known is None or clock.time() - known[0] >= service.config.ready_s:
                status, answer = await _readiness(service)
                known = clock.time(), status, answer
            _, status, answer = known
            return JSONResponse(answer, status)

    return router


async def _readiness(service: Service) -> tuple[int, dict[str, Any]]:
    database, redis = await asyncio.gather(_database(service), service.nudges.redis_answers())
    parts = {"database": database.pop("state"), "redis": "ok" if redis else "down"}
    ready = set(parts.values()) == {"ok"}
    answer = {
        "status": "ready" if ready else "not ready",
        "version": worker.__version__,
        "parts": parts,
        "refused_webhooks": service.refused_webhooks,
    }
    return (200 if ready else 503), answer | database


async def _database(service: Service) -> dict[str, Any]:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            return await service.run(_look, service.engine)
    except DatabaseDown as error:
        log.warning("health.database_down", why=str(error))
        return {"state": "down"}
    except TimeoutError:
        log.warning("health.database_slow", after_s=READY_TIMEOUT_S)
        return {"state": f"no answer within {READY_TIMEOUT_S:g} s"}


def _look(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        present, wanted = schema.present(connection), _wanted()
        if present != wanted:
            return {"state": f"at revision {present or 'none'}, not {wanted}"}
        ages = progress.oldest_due_s(connection, CHANNELS)
    return {"state": "ok", "oldest_due_s": {channel: round(age, 1) for channel, age in ages.items()}}


@cache
def _wanted() -> str:
    """Reading the migrations takes longer than everything else here, and they do not change under us."""
    return schema.wanted()
