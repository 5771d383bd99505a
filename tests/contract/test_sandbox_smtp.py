"""The sandbox's mail server, and each phase at which it can be told to fail."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import Iterator
from email.message import EmailMessage

import aiosmtplib
import pytest

from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig

MESSAGE_ID = "11111111-1111-4111-8111-111111111111"
HEADER = f"<{MESSAGE_ID}.2031-03-01@mail.example.com>"
LOGIN, PASSWORD = "worker", "correct horse"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = (folder / name for name in ("key.pem", "cert.pem", "both.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(key.read_text() + cert.read_text())
    return both


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig()) as process:
        yield process


@pytest.fixture
def box(running) -> Iterator[SandboxProcess]:
    yield running
    running.client.clear_faults()
    running.client.reset()


@pytest.fixture(scope="module")
def guarded(certificate) -> Iterator[SandboxProcess]:
    """A server with STARTTLS that wants a login."""
    config = SandboxConfig(smtp_cert=certificate, smtp_login=LOGIN, smtp_password=PASSWORD)
    with sandbox_process(config) as process:
        yield process


def mail(to="borrower@example.com", text="Your payment of £5 is due.", header=HEADER) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Lender <mail@example.com>"
    message["To"] = to
    message["Subject"] = "Payment reminder"
    if header:
        message["Message-ID"] = header
    message.set_content(text)
    return message


def send(box, message=None, timeout=5.0, **options):
    async def sending():
        return await aiosmtplib.send(
            message or mail(),
            hostname="127.0.0.1",
            port=box.ports.smtp,
            timeout=timeout,
            **{"start_tls": False} | options,
        )

    return asyncio.run(sending())


def counts(box):
    return box.client.counts()["channels"]["email"]


def test_mail_is_kept_with_envelope_headers_and_raw_message(box):
    send(box, sender="bounce@example.com")
    (kept,) = box.client.messages(channel="email")
    assert (kept["message_id"], kept["message_id_header"]) == (MESSAGE_ID, HEADER)
    assert (kept["from"], kept["to"], kept["status"]) == (
        "bounce@example.com",
        "borrower@example.com",
        "accepted",
    )
    assert kept["subject"] == "Payment reminder"
    assert kept["text"].strip() == "Your payment of £5 is due."
    assert ["From", "Lender <mail@example.com>"] in kept["headers"]
    assert kept["raw"].endswith("\r\n")
    assert f"Message-ID: {HEADER}\r\n" in kept["raw"]


def test_the_html_part_is_kept_beside_the_text(box):
    message = mail()
    message.add_alternative("<p>Your payment</p>", subtype="html")
    send(box, message)
    (kept,) = box.client.messages()
    assert (kept["html"].strip(), kept["text"].strip()) == (
        "<p>Your payment</p>",
        "Your payment of £5 is due.",
    )


def test_the_same_message_id_twice_counts_two(box):
    send(box)
    send(box)
    assert box.client.counts()["messages"] == {MESSAGE_ID: 2}


def test_a_foreign_message_id_counts_as_it_is_and_a_missing_one_by_content(box):
    send(box, mail(header="<abc@example.org>"))
    send(box, mail(header=""))
    send(box, mail(header=""))
    counted = box.client.counts()["messages"]
    assert counted.pop("<abc@example.org>") == 1
    assert list(counted.values()) == [2]


def test_two_recipients_of_one_mail_count_as_two_received(box):
    send(box, recipients=["a@example.com", "b@example.com"])
    assert box.client.counts()["messages"] == {MESSAGE_ID: 2}
    assert [m["to"] for m in box.client.messages()] == ["a@example.com", "b@example.com"]


def test_a_header_that_is_no_utf8_survives(box):
    raw = b"Message-ID: " + HEADER.encode() + b"\r\nSubject: \xff\xfe\r\n\r\nx\r\n"

    async def sending():
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=box.ports.smtp, start_tls=False) as client:
            await client.sendmail("mail@example.com", ["borrower@example.com"], raw)

    asyncio.run(sending())
    assert box.client.messages()[0]["raw"].encode("utf-8", "surrogateescape") == raw


def test_starttls_and_login_open_the_guarded_server(guarded, certificate):
    trust = ssl.create_default_context(cafile=str(certificate))
    send(guarded, start_tls=True, tls_context=trust, username=LOGIN, password=PASSWORD)
    assert guarded.client.counts()["messages"] == {MESSAGE_ID: 1}
    guarded.client.reset()


def test_a_wrong_password_is_refused(guarded, certificate):
    trust = ssl.create_default_context(cafile=str(certificate))
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as caught:
        send(guarded, start_tls=True, tls_context=trust, username=LOGIN, password="wrong")
    assert caught.value.code == 535


def test_without_login_the_guarded_server_takes_nothing(guarded):
    with pytest.raises(aiosmtplib.SMTPSenderRefused) as caught:
        send(guarded)
    assert caught.value.code == 530
    assert counts(guarded)["accepted"] == 0


def test_a_password_is_not_taken_in_the_clear(guarded):
    with pytest.raises(aiosmtplib.SMTPException):
        send(guarded, username=LOGIN, password=PASSWORD)
    assert counts(guarded)["accepted"] == 0


def test_a_certificate_nobody_trusts_is_not_accepted_by_a_careful_client(guarded):
    with pytest.raises(ssl.SSLCertVerificationError):
        send(guarded, start_tls=True, username=LOGIN, password=PASSWORD)


def test_starttls_missing_offers_no_encryption(guarded, certificate):
    guarded.client.set_fault("starttls_missing", times=1)
    trust = ssl.create_default_context(cafile=str(certificate))
    with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
        send(guarded, start_tls=True, tls_context=trust)
    assert guarded.client.faults()[0]["used"] == 1
    send(guarded, start_tls=True, tls_context=trust, username=LOGIN, password=PASSWORD)
    guarded.client.clear_faults()
    guarded.client.reset()


def test_greet_421_closes_at_the_door(box):
    box.client.set_fault("greet_421", times=1)
    with pytest.raises(aiosmtplib.SMTPConnectResponseError) as caught:
        send(box)
    assert caught.value.code == 421
    send(box)
    assert counts(box) == {"accepted": 1, "refused": 0}


def test_mail_reject_refuses_the_sender(box):
    box.client.set_fault("mail_reject", code=450, text="4.7.1 Greylisted")
    with pytest.raises(aiosmtplib.SMTPSenderRefused) as caught:
        send(box)
    assert (caught.value.code, caught.value.message) == (450, "4.7.1 Greylisted")
    assert counts(box) == {"accepted": 0, "refused": 1}


def test_rcpt_reject_refuses_one_recipient_of_two(box):
    box.client.set_fault("rcpt_reject", to="gone@example.com", code=551, text="5.1.6 Moved")
    errors, _ = send(box, recipients=["gone@example.com", "here@example.com"])
    assert errors["gone@example.com"][0] == 551
    assert [m["to"] for m in box.client.messages()] == ["here@example.com"]
    assert box.client.messages(outcome="refused")[0]["to"] == "gone@example.com"


def test_data_reject_refuses_after_the_dot(box):
    box.client.set_fault("data_reject", code=452, text="4.3.1 Out of storage")
    with pytest.raises(aiosmtplib.SMTPDataError) as caught:
        send(box)
    assert caught.value.code == 452
    assert counts(box) == {"accepted": 0, "refused": 1}
    assert box.client.counts()["requests"] == {MESSAGE_ID: 1}


def test_drop_before_data_keeps_nothing(box):
    box.client.set_fault("drop_before_data")
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        send(box)
    assert counts(box) == {"accepted": 0, "refused": 1}


def test_drop_after_data_keeps_the_mail_and_says_nothing(box):
    box.client.set_fault("drop_after_data")
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        send(box)
    assert counts(box) == {"accepted": 1, "refused": 0}


def test_latency_keeps_the_mail_first_and_answers_late(box):
    box.client.set_fault("latency", channel="email", s=0.6)
    with pytest.raises(aiosmtplib.SMTPReadTimeoutError):
        send(box, timeout=0.3)
    assert counts(box) == {"accepted": 1, "refused": 0}
    started = time.monotonic()
    send(box)
    assert time.monotonic() - started >= 0.6
