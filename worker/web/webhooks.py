"""Twilio's callbacks: later words about our messages, and what borrowers write."""

from typing import Final
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Request, Response

from worker.channels.base import SignatureInvalid, WebhookRequest
from worker.pipeline import inbound
from worker.pipeline.receipts import receive
from worker.pipeline.signers import Signed, verify
from worker.web.receipts import Together
from worker.web.service import Service, body_of, client_of

MOST_FIELDS: Final = 200
"""Of a callback's form; Twilio sends about thirty."""
NOTHING_TO_SAY: Final = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""TwiML for: no reply."""

log = structlog.get_logger()


def routes(service: Service) -> APIRouter:
    """The routes under /webhooks/twilio. They answer 2xx only after the commit."""
    router = APIRouter()
    receipts = Together(lambda batch: service.run(receive, service.engine, batch))

    async def status(request: Request) -> Response:
        try:
            await receipts.take(await _verified(service, request))
        except SignatureInvalid:
            return _refused(service, request)
        return Response(status_code=204)

    async def text(request: Request) -> Response:
        try:
            signed = await _verified(service, request)
            await service.run(inbound.receive_text, service.engine, signed)
        except SignatureInvalid:
            return _refused(service, request)
        except ValueError as error:
            log.error("inbound.unusable", why=str(error))
            return Response(status_code=400)
        return Response(NOTHING_TO_SAY, media_type="text/xml")

    # Starlette's kind of route: nothing is injected here, and looking for it takes as long as the signature.
    router.add_route("/webhooks/twilio/status", status, methods=["POST"])
    router.add_route("/webhooks/twilio/inbound", text, methods=["POST"])
    return router


async def _verified(service: Service, request: Request) -> Signed:
    """Raises:
    SignatureInvalid: nobody we know signed this body for this URL.
    """
    body = await body_of(request)
    query = request.scope["query_string"].decode("latin-1")
    # The public URL from the settings: Host and X-Forwarded-* are whatever the caller wrote there.
    url = service.config.public_url + request.scope["path"] + (f"?{query}" if query else "")
    try:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise SignatureInvalid("the body is no form") from None
    headers = {"X-Twilio-Signature": request.headers.get("X-Twilio-Signature", "")}
    return verify(service.signers, WebhookRequest(url, form, dict(request.query_params), headers))


def _refused(service: Service, request: Request) -> Response:
    """Counted and forgotten. Only failures are limited: forgeries must not shut the provider out."""
    service.refused_webhooks += 1
    if not service.webhook_failures.allow(client_of(request)):
        return Response(status_code=429, headers={"Retry-After": "60"})
    log.warning("webhook.refused", refused=service.refused_webhooks)
    return Response(status_code=403)
