"""GET Messages.json: from the query to a page, with the links by which Twilio's v2010 API pages."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

from worker.sandbox.sms import ListQuery, Sms, SmsBook
from worker.sandbox.twilio_errors import ApiError

_LARGEST_PAGE = 1000
_OLDER, _NEWER = "PA", "PB"
"""A page token is one of these and the sid of the message the page before ended with."""


def list_messages(query: Mapping[str, str], book: SmsBook, account_sid: str) -> dict[str, Any]:
    """The page a query asks for.

    Raises:
        ApiError: a parameter is malformed, or a later page is asked for without its token.
    """
    number = _number(query, "Page", 0)
    size = min(_number(query, "PageSize", 50), _LARGEST_PAGE)
    token = query.get("PageToken", "")
    if size < 1 or (number > 0 and not token):
        raise ApiError(20001, "PageSize" if size < 1 else "PageToken is required for paging")
    after, before = _marker(token, _OLDER, book), _marker(token, _NEWER, book)
    if token and after is None and before is None:
        raise ApiError(20001, "PageToken")
    page = book.page(_filters(query, size), datetime.now(UTC), after=after, before=before)
    kept = {name: value for name, value in query.items() if name not in ("Page", "PageSize", "PageToken")}

    def link(to_number: int, marker: str = "") -> str:
        fields = {**kept, "PageSize": size, "Page": to_number} | ({"PageToken": marker} if marker else {})
        return f"/2010-04-01/Accounts/{account_sid}/Messages.json?{urlencode(fields)}"

    shown = page.messages
    older = link(number + 1, _OLDER + shown[-1].sid) if page.older and shown else None
    newer = link(max(number - 1, 0), _NEWER + shown[0].sid) if page.newer and shown else None
    return {
        "first_page_uri": link(0),
        "end": number * size + max(len(shown) - 1, 0),
        "previous_page_uri": newer,
        "messages": [sms.as_resource(account_sid) for sms in shown],
        "uri": link(number, token),
        "page_size": size,
        "start": number * size,
        "next_page_uri": older,
        "page": number,
    }


def _filters(query: Mapping[str, str], size: int) -> ListQuery:
    on, until, since = (_day(query, name) for name in ("DateSent", "DateSent<", "DateSent>"))
    return ListQuery(
        to=query.get("To", ""),
        sender=query.get("From", ""),
        sent_from=on or since,
        sent_until=on or until,
        page_size=size,
    )


def _day(query: Mapping[str, str], name: str) -> date | None:
    """A day in GMT; a time of day behind it is not looked at, as Twilio's filter works by days."""
    text = query.get(name, "")
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        raise ApiError(20001, name) from None


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if text and not (text.isascii() and text.isdigit()):
        raise ApiError(20001, name)
    return int(text) if text else default


def _marker(token: str, prefix: str, book: SmsBook) -> Sms | None:
    return book.get(token.removeprefix(prefix)) if token.startswith(prefix) else None
