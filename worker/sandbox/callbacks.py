"""Webhooks as Twilio posts them: signed, form-encoded, once more when no connection came about."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urldefrag, urlencode

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, TCPConnector
from twilio.request_validator import RequestValidator
from yarl import URL

_TIMEOUT = ClientTimeout(total=None, sock_connect=5, sock_read=15)
"""Twilio's default connect and read timeouts for webhooks."""


class Callbacks:
    """Posts webhooks beside the requests being served. Needs a running loop."""

    def __init__(self, auth_token: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._session = ClientSession(timeout=_TIMEOUT, connector=TCPConnector(limit=100))
        self._tasks: set[asyncio.Task[None]] = set()

    async def post(self, url: str, params: Mapping[str, str]) -> str:
        """Posts and tells the HTTP status it got, or the name of what went wrong.

        The URL's fragment, where Twilio takes connection overrides, is neither sent nor signed; the rest goes
        out as it is. Redirects are not followed.
        """
        exact = urldefrag(url).url
        headers = {
            "X-Twilio-Signature": self._validator.compute_signature(exact, dict(params)),
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "User-Agent": "TwilioProxy/1.1",
        }
        body = urlencode(params)
        try:
            return await self._once(exact, body, headers)
        except ClientConnectorError:
            pass
        except (ClientError, TimeoutError) as error:
            return type(error).__name__
        try:
            return await self._once(exact, body, headers)
        except (ClientError, TimeoutError) as error:
            return type(error).__name__

    def start(self, work: Callable[[], Awaitable[None]], delay_s: float = 0) -> None:
        """Runs `work` in the background after `delay_s` seconds."""
        task = asyncio.create_task(_delayed(work, delay_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Drops all that has not been posted yet."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Cancels, and gives back the connections."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _once(self, url: str, body: str, headers: Mapping[str, str]) -> str:
        target = URL(url, encoded=True)
        async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return str(answer.status)


async def _delayed(work: Callable[[], Awaitable[None]], delay_s: float) -> None:
    if delay_s:
        await asyncio.sleep(delay_s)
    await work()
