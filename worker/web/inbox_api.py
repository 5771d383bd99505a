"""The in-app inbox for the lender's app: fetch, stream, and what the borrower did with a popup."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from pydantic import BaseModel
from sse_starlette import EventSourceResponse

from worker.pipeline import inbox
from worker.web.service import Service, client_of
from worker.web.stream import MOST_STREAMS, PopupOut, events
from worker.web.tokens import Caller, TokenInvalid


class Happened(StrEnum):
    """What a borrower can do with a popup."""

    SEEN = "seen"
    DISMISSED = "dismissed"
    CLICKED = "clicked"


class InboxOut(BaseModel):
    """Newest first."""

    messages: list[PopupOut]


def routes(service: Service) -> APIRouter:
    """The routes under /api/inbox; every one asks for the borrower's token."""
    router = APIRouter(prefix="/api/inbox")

    async def caller(request: Request, authorization: Annotated[str, Header()] = "") -> Caller:
        return _caller(service, client_of(request), authorization)

    Borrower = Annotated[Caller, Depends(caller)]  # noqa: N806  # a type

    @router.get("")
    async def fetch(who: Borrower) -> InboxOut:
        shown = await service.run(inbox.fetch, service.engine, who.borrower)
        return InboxOut(messages=[PopupOut.model_validate(popup) for popup in shown])

    @router.get("/stream")
    async def stream(who: Borrower) -> EventSourceResponse:
        if service.nudges.open_streams(who.borrower) >= MOST_STREAMS:
            raise HTTPException(429, "too many streams are open for this borrower")
        return EventSourceResponse(events(service, who), ping=service.config.ping_s)

    @router.post("/{message_id}/{event}", status_code=204)
    async def happened(message_id: UUID, event: Happened, who: Borrower) -> Response:
        if not await service.run(inbox.happened, service.engine, who.borrower, message_id, event.value):
            raise HTTPException(404)
        return Response(status_code=204)

    return router


def _caller(service: Service, client: str, authorization: str) -> Caller:
    if service.tokens is None:
        raise HTTPException(503, "the inbox is not set up: DUNLIN_INBOX_JWT_KEY is empty")
    try:
        who = service.tokens.caller(authorization)
    except TokenInvalid as error:
        # Failures only: behind one address there may be many borrowers.
        if not service.bad_tokens.allow(client):
            raise _too_many() from None
        raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from None
    if not service.inbox_requests.allow(who.borrower):
        raise _too_many()
    return who


def _too_many() -> HTTPException:
    return HTTPException(429, "too many requests", {"Retry-After": "60"})
