"""Links that carry their own proof: whoever has the link may use it, nobody can make one."""

import hashlib
import hmac
from datetime import date
from urllib.parse import urlencode
from uuid import UUID


def unsubscribe_url(public_url: str, key: str, business_on: date, message_id: UUID) -> str:
    """The one-click link of one e-mail; holds no address. Empty when there is no key to sign with."""
    if not key:
        return ""
    query = {"b": business_on.isoformat(), "m": str(message_id), "s": _sign(key, business_on, message_id)}
    return f"{public_url}/unsubscribe?{urlencode(query)}"


def unsubscribe_valid(key: str, business_on: date, message_id: UUID, signature: str) -> bool:
    """Whether we made this link. Compared in constant time."""
    return bool(key) and hmac.compare_digest(_sign(key, business_on, message_id).encode(), signature.encode())


def _sign(key: str, business_on: date, message_id: UUID) -> str:
    content = f"unsubscribe:{business_on.isoformat()}:{message_id}"
    return hmac.new(key.encode(), content.encode(), hashlib.sha256).hexdigest()[:40]
