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

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive", "version": worker.__version__}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        database, redis = await asyncio.gather(_database(service), service.nudges.redis_answers())
        parts = {"database": database.pop("state"), "redis": "ok" if redis else "down"}
        ready = set(parts.values()) == {"ok"}
        answer = {
            "status": "ready" if ready else "not ready",
            "version": worker.__version__,
            "parts": parts,
            "refused_webhooks": service.refused_webhooks,
        }
        return JSONResponse(answer | database, 200 if ready else 503)

    return router


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
