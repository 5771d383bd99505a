"""Twilio's error codes as the sandbox uses them. The wording is ours: nobody may act on it.

Source: Twilio's error dictionary, one page per code, and its test credentials page for the magic numbers.
"""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

_CODES: Mapping[int, tuple[int, str]] = {
    20001: (400, "Invalid parameter"),
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20405: (405, "Method not allowed"),
    20429: (429, "Too many requests"),
    20500: (500, "Internal server error"),
    20503: (503, "Service unavailable"),
    21211: (400, "'To' is not a valid phone number"),
    21212: (400, "'From' is not a valid phone number, short code or sender name"),
    21266: (400, "'To' and 'From' are the same number"),
    21408: (400, "Sending to the region of 'To' is not enabled"),
    21602: (400, "A message body is required"),
    21603: (400, "A 'From' number or a Messaging Service is required"),
    21604: (400, "A 'To' number is required"),
    21609: (400, "'StatusCallback' is not a valid URL"),
    21610: (400, "The recipient has opted out of messages from this sender"),
    21612: (400, "There is no route from this sender to 'To'"),
    21614: (400, "'To' is not a mobile number"),
    21617: (400, "The body is longer than 1600 characters"),
    21624: (400, "The validity period is no whole number of seconds from 1 to 36000"),
    21705: (400, "The Messaging Service sid is invalid"),
    30409: (409, "The message is past the state in which it can be canceled"),
    35111: (400, "A scheduled message needs 'SendAt'"),
    35114: (400, "'SendAt' is no ISO 8601 timestamp in UTC"),
    35115: (400, "'SendAt' is more than 35 days ahead"),
    35117: (400, "'SendAt' is not more than 300 seconds ahead"),
    35118: (400, "Scheduling needs a Messaging Service"),
    35126: (400, "'ScheduleType' must be fixed"),
}
"""Code → HTTP status and text.

Which of 35114, 35115 and 35117 meets which bad SendAt, Twilio's pages leave open: each names the whole
window. The status of 30409 is a guess.
"""

MAGIC_RECIPIENTS: Mapping[str, int] = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
"""Recipients that fail for Twilio's test credentials, and how."""

_FAILURES: Mapping[int, str] = {
    30003: "Unreachable destination handset",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    30036: "Validity period expired",
}


class ApiError(Exception):
    """The Messages API says no; nothing was accepted."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


def failure_text(code: int | None) -> str | None:
    """Words for an error found after the message was accepted."""
    return None if code is None else _FAILURES.get(code, f"Failed with {code}")


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON as the Messages API sends it."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers=headers, content_type="application/json"
    )


def error_response(
    code: int, *, status: int = 0, detail: str = "", headers: Mapping[str, str] | None = None
) -> web.Response:
    """Twilio's JSON error body; `status` overrides the one that belongs to the code."""
    usual, text = _CODES.get(code, (400, f"Error {code}"))
    body = {
        "code": code,
        "message": f"{text}: {detail}" if detail else text,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status or usual,
    }
    return json_response(body, status or usual, headers)
