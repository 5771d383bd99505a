"""SmtpEmail's mails as a real mail server takes them, TLS and logins, and what is refused before sending."""

import asyncio
import email
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, Envelope

from worker.channels.base import (
    Accepted,
    ContentRejected,
    DeliveryError,
    InvalidRecipient,
    Misconfigured,
    ProviderConfig,
)
from worker.channels.email_smtp import SmtpEmail
from worker.domain.message import MessageRef, OutgoingMessage, Rendered, Sender

REF = MessageRef(date(2026, 11, 2), UUID(int=1), UUID(int=2))
SENDER = Sender(email_from="示例银行, 催收部 <care@example.com>", email_reply_to="Hotline <help@example.com>")
TEXT = "张女士：\n.以点开头的一行\n" + "请尽快还款。" * 400 + "\nhttps://pay.example.com/" + "x" * 1200 + "\n"
UNSUBSCRIBE = "https://dunlin.example.com/u/" + "abcdefghij" * 12
MESSAGE = OutgoingMessage(
    ref=REF,
    portfolio="cards",
    channel="email",
    address="mei@example.org",
    rendered=Rendered(TEXT, "逾期提醒：您的账户已逾期九天，请尽快处理" * 3, "<p>请尽快还款。</p>"),
    sender=SENDER,
    send_before_s=3600,
    unsubscribe_url=UNSUBSCRIBE,
)


