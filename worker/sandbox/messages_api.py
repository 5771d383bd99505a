"""Twilio's Messages API, version 2010-04-01: create, fetch, list and cancel messages."""

import secrets
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import count
from urllib.parse import parse_qs, parse_qsl, urlsplit

from aiohttp import web

from worker.sandbox.config import SandboxConfig
from worker.sandbox.create_rules import check
from worker.sandbox.faults import HTTP_KINDS, RECEIPT_KINDS, Fault, FaultBook, Kind
from worker.sandbox.journal import Journal
from worker.sandbox.lifecycle import Lifecycle
from worker.sandbox.listing import list_messages
from worker.sandbox.misanswers import misanswer
from worker.sandbox.sms import Sms, SmsBook
from worker.sandbox.twilio_errors import ApiError, error_response, json_response

_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "REVOKE"})
_START_WORDS = frozenset({"START", "YES", "UNSTOP"})
"""Words by which Twilio itself opts a borrower out of a sender's messages, and in again."""


class MessagesApi:
    """The routes of one account, with its messages and the opt-outs Twilio keeps."""

    def __init__(
        self, config: SandboxConfig, faults: FaultBook, journal: Journal, lifecycle: Lifecycle
    ) -> None:
        self._account = config.account_sid
        self._schedule_least_s = config.schedule_least_s
        self._faults = faults
        self._journal = journal
        self._lifecycle = lifecycle
        self._book = SmsBook(config.list_lag_s)
        self._seq = count(1)
        self._opted_out: defaultdict[str, set[str]] = defaultdict(set)
        self._credentials = frozenset(
            {
                _basic(config.account_sid, config.auth_token),
                _basic(config.api_key_sid, config.api_key_secret),
            }
        )

    def routes(self) -> list[web.RouteDef]:
        """The part of the web application that is Twilio."""
        path = f"/2010-04-01/Accounts/{self._account}/Messages"
        return [
            web.post(f"{path}.json", self._create),
            web.get(f"{path}.json", self._list),
            web.get(path + "/{sid}.json", self._fetch),
            web.post(path + "/{sid}.json", self._update),
            web.route("*", "/2010-04-01/{rest:.*}", self._unknown),
        ]

    def clear(self) -> None:
        """Forgets all messages and opt-outs; nothing more is said of them."""
        self._lifecycle.forget(next(self._seq))
        self._book.clear()
        self._opted_out.clear()

    def release(self, *, scheduled: bool) -> int:
        """Lets go of held messages, or of the scheduled ones, ahead of their time. Tells how many."""
        freed = [sms for sms in self._book.waiting() if sms.held is not scheduled]
        for sms in freed:
            self._lifecycle.release(sms)
        return len(freed)

    def note_inbound(self, borrower: str, sender: str, text: str) -> None:
        """STOP makes Twilio refuse what `sender` sends to `borrower` from now on; START lifts that."""
        word = text.strip().upper()
        if word in _STOP_WORDS:
            self._opted_out[borrower].add(sender)
        elif word in _START_WORDS:
            self._opted_out[borrower].discard(sender)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        form = dict(parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True))
        to = form.get("To", "")

        def refuse(reason: str) -> None:
            self._journal.refuse("sms", to, _our_ids(form)[0], reason)

        def accept(fault: Fault | None) -> web.Response:
            try:
                sms = self._accept(form, held=fault is not None and fault.kind is Kind.HOLD)
            except ApiError as error:
                refuse(str(error.code))
                return error_response(error.code, detail=error.detail)
            return json_response(sms.as_resource(self._account), 201)

        return await self._answer(request, "create", to, accept, refuse)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        def accept(_: Fault | None) -> web.Response:
            try:
                return json_response(list_messages(request.query, self._book, self._account))
            except ApiError as error:
                return error_response(error.code, detail=error.detail)

        return await self._answer(request, "list", request.query.get("To", ""), accept, _ignore)

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        return await self._one(request, "fetch", _ignore)

    async def _update(self, request: web.Request) -> web.StreamResponse:
        form = dict(parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True))

        def cancel(sms: Sms) -> None:
            if form.get("Status") != "canceled":
                raise ApiError(20001, "only Status=canceled can be set here")
            if not self._lifecycle.cancel(sms):
                raise ApiError(30409)

        return await self._one(request, "update", cancel)

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        return error_response(20404 if self._knows(request) else 20003)

    async def _one(
        self, request: web.Request, operation: str, act: Callable[[Sms], None]
    ) -> web.StreamResponse:
        sms = self._book.get(request.match_info["sid"])

        def accept(_: Fault | None) -> web.Response:
            if sms is None:
                return error_response(20404)
            try:
                act(sms)
            except ApiError as error:
                return error_response(error.code, detail=error.detail)
            return json_response(sms.as_resource(self._account))

        return await self._answer(request, operation, sms.to if sms else "", accept, _ignore)

    async def _answer(
        self,
        request: web.Request,
        operation: str,
        to: str,
        accept: Callable[[Fault | None], web.Response],
        refuse: Callable[[str], None],
    ) -> web.StreamResponse:
        self._journal.call(operation)
        if not self._knows(request):
            refuse("20003")
            return error_response(20003)
        fault = self._faults.pick(HTTP_KINDS, channel="sms", to=to, on=operation)
        if fault is None:
            return accept(None)
        return await misanswer(fault, request, partial(accept, fault), refuse)

    def _knows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") in self._credentials

    def _accept(self, form: Mapping[str, str], *, held: bool) -> Sms:
        now = datetime.now(UTC)
        order = check(form, now, self._schedule_least_s)
        stopped = self._opted_out.get(order.to)
        # A service sends from any number of its pool, and one STOP to any of them holds for the service.
        if stopped and (order.service_sid or order.sender in stopped):
            raise ApiError(21610)
        status = "scheduled" if order.send_at else "accepted" if order.service_sid else "queued"
        message_id, attempt_id = _our_ids(form)
        sms = Sms(
            seq=next(self._seq),
            sid="SM" + secrets.token_hex(16),
            created_at=now,
            updated_at=now,
            to=order.to,
            sender=order.sender,
            service_sid=order.service_sid,
            body=order.body,
            status=status,
            validity_s=order.validity_s,
            send_at=order.send_at,
            callback=order.callback,
            message_id=message_id,
            attempt_id=attempt_id,
            held=held,
            receipt_fault=self._faults.pick(RECEIPT_KINDS, channel="sms", to=order.to),
        )
        self._book.add(sms)
        self._journal.accept(sms)
        self._lifecycle.begin(sms)
        return sms


def _our_ids(form: Mapping[str, str]) -> tuple[str, str]:
    """Our message and attempt id from the callback's query, else the body's hash and nothing."""
    try:
        query = parse_qs(urlsplit(form.get("StatusCallback", "")).query)
    except ValueError:
        query = {}
    message_id = query.get("m", [""])[0]
    return message_id or sha256(form.get("Body", "").encode()).hexdigest(), query.get("a", [""])[0]


def _basic(login: str, password: str) -> str:
    return "Basic " + b64encode(f"{login}:{password}".encode()).decode()


def _ignore(_: object) -> None:
    """Reading refuses and changes nothing worth noting."""
