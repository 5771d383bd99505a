"""Messages as the provider keeps them, and its listing: newest first, behind by the lag, paged by token."""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

from worker.sandbox.faults import Fault
from worker.sandbox.twilio_errors import failure_text

_GSM = re.compile(
    r"[@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà^{}\\\[~\]|€]*"
)
_GSM_DOUBLE = re.compile(r"[\^{}\\\[~\]|€]")


@dataclass(slots=True, kw_only=True)
class Sms:
    """One accepted message. Status words are Twilio's."""

    seq: int
    """Order of acceptance; never starts anew within a process."""
    sid: str
    created_at: datetime
    updated_at: datetime
    to: str
    sender: str | None
    """None until a Messaging Service has chosen its number."""
    service_sid: str | None
    body: str
    status: str
    validity_s: int
    send_at: datetime | None
    callback: str
    """StatusCallback as given, or empty."""
    message_id: str
    """Ours, from the callback's `m`, else the body's SHA-256."""
    attempt_id: str
    sent_at: datetime | None = None
    error_code: int | None = None
    held: bool = False
    receipt_fault: Fault | None = None
    receipts: list[dict[str, str]] = field(default_factory=list)
    """Status callbacks sent, each with the answer we got: an HTTP status, or why there was none."""

    def as_resource(self, account_sid: str) -> dict[str, Any]:
        """The Message resource of the v2010 API."""
        uri = f"/2010-04-01/Accounts/{account_sid}/Messages/{self.sid}"
        return {
            "body": self.body,
            "num_segments": str(segments(self.body)) if self.sender else "0",
            "direction": "outbound-api",
            "from": self.sender,
            "date_updated": _rfc2822(self.updated_at),
            "price": None,
            "error_message": failure_text(self.error_code),
            "uri": f"{uri}.json",
            "account_sid": account_sid,
            "num_media": "0",
            "to": self.to,
            "date_created": _rfc2822(self.created_at),
            "status": self.status,
            "sid": self.sid,
            "date_sent": _rfc2822(self.sent_at) if self.sent_at else None,
            "messaging_service_sid": self.service_sid,
            "error_code": self.error_code,
            "price_unit": "USD",
            "api_version": "2010-04-01",
            "subresource_uris": {"media": f"{uri}/Media.json"},
        }

    def as_record(self) -> dict[str, Any]:
        """What the control API and the journal show."""
        return {
            "channel": "sms",
            "received_at": self.created_at.isoformat(),
            "message_id": self.message_id,
            "attempt_id": self.attempt_id,
            "provider_id": self.sid,
            "to": self.to,
            "from": self.sender,
            "messaging_service_sid": self.service_sid,
            "text": self.body,
            "status": self.status,
            "error_code": self.error_code,
            "validity_s": self.validity_s,
            "send_at": self.send_at.isoformat() if self.send_at else None,
            "status_callback": self.callback,
            "receipts": self.receipts,
        }


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One call of the listing. Dates are days in GMT, ends included; messages not sent yet match no date."""

    to: str = ""
    sender: str = ""
    sent_from: date | None = None
    sent_until: date | None = None
    page_size: int = 50

    def matches(self, sms: Sms) -> bool:
        """All filters but `to`, which has its own index."""
        if self.sender and sms.sender != self.sender:
            return False
        if self.sent_from is None and self.sent_until is None:
            return True
        if sms.sent_at is None:
            return False
        day = sms.sent_at.date()
        return (self.sent_from or day) <= day <= (self.sent_until or day)


@dataclass(frozen=True, slots=True)
class Page:
    """Messages newest first; whether there are older and newer ones that match."""

    messages: list[Sms]
    older: bool
    newer: bool


class SmsBook:
    """Every accepted message, by sid at once and in the listing after the lag."""

    def __init__(self, list_lag_s: float) -> None:
        self._lag = timedelta(seconds=list_lag_s)
        self._by_sid: dict[str, Sms] = {}
        self._all: list[Sms] = []
        self._by_to: defaultdict[str, list[Sms]] = defaultdict(list)

    def add(self, sms: Sms) -> None:
        """Keeps one more, which must be younger than all before it."""
        self._by_sid[sms.sid] = sms
        self._all.append(sms)
        self._by_to[sms.to].append(sms)

    def get(self, sid: str) -> Sms | None:
        """The message, listed or not yet."""
        return self._by_sid.get(sid)

    def clear(self) -> None:
        """Forgets everything."""
        self._by_sid.clear()
        self._all.clear()
        self._by_to.clear()

    def waiting(self) -> list[Sms]:
        """Messages held or scheduled."""
        return [sms for sms in self._all if sms.held or sms.status == "scheduled"]

    def page(self, query: ListQuery, now: datetime, *, after: Sms | None, before: Sms | None) -> Page:
        """One page: the newest, or those older than `after`, or those just newer than `before`."""
        items = self._by_to.get(query.to, []) if query.to else self._all
        seen = bisect_right(items, now - self._lag, key=lambda sms: sms.created_at)
        if before is not None:
            start = bisect_right(items, before.seq, key=lambda sms: sms.seq)
            up = _take((items[i] for i in range(start, seen)), query)
            return Page(up[: query.page_size][::-1], older=True, newer=len(up) > query.page_size)
        end = seen if after is None else min(seen, bisect_left(items, after.seq, key=lambda sms: sms.seq))
        down = _take((items[i] for i in range(end - 1, -1, -1)), query)
        return Page(
            down[: query.page_size], older=len(down) > query.page_size, newer=after is not None and seen > end
        )


def segments(body: str) -> int:
    """SMS parts of a text: 160 or 153 septets each in GSM-7, else 70 or 67 UTF-16 units (3GPP TS 23.038)."""
    if _GSM.fullmatch(body):
        units, single, part = len(body) + len(_GSM_DOUBLE.findall(body)), 160, 153
    else:
        units, single, part = len(body.encode("utf-16-le")) // 2, 70, 67
    return 1 if units <= single else -(-units // part)


def _take(candidates: Iterator[Sms], query: ListQuery) -> list[Sms]:
    """One more than a page, to know whether there is a next one."""
    found: list[Sms] = []
    for sms in candidates:
        if query.matches(sms):
            found.append(sms)
            if len(found) > query.page_size:
                break
    return found


def _rfc2822(moment: datetime) -> str:
    return _formatted(moment.replace(microsecond=0))


@lru_cache(maxsize=64)
def _formatted(moment: datetime) -> str:
    return format_datetime(moment)