class Mailbox:
    """A real mail server's handler."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, *told: Any) -> str:  # noqa: N802  aiosmtpd's name
        self.envelopes.append(told[-1])
        return "250 2.0.0 Ok"


def adapter(port: int = 25) -> SmtpEmail:
    options = {"host": "127.0.0.1", "port": str(port), "tls": "none", "hostname": "worker.example.com"}
    return SmtpEmail.from_config(ProviderConfig(options, "", ""))


def taken(message: OutgoingMessage) -> Envelope:
    """The mail as the server got it."""

    async def scene() -> Envelope:
        mailbox, loop = Mailbox(), asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(mailbox, hostname="mail.example.com"), "127.0.0.1", 0)
        smtp = adapter(server.sockets[0].getsockname()[1])
        assert await smtp.send(smtp.build(message)) == Accepted(smtp.build(message).message_id)
        await smtp.close()
        server.close()
        (only,) = mailbox.envelopes
        return only

    return asyncio.run(scene())


@pytest.fixture(scope="module")
def received() -> Envelope:
    return taken(MESSAGE)


def parsed(envelope: Envelope) -> EmailMessage:
    mail = email.message_from_bytes(envelope.content, policy=default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def test_the_envelope_has_one_sender_and_one_recipient(received: Envelope) -> None:
    assert (received.mail_from, received.rcpt_tos) == ("care@example.com", ["mei@example.org"])


def test_chinese_subject_text_and_html_arrive_as_they_were(received: Envelope) -> None:
    mail = parsed(received)
    assert mail["Subject"] == MESSAGE.rendered.subject
    plain, html = mail.iter_parts()
    assert mail.get_content_type() == "multipart/alternative"
    assert plain.get_content().splitlines() == TEXT.splitlines()
    assert html.get_content().strip() == MESSAGE.rendered.html


def test_the_headers_say_who_writes_and_that_a_machine_does(received: Envelope) -> None:
    mail = parsed(received)
    assert mail["From"].addresses[0].display_name == "示例银行, 催收部"
    assert mail["From"].addresses[0].addr_spec == "care@example.com"
    assert mail["Reply-To"].addresses[0].addr_spec == "help@example.com"
    assert mail["To"] == "mei@example.org"
    assert mail["Message-ID"] == f"<{UUID(int=1)}.2026-11-02@example.com>"
    assert mail["X-Dunlin-Message"] == str(UUID(int=1))
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs(mail["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_long_unsubscribe_address_stays_in_one_piece(received: Envelope) -> None:
    assert f"\r\nList-Unsubscribe: <{UNSUBSCRIBE}>\r\n".encode() in received.content
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in received.content


def test_the_mail_is_plain_ascii_lines_every_server_takes(received: Envelope) -> None:
    assert received.content.isascii()
    assert b"\n" not in received.content.replace(b"\r\n", b"")
    assert b"\r" not in received.content.replace(b"\r\n", b"")
    assert max(len(line) for line in received.content.split(b"\r\n")) <= 200


def test_every_attempt_has_the_same_message_id() -> None:
    again = replace(MESSAGE, ref=replace(REF, attempt_id=UUID(int=9)))
    assert adapter().build(MESSAGE).message_id == adapter().build(again).message_id


def test_without_an_unsubscribe_address_there_is_no_header_for_it() -> None:
    assert b"Unsubscribe" not in adapter().build(replace(MESSAGE, unsubscribe_url="")).content


def test_lines_that_begin_with_a_dot_neither_end_the_mail_nor_change() -> None:
    text = "Please pay.\n.\n..\n.net\n"
    mail = taken(replace(MESSAGE, rendered=Rendered(text, "Overdue")))
    assert parsed(mail).get_content().splitlines() == text.splitlines()


REFUSED: dict[str, tuple[OutgoingMessage, type[DeliveryError]]] = {
    "no domain": (replace(MESSAGE, address="mei"), InvalidRecipient),
    "header in the address": (replace(MESSAGE, address="mei@example.org\r\nBcc: x"), InvalidRecipient),
    "command in the address": (replace(MESSAGE, address="mei@example.org> SIZE=1"), InvalidRecipient),
    "two addresses": (replace(MESSAGE, address="mei@example.org, x@example.org"), InvalidRecipient),
    "NUL in the address": (replace(MESSAGE, address="mei\0@example.org"), InvalidRecipient),
    "no ASCII before the at": (replace(MESSAGE, address="梅@example.org"), InvalidRecipient),
    "no subject": (replace(MESSAGE, rendered=Rendered(TEXT)), ContentRejected),
    "header in the subject": (replace(MESSAGE, rendered=Rendered(TEXT, "a\r\nBcc: x")), ContentRejected),
    "NUL in the subject": (replace(MESSAGE, rendered=Rendered(TEXT, "a\0")), ContentRejected),
    "endless subject": (replace(MESSAGE, rendered=Rendered(TEXT, "a" * 251)), ContentRejected),
    "no text": (replace(MESSAGE, rendered=Rendered(" ", "a")), ContentRejected),
    "NUL in the text": (replace(MESSAGE, rendered=Rendered("a\0", "a")), ContentRejected),
    "NUL in the HTML": (replace(MESSAGE, rendered=Rendered("a", "a", "\0")), ContentRejected),
    "text too long": (replace(MESSAGE, rendered=Rendered("a" * 100_001, "a")), ContentRejected),
    "no sender": (replace(MESSAGE, sender=Sender()), Misconfigured),
    "header in the sender": (replace(MESSAGE, sender=Sender(email_from="A\nB: c <a@b.test>")), Misconfigured),
    "a bracket left open": (replace(MESSAGE, sender=Sender(email_from="A <a@example.com")), Misconfigured),
    "a bracket too many": (replace(MESSAGE, sender=Sender(email_from="a@example.com>")), Misconfigured),
    "bad reply address": (replace(MESSAGE, sender=replace(SENDER, email_reply_to="x")), Misconfigured),
    "bad unsubscribe address": (replace(MESSAGE, unsubscribe_url="https://x> y"), Misconfigured),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_mail_cannot_carry_is_refused_before_it_is_sent(name: str) -> None:
    message, expected = REFUSED[name]
    with pytest.raises(expected) as refused:
        adapter().build(message)
    assert "mei" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["a.b+c@example.com", "x@mail.example.org", "x@branch.test", "x@bücher.example"]
)
def test_reserved_and_international_domains_are_addresses(address: str) -> None:
    assert adapter().build(replace(MESSAGE, address=address)).recipient.isascii()
