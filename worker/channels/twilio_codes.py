"""Twilio's numbers and words in ours: what a refused request says, and what a status callback says later.

Meanings were read in Twilio's error dictionary (twilio.com/docs/api/errors/<code>), except where a line says
"from memory". A code we know decides before a 4xx status does.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from worker.channels.base import (
    ContentRejected,
    DeliveryError,
    InvalidRecipient,
    Misconfigured,
    NotAccepted,
    OutcomeUnknown,
    Permanent,
    ReceiptStatus,
    RecipientOptedOut,
    Throttled,
    TooLate,
    Transient,
)

REFUSALS: Final[Mapping[int, tuple[type[NotAccepted], str]]] = {
    # The address.
    21211: (InvalidRecipient, "To is not a valid phone number"),
    21214: (InvalidRecipient, "To cannot be reached"),
    21217: (InvalidRecipient, "To does not appear to be valid"),
    21265: (InvalidRecipient, "To is a short code"),
    21266: (InvalidRecipient, "To is our own sender"),
    21604: (InvalidRecipient, "To is missing"),
    21614: (InvalidRecipient, "To is not a mobile number"),
    21635: (InvalidRecipient, "To is a landline"),
    63003: (InvalidRecipient, "the carrier does not find To"),
    63024: (InvalidRecipient, "invalid recipient"),
    21610: (RecipientOptedOut, "To has opted out of this sender"),
    # This message; the address may be good through another sender or at another time.
    20422: (Permanent, "invalid parameter"),
    21408: (Permanent, "region of To is not enabled"),
    21612: (Permanent, "no route from this sender to To"),
    21624: (Permanent, "invalid validity period"),
    30450: (Permanent, "To is blocked for a while by pumping protection"),
    90007: (Permanent, "invalid validity period"),
    # The text.
    21602: (ContentRejected, "body is missing"),
    21605: (ContentRejected, "body is too long"),
    21617: (ContentRejected, "body is over 1600 characters"),
    21618: (ContentRejected, "body cannot be sent"),
    21654: (ContentRejected, "content template is missing"),
    21655: (ContentRejected, "content template is invalid"),
    21656: (ContentRejected, "content variables are invalid"),
    21658: (ContentRejected, "a parameter is too long"),
    21901: (ContentRejected, "Indian template registration is invalid"),
    30007: (ContentRejected, "filtered"),
    30110: (ContentRejected, "a link's domain is blocked"),
    30111: (ContentRejected, "a link is on a deny list"),
    63005: (ContentRejected, "the carrier does not take this content"),
    63013: (ContentRejected, "against the carrier's policy"),
    63016: (ContentRejected, "free text outside the allowed window"),
    63021: (ContentRejected, "invalid content"),
    # Account and credentials.
    10001: (Misconfigured, "account is not active"),
    10002: (Misconfigured, "not available to trial accounts"),
    20003: (Misconfigured, "credentials are wrong"),
    20005: (Misconfigured, "account is not active"),
    20006: (Misconfigured, "access denied"),
    20008: (Misconfigured, "test credentials"),
    20010: (Misconfigured, "not allowed for this account"),
    20403: (Misconfigured, "forbidden"),
    20404: (Misconfigured, "account or resource not found"),
    21608: (Misconfigured, "trial account, or no approved compliance profile: To is not verified"),
    21609: (Misconfigured, "StatusCallback is not a valid URL"),
    30002: (Misconfigured, "account is suspended"),
    # Sender.
    21210: (Misconfigured, "From is not verified"),
    21212: (Misconfigured, "From is invalid"),
    21267: (Misconfigured, "alphanumeric sender on a trial account"),  # from memory
    21401: (Misconfigured, "From is not a valid sender"),
    21407: (Misconfigured, "From cannot carry SMS"),
    21601: (Misconfigured, "From is not an SMS number of this account"),
    21603: (Misconfigured, "From is missing"),
    21606: (Misconfigured, "From cannot send to this destination"),
    21607: (Misconfigured, "trial accounts send from their trial number only"),
    21616: (Misconfigured, "From matches several numbers"),
    21657: (Misconfigured, "sender id is not supported there"),
    21659: (Misconfigured, "From is not a Twilio number, or its short code is of another country"),
    21660: (Misconfigured, "From belongs to another account"),
    21661: (Misconfigured, "From cannot carry SMS"),
    21701: (Misconfigured, "messaging service does not exist"),
    21702: (Misconfigured, "messaging service is not available"),
    21703: (Misconfigured, "messaging service has no sender for this message"),
    21704: (Misconfigured, "messaging service has no numbers"),
    21705: (Misconfigured, "messaging service is invalid"),
    21708: (Misconfigured, "alphanumeric sender is missing"),
    21709: (Misconfigured, "alphanumeric sender is not authorized"),
    21711: (Misconfigured, "sender is not in the messaging service"),
    30018: (Misconfigured, "sender id needs registration"),
    30024: (Misconfigured, "sender is not provisioned at the carrier"),
    30032: (Misconfigured, "toll-free number is not verified"),
    30033: (Misconfigured, "campaign is suspended"),
    30034: (Misconfigured, "number is not registered for A2P 10DLC"),
    30035: (Misconfigured, "number is still being registered for A2P 10DLC"),
    63007: (Misconfigured, "no channel with this From"),
    # Certainly not processed, and good later.
    20429: (Throttled, "too many requests"),
    21611: (Throttled, "the queue of From is full"),
    30001: (Throttled, "queue overflow"),
    30022: (Throttled, "carrier rate limit"),
    63017: (Throttled, "rate limit"),
    63018: (Throttled, "rate limit of the channel"),
    21730: (Transient, "maintenance"),
    # Certainly not processed: the fence of a scheduled message.
    35114: (TooLate, "SendAt is no time that can be used"),
    35115: (TooLate, "SendAt is too far ahead"),
    35117: (TooLate, "SendAt is too near"),
    35118: (Misconfigured, "scheduling needs a messaging service"),
}
"""Codes a request can be refused with: the class that is true of it, and why."""

SUPPRESSES: Final[Mapping[str, str]] = {
    "21211": "invalid_recipient",
    "21610": "opted_out",
    "21614": "invalid_recipient",
    "21635": "invalid_recipient",
    "30001": "",  # queue overflow
    "30002": "",  # account suspended
    "30003": "",  # switched off, no signal, or a landline: may pass
    "30004": "",  # blocked: six possible causes, one of them an opt-out
    "30005": "invalid_recipient",  # unknown handset
    "30006": "invalid_recipient",  # landline, or a carrier this sender cannot reach
    "30007": "",  # filtered
    "30008": "",  # unknown
    "30017": "",  # carrier congested
    "30018": "",  # sender id needs registration
    "30022": "",  # carrier rate limit
    "30023": "",  # daily cap of the brand, until midnight Pacific
    "30024": "",  # sender not provisioned at the carrier
    "30032": "",  # toll-free number not verified
    "30034": "",  # number not registered for A2P 10DLC
    "30036": "",  # validity period over: what we asked for
    "30042": "",  # sender id blocked as generic
    "30410": "",  # carrier timed out, not tried again by Twilio so as not to double
    "30450": "",  # blocked for half an hour by pumping protection
    "30500": "",  # Twilio's internal error
    "63024": "invalid_recipient",
}
"""Codes of status callbacks: the reason not to write to the address again, or empty. A code that is not here
suppresses nothing."""

STATUSES: Final[Mapping[str, ReceiptStatus]] = {
    "accepted": ReceiptStatus.ACCEPTED,
    "scheduled": ReceiptStatus.ACCEPTED,
    "queued": ReceiptStatus.ACCEPTED,
    "sending": ReceiptStatus.ACCEPTED,
    "sent": ReceiptStatus.SENT,
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.DELIVERED,
    "partially_delivered": ReceiptStatus.DELIVERED,
    "undelivered": ReceiptStatus.UNDELIVERED,
    "failed": ReceiptStatus.UNDELIVERED,
    "canceled": ReceiptStatus.CANCELLED,
}

_GATE_STATUSES: Final = frozenset({401, 403, 404, 407})
"""Answered without Twilio's code by whatever stands at base_url: the same for every message."""
_RETRY_DEFAULT_S: Final = 30.0
_RETRY_LEAST_S: Final = 1.0
_RETRY_MOST_S: Final = 3600.0


