"""An accepted SMS on its way: accepted → queued → sent → delivered, and a receipt for each but the first."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from worker.sandbox.callbacks import Callbacks
from worker.sandbox.config import SandboxConfig
from worker.sandbox.faults import Fault, Kind
from worker.sandbox.journal import Journal
from worker.sandbox.sms import Sms

_VALIDITY_EXPIRED = 30036


class Lifecycle:
    """Moves messages on and posts their receipts. Needs a running loop."""

    def __init__(self, config: SandboxConfig, callbacks: Callbacks, journal: Journal) -> None:
        self._config = config
        self._callbacks = callbacks
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._first_seq = 0
        # All wait equally long, so the first in is the first due: one timer does for all of them.
        self._steps: deque[tuple[float, Sms, Callable[[Sms], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, sms: Sms) -> None:
        """Starts a message that was just accepted."""
        if sms.held:
            self._at(sms.validity_s, sms, self._expire)
        elif sms.send_at is not None:
            self._at((sms.send_at - sms.created_at).total_seconds(), sms, self._due)
        else:
            self._advance(sms)

    def release(self, sms: Sms) -> None:
        """Lets a held message go on, or a scheduled one as if its time had come."""
        sms.held = False
        if sms.status == "scheduled":
            self._due(sms)
        else:
            self._advance(sms)

    def cancel(self, sms: Sms) -> bool:
        """Takes back a scheduled message; False if it is past that."""
        if sms.status != "scheduled":
            return False
        sms.held = False
        self._set(sms, "canceled")
        return True

    def forget(self, first_seq: int) -> None:
        """Ends the life of all messages before `first_seq`: no more steps, no more receipts."""
        self._first_seq = first_seq
        self._callbacks.cancel()

    def _next(self, sms: Sms, step: Callable[[Sms], None]) -> None:
        """Takes the step after the usual time."""
        self._steps.append((self._loop.time() + self._config.progress_s, sms, step))
        if self._timer is None:
            self._set_timer()

    def _set_timer(self) -> None:
        self._timer = self._loop.call_at(self._steps[0][0], self._take_steps) if self._steps else None

    def _take_steps(self) -> None:
        now = self._loop.time()
        try:
            while self._steps and self._steps[0][0] <= now:
                _, sms, step = self._steps.popleft()
                self._run(sms, step)
        finally:
            self._set_timer()

    def _at(self, delay_s: float, sms: Sms, step: Callable[[Sms], None]) -> None:
        self._loop.call_later(delay_s, self._run, sms, step)

    def _run(self, sms: Sms, step: Callable[[Sms], None]) -> None:
        if sms.seq >= self._first_seq:
            step(sms)

    def _due(self, sms: Sms) -> None:
        if sms.status == "scheduled":
            self._set(sms, "accepted")
            self._advance(sms)

    def _advance(self, sms: Sms) -> None:
        step = self._queue if sms.status == "accepted" else self._send
        self._next(sms, step)

    def _queue(self, sms: Sms) -> None:
        sms.sender = sms.sender or self._config.pool_number
        self._set(sms, "queued")
        self._next(sms, self._send)

    def _send(self, sms: Sms) -> None:
        sms.sent_at = datetime.now(UTC)
        self._set(sms, "sent")
        self._next(sms, self._finish)

    def _finish(self, sms: Sms) -> None:
        match sms.receipt_fault:
            case Fault(kind=Kind.UNDELIVERED, params=params):
                self._set(sms, "undelivered", params["code"])
            case Fault(kind=Kind.CONTRADICT):
                self._set(sms, "delivered")
                self._next(sms, self._contradict)
            case _:
                self._set(sms, "delivered")

    def _contradict(self, sms: Sms) -> None:
        assert sms.receipt_fault is not None
        self._set(sms, "undelivered", sms.receipt_fault.params["code"])

    def _expire(self, sms: Sms) -> None:
        if sms.held:
            sms.held = False
            self._set(sms, "failed", _VALIDITY_EXPIRED)

    def _set(self, sms: Sms, status: str, error_code: int | None = None) -> None:
        sms.status = status
        sms.error_code = error_code
        sms.updated_at = datetime.now(UTC)
        if sms.callback:
            self._tell(sms, self._receipt(sms))

    def _tell(self, sms: Sms, receipt: dict[str, str]) -> None:
        """Posts one receipt, or what its fault makes of it."""

        async def post() -> None:
            await self._post(sms, receipt)

        async def post_with_sent_after() -> None:
            await self._post(sms, receipt)
            sent = {**receipt, "MessageStatus": "sent", "SmsStatus": "sent"}
            del sent["RawDlrDoneDate"]
            await self._post(sms, sent)

        match sms.receipt_fault:
            case Fault(kind=Kind.NEVER):
                pass
            case Fault(kind=Kind.LATE, params=params):
                self._callbacks.start(post, params["s"])
            case Fault(kind=Kind.DOUBLE):
                self._callbacks.start(post)
                self._callbacks.start(post)
            case Fault(kind=Kind.REORDER) if receipt["MessageStatus"] == "sent":
                pass
            case Fault(kind=Kind.REORDER) if receipt["MessageStatus"] == "delivered":
                self._callbacks.start(post_with_sent_after)
            case _:
                self._callbacks.start(post)

    async def _post(self, sms: Sms, receipt: dict[str, str]) -> None:
        answer = await self._callbacks.post(sms.callback, receipt)
        self._journal.receipt(sms, receipt["MessageStatus"], answer)

    def _receipt(self, sms: Sms) -> dict[str, str]:
        receipt = {
            "AccountSid": self._config.account_sid,
            "MessageSid": sms.sid,
            "SmsSid": sms.sid,
            "MessageStatus": sms.status,
            "SmsStatus": sms.status,
            "To": sms.to,
            "From": sms.sender or "",
            "ApiVersion": "2010-04-01",
        }
        if sms.service_sid:
            receipt["MessagingServiceSid"] = sms.service_sid
        if sms.error_code is not None:
            receipt["ErrorCode"] = str(sms.error_code)
        if sms.status in ("delivered", "undelivered"):
            receipt["RawDlrDoneDate"] = sms.updated_at.strftime("%y%m%d%H%M")
        return receipt
