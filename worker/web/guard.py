"""Around every route: bodies are bounded, answers carry security headers, errors say nothing personal."""

from pathlib import Path
from typing import Final

import structlog
from fastapi import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 64 * 1024
"""Bytes of a request's body. Twilio's callbacks have about one KiB."""

HEADERS: Final = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    b"cache-control": b"no-store",
    b"x-robots-tag": b"noindex, nofollow",
}
"""Set where a route has not set its own."""
HTTPS_ONLY: Final = {b"strict-transport-security": b"max-age=31536000"}

log = structlog.get_logger()


class Guard:
    """The outermost ASGI layer of ours."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = HEADERS | (HTTPS_ONLY if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                set_already = {name.lower() for name, _ in message["headers"]}
                missing = [pair for pair in self._headers.items() if pair[0] not in set_already]
                message["headers"] = [*message["headers"], *missing]
            await send(message)

        try:
            if _declared(scope) > MAX_BODY:
                await _answer(413, "body too large")(scope, receive, guarded_send)
            else:
                await self._app(scope, _bounded(receive), guarded_send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  # the server would log it with its text, which may hold data
            log.error("web.failed", error=type(error).__name__, at=_place(error))
            if not started:
                await _answer(500, "internal error")(scope, receive, guarded_send)


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else MAX_BODY + 1
    return 0


def _bounded(receive: Receive) -> Receive:
    """A body without a declared length is cut off where it grows too long."""
    received = 0

    async def bounded_receive() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            raise HTTPException(413, "body too large")
        return message

    return bounded_receive


def _answer(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)


def _place(error: BaseException) -> str:
    """File and line that raised it: enough to find it, and nothing of what it was about."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
