"""What the routes of one web process share, and how they reach the database without blocking the loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, TypeVar

from fastapi import HTTPException, Request
from sqlalchemy import Engine

from worker.pipeline.signers import Signer
from worker.store.engine import database_errors
from worker.web.limits import RateLimit
from worker.web.nudges import Nudges
from worker.web.tokens import Tokens

THREADS: Final = 8
"""Database work under way at once; the engine's pool holds as many connections."""
BODY_TIMEOUT_S: Final = 10.0
"""A request's body is there by then, or the request is given up."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the web service needs of the settings."""

    public_url: str
    """Without a trailing slash. Signatures are checked against it, never against Host."""
    unsubscribe_key: str = field(repr=False)
    inbox_jwt_key: str = field(repr=False)
    """Empty: the inbox answers that it is not set up."""
    inbox_jwt_algorithm: str = "HS256"
    inbox_jwt_audience: str = "dunlin-inbox"
    production: bool = False
    poll_s: float = 3.0
    """How often an open stream looks into the database while Redis is away."""
    quiet_poll_s: float = 30.0
    """And while nudges arrive: heals one that was lost."""
    ready_s: float = 1.0
    """How old an answer of /readyz may be."""
    ping_s: int = 15
    """How often an open stream says that it lives; proxies cut silent ones."""


@dataclass(slots=True)
class Service:
    """One process's parts."""

    engine: Engine
    config: WebConfig
    signers: Sequence[Signer]
    tokens: Tokens | None
    nudges: Nudges
    webhook_failures: RateLimit
    link_requests: RateLimit
    bad_tokens: RateLimit
    """By the caller's address."""
    inbox_requests: RateLimit
    """By borrower."""
    refused_webhooks: int = 0
    """Callbacks that nobody we know had signed, since this process started."""
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="database")
    )

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs database work in a thread.

        Raises:
            DatabaseDown: PostgreSQL does not answer or refuses us.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(_translated, work, *args, **kwargs))

    async def close(self) -> None:
        """Gives back threads and connections."""
        await self.nudges.close()
        for signer in self.signers:
            await signer.adapter.close()
        self._threads.shutdown(cancel_futures=True)
        self.engine.dispose()


def _translated(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    with database_errors():
        return work(*args, **kwargs)


def client_of(request: Request) -> str:
    """The peer's address: the proxy's, where one stands in front and the server was not told to trust it."""
    return request.client.host if request.client else "local"


async def body_of(request: Request) -> bytes:
    """The whole body, bounded in size by the guard and in time here.

    Raises:
        HTTPException: 408, it did not arrive in time.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.body()
    except TimeoutError:
        raise HTTPException(408) from None
