"""The opt-out link in e-mails: a page that asks, and the one click that does it (RFC 8058)."""

import base64
import hashlib
from datetime import date
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from worker.domain.links import unsubscribe_valid
from worker.pipeline import inbound
from worker.store.engine import DatabaseDown
from worker.web.service import Service, client_of

_STYLE: Final = (
    "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;color:#222;"
    "background:#fff}button{font:inherit;padding:.6rem 1.4rem;border:0;border-radius:.4rem;color:#fff;"
    "background:#1b5e83;cursor:pointer}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    f"form-action 'self'; style-src 'sha256-{_STYLE_HASH}'"
}
# Words by language: title, question, button, done, invalid, try again.
_WORDS: Final = {
    "en": (
        "Unsubscribe",
        "Stop e-mails about your account to this address? We may still have to reach you in other ways.",
        "Unsubscribe",
        "Done. This address gets no more e-mails from us about your account.",
        "This link is not valid. Please use the link in our latest e-mail, or contact us.",
        "That did not work just now. Please try again in a few minutes.",
    ),
    "zh": (
        "退订邮件",
        "确定不再用此邮箱接收账户提醒邮件吗？我们仍可能通过其他方式与您联系。",
        "退订",
        "已退订。此邮箱不会再收到我们的账户提醒邮件。",
        "链接无效。请使用最近一封邮件中的链接，或与我们联系。",
        "操作未成功，请几分钟后再试。",
    ),
}


def routes(service: Service) -> APIRouter:
    """GET changes nothing: mail scanners and previews fetch every link. POST needs no cookie and no page."""
    router = APIRouter()

    @router.get("/unsubscribe")
    async def ask(request: Request, b: str = "", m: str = "", s: str = "") -> Response:
        if not service.link_requests.allow(client_of(request)):
            return _too_many()
        link = _read(service, b, m, s)
        if link is None:
            return _invalid()
        language = await _language(service, *link)
        _, question, button, *_ = _WORDS[language]
        form = (
            '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">'
            f"<button>{button}</button></form>"
        )
        return _page(language, f"<p>{question}</p>{form}")

    @router.post("/unsubscribe")
    async def do(request: Request, b: str = "", m: str = "", s: str = "") -> Response:
        link = _read(service, b, m, s)
        # A valid link is never turned away: mail providers send many opt-outs from one address.
        if link is None:
            return _invalid() if service.link_requests.allow(client_of(request)) else _too_many()
        try:
            done = await service.run(inbound.unsubscribe, service.engine, *link)
        except DatabaseDown:
            return _page("en", f"<p>{_WORDS['en'][5]}</p>", 503)
        if not done:
            return _invalid()
        language = await _language(service, *link)
        return _page(language, f"<p>{_WORDS[language][3]}</p>")

    return router


def _read(service: Service, b: str, m: str, s: str) -> tuple[date, UUID] | None:
    """The message a link speaks for; None: we did not make it."""
    try:
        business_on, message_id = date.fromisoformat(b), UUID(m)
    except ValueError:
        return None
    valid = unsubscribe_valid(service.config.unsubscribe_key, business_on, message_id, s)
    return (business_on, message_id) if valid else None


async def _language(service: Service, business_on: date, message_id: UUID) -> str:
    try:
        locale = await service.run(inbound.locale_of, service.engine, business_on, message_id)
    except DatabaseDown:
        locale = None
    return "zh" if (locale or "").startswith("zh") else "en"


def _invalid() -> Response:
    return _page("en", f"<p>{_WORDS['en'][4]}</p>", 403)


def _too_many() -> Response:
    response = _page("en", f"<p>{_WORDS['en'][5]}</p>", 429)
    response.headers["Retry-After"] = "60"
    return response


def _page(language: str, content: str, status: int = 200) -> Response:
    title = _WORDS[language][0]
    html = (
        f'<!doctype html><html lang="{"zh-CN" if language == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>{content}</body></html>"
    )
    return Response(html, status, _HEADERS, "text/html")
