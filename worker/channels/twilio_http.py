"""The HTTP transport under Twilio's SDK: what the SDK's own leaves out, it says in one place."""

import logging
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import aiohttp
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from yarl import URL

from worker.channels.base import Misconfigured, OutcomeUnknown, Transient
from worker.channels.twilio_codes import http_date, refusal

API: Final = "https://api.twilio.com"


class TwilioHttp(AsyncHttpClient):  # type: ignore[misc]  # the SDK ships no type information
    """The SDK's transport: one session for the process, one request per call, explicit timeouts, no logging.

    The SDK's own logs addresses, and its option max_retries posts a message again after a 503.
    """

    def __init__(self, options: Mapping[str, str], concurrency: int) -> None:
        super().__init__(logger=logging.getLogger(__name__), is_async=True)
        self._options = options
        self._concurrency = concurrency
        self._base_url = options.get("base_url", "").rstrip("/") or API
        self._session: aiohttp.ClientSession | None = None
        self.answered_at: datetime | None = None
        """When the last answer was given, by the clock of who gave it."""

    @property
    def base_url(self) -> str:
        """Where requests go, without a slash at its end."""
        return self._base_url

    async def request(  # the SDK's signature; its timeout and allow_redirects are not used
        self,
        method: str,
        uri: str,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        **_unused: object,
    ) -> Response:
        url = self._base_url + uri.removeprefix(API)
        head = dict(headers or {})
        if auth:
            head["Authorization"] = basic(*auth)
        return await self._exchange(method, url, params=params, data=data, headers=head)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """One request that is ready to go: what the SDK does around it costs as much as the request.

        `yarl` writes the form, in a seventh of the time that the standard library takes.
        """
        body = URL.build(query=form).raw_query_string.encode()
        return str((await self._exchange("POST", url, data=body, headers=headers)).text)

    async def _exchange(self, method: str, url: str, **request: Any) -> Response:
        session = self._session or self._open()
        try:
            # On a stale connection aiohttp repeats a request by itself, but only an idempotent one: no POST.
            async with session.request(method, url, allow_redirects=False, **request) as response:
                text = (await response.read()).decode("utf-8", "replace")
        except aiohttp.InvalidURL:
            raise Misconfigured("base_url is not a URL") from None  # a listing's URL holds the number
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Transient(f"not connected: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OutcomeUnknown(f"no answer: {type(error).__name__}") from error
        headers = response.headers
        self.answered_at = http_date(headers.get("Date"))
        if not 200 <= response.status < 300:
            raise refusal(response.status, text, headers.get("Retry-After"), headers.get("Date"))
        return Response(response.status, text, headers)

    def _open(self) -> aiohttp.ClientSession:
        """Needs the running loop, so not before the first request."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=seconds(self._options, "timeout_s", 10.0),
                connect=seconds(self._options, "connect_timeout_s", 3.0),
            ),
        )
        return self._session

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None


def basic(user: str, password: str) -> str:
    """The header `Authorization` (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def seconds(options: Mapping[str, str], name: str, default: float) -> float:
    """A timeout out of the settings.

    Raises:
        Misconfigured: it is no number, or not between 0 and 3600.
    """
    try:
        value = float(options.get(name) or default)
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise Misconfigured(f"{name} is no number of seconds between 0 and 3600")
    return value
