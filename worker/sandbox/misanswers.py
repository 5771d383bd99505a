"""How a fault distorts a call of the Messages API: what is accepted, and what the client sees of it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from aiohttp import web

from worker.sandbox.faults import Fault, Kind
from worker.sandbox.twilio_errors import error_response, json_response

_REFUSING = frozenset(
    {
        Kind.HTTP_429,
        Kind.HTTP_500,
        Kind.TIMEOUT_BEFORE,
        Kind.DROP_BEFORE,
        Kind.ERROR,
        Kind.UNAUTHORIZED,
    }
)
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


async def misanswer(
    fault: Fault, request: web.Request, accept: Callable[[], web.Response], refuse: Callable[[str], None]
) -> web.StreamResponse:
    """Answers as `fault` says.

    `accept` does what was asked and gives the true answer; `refuse` notes that it was not done: one is
    called. A request that breaks the provider's rules gets its true answer where the fault would accept.
    """
    params = fault.params
    if fault.kind is Kind.LATENCY and not params["accept_first"]:
        # A slow provider takes the message even when the client has hung up by then.
        await asyncio.sleep(params["s"])
        return accept()
    if fault.kind in _REFUSING or (fault.kind is Kind.HTTP_502 and not params["accepted"]):
        refuse(fault.kind)
        return await _without(fault, request)
    true_answer = accept()
    if true_answer.status >= 400:
        return true_answer
    return await _instead(fault, request, true_answer)


async def _without(fault: Fault, request: web.Request) -> web.StreamResponse:
    params = fault.params
    match fault.kind:
        case Kind.HTTP_429:
            return error_response(20429, headers=_retry_after(params))
        case Kind.ERROR:
            return error_response(params["code"], status=params["status"])
        case Kind.UNAUTHORIZED:
            return error_response(20003)
        case Kind.HTTP_502:
            return _bad_gateway()
        case Kind.TIMEOUT_BEFORE:
            return await _silence(request)
        case Kind.DROP_BEFORE:
            return _hang_up(request)
    return error_response(20500)


async def _instead(fault: Fault, request: web.Request, true_answer: web.Response) -> web.StreamResponse:
    params = fault.params
    match fault.kind:
        case Kind.LATENCY:
            await asyncio.sleep(params["s"])
        case Kind.HTTP_500_AFTER:
            return error_response(params["code"], status=params["status"])
        case Kind.HTTP_502:
            return _bad_gateway()
        case Kind.TIMEOUT:
            return await _silence(request)
        case Kind.DROP_AFTER:
            return _hang_up(request)
        case Kind.GARBAGE_200:
            return web.Response(text="<ok/>", content_type="application/json")
        case Kind.NO_SID_200:
            return json_response({"status": "queued"})
        case Kind.SLOW_DRIP:
            return await _drip(request, true_answer, params["s"])
    return true_answer


def _bad_gateway() -> web.Response:
    return web.Response(status=502, text=_HTML, content_type="text/html")


def _retry_after(params: Mapping[str, Any]) -> dict[str, str]:
    seconds = params["retry_after_s"]
    if seconds is None:
        return {}
    if params["http_date"]:
        return {"Retry-After": formatdate(time.time() + seconds, usegmt=True)}
    return {"Retry-After": f"{seconds:g}"}


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _silence(request: web.Request) -> web.Response:
    """Says nothing until the client has given up."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0.1)
    return web.Response()


async def _drip(request: web.Request, answer: web.Response, duration_s: float) -> web.StreamResponse:
    body = answer.body
    assert isinstance(body, bytes)
    slow = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    slow.content_length = len(body)
    await slow.prepare(request)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for sent, byte in enumerate(body, 1):
        await slow.write(bytes([byte]))
        await asyncio.sleep(started + duration_s * sent / len(body) - loop.time())
    return slow
