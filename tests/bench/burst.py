"""A provider that sends many receipts at once, and each again until it is answered 2xx."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from sqlalchemy import Engine, text
from twilio.request_validator import RequestValidator

from worker.settings import KNOWN_TO_ALL
from worker.wiring import SANDBOX_ACCOUNT_SID

BULK = Path(__file__).with_suffix(".sql")
AT_ONCE = 32
AGAIN_S = 0.1

Signed = tuple[str, bytes, str]
"""URL, body, signature."""


def make_sent(engine: Engine, borrower: int, count: int) -> list[str]:
    """So many messages that wait for a receipt; returns the queries of their callback URLs."""
    with engine.begin() as connection:
        connection.execute(text(BULK.read_text(encoding="utf-8")), {"borrower": borrower, "count": count})
        rows = connection.execute(
            text(
                "SELECT business_on, id, attempt_id FROM messages WHERE borrower_id = :b AND mode = 'sandbox'"
            ),
            {"b": borrower},
        )
        return [f"b={row.business_on}&m={row.id}&a={row.attempt_id}" for row in rows]


def signed(url: str, queries: Sequence[str], filler: str = "") -> list[Signed]:
    """The receipt "delivered" for each, signed as Twilio does."""
    validator = RequestValidator(KNOWN_TO_ALL)
    found = []
    for n, query in enumerate(queries):
        form = {"AccountSid": SANDBOX_ACCOUNT_SID, "MessageSid": f"SM{n:032x}", "MessageStatus": "delivered"}
        form |= {"To": filler} if filler else {}
        target = f"{url}/webhooks/twilio/status?{query}"
        found.append((target, urlencode(form).encode(), validator.compute_signature(target, form)))
    return found


@dataclass
class Burst:
    """The sender's side of it."""

    answered: list[int] = field(default_factory=list)
    """Places of the receipts that were answered 2xx, in the order of their answers."""
    refused: int = 0
    """Answers 503, after which the receipt came again."""
    unanswered: int = 0
    """Connections that were refused or broke."""

    def send(self, receipts: Sequence[Signed]) -> None:
        """Until each was answered 2xx."""
        asyncio.run(self._all(receipts))

    async def _all(self, receipts: Sequence[Signed]) -> None:
        waiting = list(enumerate(receipts))[::-1]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:

            async def one_after_the_other() -> None:
                while waiting:
                    place, receipt = waiting.pop()
                    if await self._answered(session, receipt):
                        self.answered.append(place)
                    else:
                        waiting.append((place, receipt))
                        await asyncio.sleep(AGAIN_S)

            await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))

    async def _answered(self, session: aiohttp.ClientSession, receipt: Signed) -> bool:
        url, body, signature = receipt
        headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
        try:
            async with session.post(url, data=body, headers=headers) as answer:
                if answer.status == 503:
                    self.refused += 1
                    return False
                assert answer.status == 204, answer.status
                return True
        except aiohttp.ClientError:
            self.unanswered += 1
            return False
