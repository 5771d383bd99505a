"""One borrower's open stream: what is new is written at once, and counts as delivered once it is written."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict
from sse_starlette import ServerSentEvent

from worker.pipeline import inbox
from worker.store.engine import DatabaseDown
from worker.store.inbox import Popup
from worker.web.service import Service
from worker.web.tokens import Caller

MOST_STREAMS: Final = 8
"""Open at once for one borrower in one process: telephones, tablets, tabs."""

log = structlog.get_logger()


class PopupOut(BaseModel):
    """A popup as the app gets it. Amounts, days and dates are words in the borrower's language."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    portfolio: str
    tier: str
    title: str
    body: str
    amount_due: str
    days_overdue: str
    due_date: str
    link: str
    sent_at: datetime
    expires_at: datetime
    seen: bool
    dismissed: bool
    clicked: bool


async def events(service: Service, caller: Caller) -> AsyncIterator[ServerSentEvent]:
    """What is undelivered now, then whatever comes, until the client leaves or its token is over."""
    listener = service.nudges.join(caller.borrower)
    written: set[UUID] = set()
    nudged: set[UUID] = set()
    try:
        while caller.seconds_left > 0:
            for popup in await _new(service, caller, nudged - written):
                if popup.id not in written:
                    written.add(popup.id)
                    yield ServerSentEvent(
                        PopupOut.model_validate(popup).model_dump_json(), event="message", id=str(popup.id)
                    )
                await _delivered(service, popup)
            config = service.config
            pause_s = config.quiet_poll_s if service.nudges.connected else config.poll_s
            nudged = await listener.wait(min(pause_s, max(caller.seconds_left, 0.0)))
    finally:
        service.nudges.leave(listener)


async def _new(service: Service, caller: Caller, nudged: set[UUID]) -> list[Popup]:
    try:
        return await service.run(inbox.undelivered, service.engine, caller.borrower, nudged)
    except DatabaseDown:
        log.warning("stream.database_down")
        return []


async def _delivered(service: Service, popup: Popup) -> None:
    try:
        await service.run(inbox.delivered, service.engine, popup)
    except DatabaseDown:
        # It stays undelivered and is found again; this stream remembers that it has been written.
        log.warning("stream.database_down", message=str(popup.id))
