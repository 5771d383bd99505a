"""The web application, put together from explicit parts; and the factory a server starts it by:

uvicorn worker.web.app:create --factory

Behind a proxy on another host, --forwarded-allow-ips names it: rate limits then count the client's address.
Signatures never depend on it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import Engine

import worker
from worker import logs, settings, wiring
from worker.domain.clock import SystemClock
from worker.pipeline.signers import Signer
from worker.settings import Settings
from worker.store.engine import DatabaseDown, make_engine
from worker.web import health, inbox_api, unsubscribe, webhooks
from worker.web.guard import Guard
from worker.web.limits import RateLimit
from worker.web.nudges import Nudges
from worker.web.service import THREADS, Service, WebConfig
from worker.web.tokens import Tokens

FAILED_WEBHOOKS_PER_MINUTE = 30
LINK_REQUESTS_PER_MINUTE = 60
BAD_TOKENS_PER_MINUTE = 60
INBOX_REQUESTS_PER_MINUTE = 240
"""Of one borrower, over all devices: an app that asks every second is a fault, four of them are not."""

log = structlog.get_logger()


def make_app(*, engine: Engine, redis_url: str, config: WebConfig, signers: Sequence[Signer]) -> FastAPI:
    """The application over an engine it disposes of when it stops. Opens nothing before it is started.

    Raises:
        ValueError: the inbox key cannot be used.
    """
    key = config.inbox_jwt_key
    clock = SystemClock()
    service = Service(
        engine=engine,
        config=config,
        signers=signers,
        tokens=Tokens(key, config.inbox_jwt_algorithm, config.inbox_jwt_audience) if key else None,
        nudges=Nudges(redis_url),
        webhook_failures=RateLimit(FAILED_WEBHOOKS_PER_MINUTE, clock.monotonic),
        link_requests=RateLimit(LINK_REQUESTS_PER_MINUTE, clock.monotonic),
        bad_tokens=RateLimit(BAD_TOKENS_PER_MINUTE, clock.monotonic),
        inbox_requests=RateLimit(INBOX_REQUESTS_PER_MINUTE, clock.monotonic),
    )
    app = FastAPI(
        title="Dunlin",
        version=worker.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None if config.production else "/openapi.json",
        redirect_slashes=False,  # a redirect would be built from the Host header
        lifespan=_lifespan(service),
    )
    app.add_middleware(Guard, https=config.public_url.startswith("https://"))
    app.add_exception_handler(DatabaseDown, _database_down)
    app.add_exception_handler(RequestValidationError, _not_found)
    for part in (health, webhooks, unsubscribe, inbox_api):
        app.include_router(part.routes(service))
    return app


def create() -> FastAPI:
    """The application of this process, from its settings.

    Raises:
        SettingsInvalid: names each variable that cannot be used.
    """
    config = settings.current()
    logs.configure(config.log_format, config.log_level)
    _silence()
    return make_app(
        engine=make_engine(config.database_url.get_secret_value(), "web", pool_size=THREADS),
        redis_url=config.redis_url.get_secret_value(),
        config=WebConfig(
            public_url=config.public_url.rstrip("/"),
            unsubscribe_key=config.unsubscribe_key.get_secret_value(),
            inbox_jwt_key=config.inbox_jwt_key.get_secret_value(),
            inbox_jwt_algorithm=config.inbox_jwt_algorithm,
            inbox_jwt_audience=config.inbox_jwt_audience,
            production=config.environment == "production",
        ),
        signers=_signers(config),
    )


def _signers(config: Settings) -> list[Signer]:
    """Whose signatures are believed; nobody's, if no secret of theirs is ours alone."""
    signers = []
    if config.twilio_account_sid and config.twilio_auth_token.get_secret_value():
        signers.append(Signer(wiring.adapter("sms", "twilio", "live"), sandbox=False))
    if config.sandbox_may_sign():
        signers.append(Signer(wiring.adapter("sms", "twilio", "sandbox"), sandbox=True))
    return signers


def _silence() -> None:
    """Servers log paths with their queries, and streams what they carry."""
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    logging.getLogger("sse_starlette").setLevel(logging.WARNING)


def _lifespan(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(service.nudges.run())
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await service.close()

    return lifespan


async def _database_down(_request: Request, error: Exception) -> JSONResponse:
    """The provider asks again later; nothing was stored."""
    log.warning("web.database_down", why=getattr(error, "says", ""))
    return JSONResponse({"detail": "the database does not answer"}, 503, {"Retry-After": "5"})


async def _not_found(_request: Request, _error: Exception) -> JSONResponse:
    """The only input that is validated is part of a path; the default answer would repeat it."""
    return JSONResponse({"detail": "Not Found"}, 404)
