"""A borrower's name and address are shown; they steer nothing: no header, no SMS, no page, no template."""

import email
import html
import re
from dataclasses import replace
from datetime import date
from email.policy import default
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.channels.base import (
    ContentRejected,
    InvalidRecipient,
    Misconfigured,
    ProviderConfig,
)
from worker.channels.email_smtp import SmtpEmail
from worker.channels.sms_twilio import TwilioSms
from worker.domain.message import MessageRef, OutgoingMessage, Rendered, Sender
from worker.portfolios.schema import SenderConfig
from worker.rendering.catalogue import Catalogue, default_root
from worker.rendering.sample import sample_facts

REF = MessageRef(date(2026, 11, 2), UUID(int=1), UUID(int=2))
SENDER = Sender(sms_from="+15005550006", email_from="Example Bank <care@example.com>")
LOCALES = ("en-US", "en-GB", "zh-CN")
TIERS = ("reminder", "stern", "legal_warning")
KINDS = list(product(LOCALES, TIERS))
HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Auto-Submitted",
    "X-Dunlin-Message", "Content-Transfer-Encoding", "X-Auto-Response-Suppress",
}  # fmt: skip
HOSTILE = [
    "{{7*7}}",
    "{{ config }}",
    "{% for account in accounts %}x{% endfor %}",
    "{daily_rate}{0.__class__}%s%(name)s",
    "Mei\r\nBcc: victim@example.org",
    "Mei\nSubject: Free money",
    "Mei\r\n\r\n<b>Another mail</b>",
    "Mei\x00Zhang",
    "Mei\u2028Bcc: x\u2029y",
    "Mei\u202egnahZ",
    "M\u200be\u200di\ufeff",
    "\u2066Mei\u2069",
    "Mei\x1b[2J\x07",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=?utf-8?B?PHNjcmlwdD4=?=",
    "【Another Bank】 Mei",
    "Mei\r\n.\r\nMAIL FROM:<x@example.org>",
    "x" * 10_000,
]
STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Controls, direction marks and marks without width."""


def rendered(name: str, locale: str, tier: str, channel: str) -> Rendered:
    facts = replace(sample_facts(locale, tier, channel), debtor_name=name)
    return CATALOGUE.render(facts)


CATALOGUE = Catalogue(default_root())
SMTP = SmtpEmail.from_config(
    ProviderConfig(
        {"host": "127.0.0.1", "port": "25", "tls": "none", "hostname": "worker.example.com"}, "", ""
    )
)
TWILIO = TwilioSms.from_config(ProviderConfig({"account_sid": "AC" + "0" * 32, "auth_token": "t"}, "", ""))


def message(channel: str, words: Rendered, address: str = "") -> OutgoingMessage:
    address = address or {"email": "mei@example.org", "sms": "+12025550142"}[channel]
    return OutgoingMessage(REF, "cards", channel, address, words, SENDER, 3600)


@pytest.mark.parametrize(("locale", "tier"), KINDS)
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_adds_no_header_no_part_and_no_mark_to_a_mail(
    name: str, locale: str, tier: str
) -> None:
    words = rendered(name, locale, tier, "email")
    mail = email.message_from_bytes(SMTP.build(message("email", words)).content, policy=default)
    assert set(mail.keys()) <= HEADERS
    assert len(mail.keys()) == len(set(mail.keys()))
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert "\n" not in (words.subject or "")
    for shown in (words.subject or "", words.text, words.html or ""):
        assert STEERS.search(shown) is None
    page = (words.html or "").lower()
    assert "<script" not in page
    assert "<img" not in page


@pytest.mark.parametrize(("locale", "tier"), KINDS)
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_neither_steers_nor_lengthens_an_sms(name: str, locale: str, tier: str) -> None:
    words = rendered(name, locale, tier, "sms")
    assert STEERS.search(words.text) is None
    assert "\n" not in words.text
    assert len(words.text) < 1600
    assert words.text.count("【") <= 1
    assert TWILIO.build(message("sms", words))["To"] == "+12025550142"


@pytest.mark.parametrize("locale", LOCALES)
def test_a_name_that_looks_like_a_template_is_a_name(locale: str) -> None:
    words = rendered("{{7*7}}", locale, "stern", "email")
    assert "{{7*7}}" in words.text
    assert "{{7*7}}" in html.unescape(words.html or "")
    assert "49" not in (words.subject or "")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
def test_whatever_a_borrower_is_called_the_mail_has_its_own_headers_only(name: str) -> None:
    words = rendered(name, "en-US", "reminder", "email")
    content = SMTP.build(message("email", words)).content
    assert set(email.message_from_bytes(content, policy=default).keys()) <= HEADERS


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=80))
def test_whatever_stands_in_an_address_reaches_one_recipient_or_is_refused(address: str) -> None:
    words = Rendered("Please pay.", "Overdue")
    for adapter, channel in ((SMTP, "email"), (TWILIO, "sms")):
        try:
            adapter.build(message(channel, words, address))
        except InvalidRecipient:
            continue
        assert STEERS.search(address) is None
        assert not set(address) & set(" \r\n,;<>")


@pytest.mark.parametrize("steering", ["\r\nBcc: x@example.org", "\n", "\r", "\x00"])
def test_a_subject_or_a_sender_that_steers_is_refused_before_anything_is_sent(steering: str) -> None:
    bad_subject = message("email", Rendered("Please pay.", f"Overdue{steering}"))
    bad_sender = replace(
        message("email", Rendered("Please pay.", "Overdue")),
        sender=Sender(email_from=f"Example Bank{steering} <care@example.com>"),
    )
    for bad, expected in ((bad_subject, ContentRejected), (bad_sender, Misconfigured)):
        with pytest.raises(expected):
            SMTP.build(bad)
    with pytest.raises(ValidationError):
        SenderConfig(sms_from=f"+15005550006{steering}")
