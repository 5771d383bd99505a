"""What Twilio refuses when a message is created, checked in one place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from worker.sandbox.twilio_errors import MAGIC_RECIPIENTS, ApiError

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
"""Number, short code, or name of at most eleven characters with a letter in it."""
_SERVICE = re.compile(r"MG[0-9a-f]{32}")
_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|\+00:00)")
_LONGEST_BODY = 1600
_LONGEST_VALIDITY_S = 36_000
_LATEST = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class Order:
    """A create request that passed the rules."""

    to: str
    sender: str | None
    service_sid: str | None
    body: str
    callback: str
    validity_s: int
    send_at: datetime | None


def check(form: Mapping[str, str], now: datetime, schedule_least_s: float) -> Order:
    """Raises:
    ApiError: the first rule the request breaks.
    """
    to, body = form.get("To", ""), form.get("Body", "")
    if not to:
        raise ApiError(21604)
    if not _E164.fullmatch(to):
        raise ApiError(21211, to)
    sender, service = _sender(form)
    if sender == to:
        raise ApiError(21266)
    if not body:
        raise ApiError(21602)
    if len(body) > _LONGEST_BODY:
        raise ApiError(21617)
    if code := MAGIC_RECIPIENTS.get(to):
        raise ApiError(code, to)
    send_at = _send_at(form, bool(service), now, schedule_least_s)
    return Order(to, sender or None, service or None, body, _callback(form), _validity_s(form), send_at)


def _sender(form: Mapping[str, str]) -> tuple[str, str]:
    sender, service = form.get("From", ""), form.get("MessagingServiceSid", "")
    if not service and _SERVICE.fullmatch(sender):
        sender, service = "", sender
    if not sender and not service:
        raise ApiError(21603)
    if service and not _SERVICE.fullmatch(service):
        raise ApiError(21705, service)
    if sender and not _SENDER.fullmatch(sender):
        raise ApiError(21212, sender)
    return sender, service


def _callback(form: Mapping[str, str]) -> str:
    url = form.get("StatusCallback", "")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise ApiError(21609) from None
    if parts.scheme not in ("http", "https") or not host or "_" in host or len(url) > 4000:
        raise ApiError(21609)
    return url


def _validity_s(form: Mapping[str, str]) -> int:
    text = form.get("ValidityPeriod") or str(_LONGEST_VALIDITY_S)
    # isascii: other scripts' digits are digits to Python, not to Twilio.
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _LONGEST_VALIDITY_S):
        raise ApiError(21624)
    return int(text)


def _send_at(form: Mapping[str, str], has_service: bool, now: datetime, least_s: float) -> datetime | None:
    text, kind = form.get("SendAt", ""), form.get("ScheduleType", "")
    if not text and not kind:
        return None
    if kind != "fixed":
        raise ApiError(35126)
    if not text:
        raise ApiError(35111)
    if not has_service:
        raise ApiError(35118)
    if not _UTC.fullmatch(text):
        raise ApiError(35114)
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ApiError(35114) from None
    if moment - now <= timedelta(seconds=least_s):
        raise ApiError(35117)
    if moment - now > _LATEST:
        raise ApiError(35115)
    return moment