def status(word: str | None) -> ReceiptStatus:
    """Our word for Twilio's; a word it adds later counts as the weakest, which moves nothing."""
    return STATUSES.get(word or "", ReceiptStatus.ACCEPTED)


def refusal(
    http_status: int, text: str, retry_after: str | None, answered: str | None = None
) -> DeliveryError:
    """What an answer other than 2xx means. Never says more about a person than Twilio's code.

    `retry_after` and `answered` are the answer's Retry-After and Date.
    """
    code = _twilio_code(text)
    label = str(code or http_status)
    if http_status >= 500:  # "customers may receive several messages", Twilio says of retrying its 20500
        return OutcomeUnknown(f"HTTP {http_status}", code=label)
    if http_status == 429:
        return Throttled("HTTP 429", code=label, retry_after_s=retry_after_s(retry_after, answered))
    if http_status < 400 or (code is None and http_status not in _GATE_STATUSES):
        return OutcomeUnknown(f"HTTP {http_status} that is not Twilio's", code=label)
    if code is None:
        return Misconfigured(f"HTTP {http_status} that is not Twilio's", code=label)
    kind, note = REFUSALS.get(code, (Permanent, "code we do not know"))
    if code not in REFUSALS and http_status in (401, 403):
        kind = Misconfigured
    detail = f"HTTP {http_status}: {note}"
    if issubclass(kind, Throttled):
        return kind(detail, code=label, retry_after_s=retry_after_s(retry_after, answered))
    return kind(detail, code=label)


def retry_after_s(header: str | None, answered: str | None = None) -> float:
    """Seconds to leave the sender alone: Retry-After as seconds or as an HTTP date, within 1 and 3600.

    A date is counted from the one at which they answered, because our clock may be wrong.
    """
    header = (header or "").strip()
    if header.isascii() and header.isdigit():
        wait_s = float(header)
    elif until_at := http_date(header):
        wait_s = (until_at - (http_date(answered) or datetime.now(UTC))).total_seconds()
    else:
        return _RETRY_DEFAULT_S
    return min(_RETRY_MOST_S, max(_RETRY_LEAST_S, wait_s))


def http_date(header: str | None) -> datetime | None:
    """None: it is none."""
    try:
        at = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    # "-0000" parses as naive; an HTTP date is always GMT (RFC 9110, 5.6.7).
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _twilio_code(text: str) -> int | None:
    """Twilio's own code; None for anything else, such as a proxy's page."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    code = answer.get("code") if isinstance(answer, dict) else None
    return code if isinstance(code, int) and code >= 10_000 else None
