"""Runs one sandbox: HTTP for Twilio and the control API, SMTP for mail, on one event loop."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from aiohttp import web

from worker.sandbox.callbacks import Callbacks
from worker.sandbox.config import HostRefused, Ports, SandboxConfig
from worker.sandbox.control import ControlApi
from worker.sandbox.faults import FaultBook
from worker.sandbox.journal import Journal
from worker.sandbox.lifecycle import Lifecycle
from worker.sandbox.messages_api import MessagesApi
from worker.sandbox.smtp import Mailbox, smtp_factory

__all__ = ["CannotListen", "HostRefused", "Ports", "SandboxConfig", "run"]


class CannotListen(OSError):
    """An address cannot be listened on; the text names it, why, and the option that changes it."""


async def run(config: SandboxConfig, ready: Callable[[Ports], None] | None = None) -> None:
    """Serves until cancelled, or until SIGTERM or SIGINT when called in the main thread.

    Raises:
        HostRefused: the host is not a loopback address and the configuration does not allow that.
        CannotListen: a port is taken.
        OSError: the journal or certificate cannot be opened.
    """
    config.check_host()
    stop = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        journal = Journal(config.journal)
        stack.callback(journal.close)
        faults = FaultBook(config.seed)
        callbacks = Callbacks(config.auth_token)
        stack.push_async_callback(callbacks.close)
        twilio = MessagesApi(config, faults, journal, Lifecycle(config, callbacks, journal))
        control = ControlApi(config, faults, journal, twilio, callbacks)
        routes = [*twilio.routes(), *control.routes()]
        http_port = await stack.enter_async_context(_http(config, routes))
        smtp_port = await stack.enter_async_context(_smtp(config, faults, journal))
        if ready is not None:
            ready(Ports(http_port, smtp_port, os.getpid()))
        await stop.wait()


@asynccontextmanager
async def _http(config: SandboxConfig, routes: list[web.RouteDef]) -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes(routes)
    # Hung requests (fault `timeout`) are cut, not waited for.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.http_port)
        with _listening(config.host, config.http_port, "--http-port"):
            await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _smtp(config: SandboxConfig, faults: FaultBook, journal: Journal) -> AsyncIterator[int]:
    factory = smtp_factory(config, faults, Mailbox(config, faults, journal))
    with _listening(config.host, config.smtp_port, "--smtp-port"):
        server = await asyncio.get_running_loop().create_server(factory, config.host, config.smtp_port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextmanager
def _listening(host: str, port: int, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise CannotListen(
            f"cannot listen on {host}:{port} ({reason.lower()}): see --host and {option}"
        ) from None
