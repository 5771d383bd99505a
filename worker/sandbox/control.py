"""The control API under /_sandbox: what was received, and what shall go wrong. JSON in and out."""

import json
import os
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from worker.sandbox.callbacks import Callbacks
from worker.sandbox.config import SandboxConfig
from worker.sandbox.faults import CHANNELS, BadFault, FaultBook
from worker.sandbox.journal import Journal
from worker.sandbox.messages_api import MessagesApi


class ControlApi:
    """The routes by which tests, demo and CLI look at the sandbox and steer it."""

    def __init__(
        self,
        config: SandboxConfig,
        faults: FaultBook,
        journal: Journal,
        twilio: MessagesApi,
        callbacks: Callbacks,
    ) -> None:
        self._config = config
        self._faults = faults
        self._journal = journal
        self._twilio = twilio
        self._callbacks = callbacks

    def routes(self) -> list[web.RouteDef]:
        """The part of the web application that is not the provider."""
        return [
            web.get("/_sandbox/healthz", self._health),
            web.get("/_sandbox/messages", self._messages),
            web.delete("/_sandbox/messages", self._reset),
            web.get("/_sandbox/counts", self._counts),
            web.get("/_sandbox/faults", self._list_faults),
            web.post("/_sandbox/faults", self._add_fault),
            web.delete("/_sandbox/faults", self._clear_faults),
            web.post("/_sandbox/inbound", self._inbound),
            web.post("/_sandbox/release", self._release),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True, "pid": os.getpid()})

    async def _messages(self, request: web.Request) -> web.Response:
        query = request.query
        limit, channel = query.get("limit", ""), query.get("channel", "")
        outcome = query.get("outcome", "accepted")
        if limit and not limit.isdigit():
            raise _bad_request(f"limit: {limit!r} is no whole number")
        if channel not in ("", *CHANNELS):
            raise _bad_request(f"channel: {channel!r} is none of {', '.join(CHANNELS)}")
        if outcome not in ("accepted", "refused"):
            raise _bad_request(f"outcome: {outcome!r} is neither accepted nor refused")
        found = self._journal.messages(
            outcome=outcome,
            channel=channel,
            to=query.get("to", ""),
            message_id=query.get("message_id", ""),
            limit=int(limit) if limit else None,
        )
        return web.json_response(found)

    async def _reset(self, _: web.Request) -> web.Response:
        self._twilio.clear()
        self._journal.clear()
        return web.json_response({})

    async def _counts(self, _: web.Request) -> web.Response:
        return web.json_response(self._journal.counts())

    async def _list_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self._faults.as_json())

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self._faults.add(await _object(request)).as_json(), status=201)
        except BadFault as error:
            raise _bad_request(str(error)) from None

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({})

    async def _inbound(self, request: web.Request) -> web.Response:
        body = await _object(request)
        borrower, sender, text, url = (_text(body, name) for name in ("from", "to", "body", "url"))
        self._twilio.note_inbound(borrower, sender, text)
        sid = "SM" + secrets.token_hex(16)
        params = {
            "MessageSid": sid,
            "SmsSid": sid,
            "SmsMessageSid": sid,
            "AccountSid": self._config.account_sid,
            "From": borrower,
            "To": sender,
            "Body": text,
            "NumMedia": "0",
            "NumSegments": "1",
            "SmsStatus": "received",
            "ApiVersion": "2010-04-01",
        }
        return web.json_response({"sid": sid, "answer": await self._callbacks.post(url, params)})

    async def _release(self, request: web.Request) -> web.Response:
        scheduled = (await _object(request)).get("scheduled", False)
        return web.json_response({"released": self._twilio.release(scheduled=bool(scheduled))})


async def _object(request: web.Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise _bad_request("the body is no JSON") from None
    if not isinstance(body, dict):
        raise _bad_request("the body is no JSON object")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise _bad_request(f"{name}: missing or no text")
    return value


def _bad_request(text: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": text}), content_type="application/json")
