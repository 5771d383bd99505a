"""TwilioSms over TLS: what is not certainly Twilio gets nothing, and nothing goes in clear."""

import asyncio
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HERE = x509.IPAddress(IPv4Address("127.0.0.1"))
POST = """
import asyncio, sys
from datetime import date
from uuid import uuid4

from worker.channels.base import ProviderConfig
from worker.channels.sms_twilio import TwilioSms
from worker.domain.message import MessageRef, OutgoingMessage, Rendered, Sender

async def post():
    options = {"account_sid": "AC" + "0" * 32, "auth_token": "x", "base_url": sys.argv[1], "timeout_s": "5"}
    adapter = TwilioSms(ProviderConfig(options, "http://127.0.0.1:9", ""))
    message = OutgoingMessage(
        MessageRef(date(2026, 11, 2), uuid4(), uuid4()), "uk", "sms", "+12025550142", Rendered("Please pay."),
        Sender(sms_from="+12025550100"), 3600)
    try:
        await adapter.send(adapter.build(message))
    except Exception as error:
        print(type(error).__name__)
    await adapter.close()

asyncio.run(post())
"""
"""In a process of its own, because which certificates are trusted is settled when it starts."""


def certificate(folder: Path, name: x509.GeneralName, *, ends_in_h: int = 1) -> tuple[Path, Path]:
    """Self-signed, so it is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(hours=ends_in_h))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file, key_file


def posted(file: Path, key: Path, *, trusted: bool = True) -> tuple[str, bytes]:
    """What a POST to a server with this certificate is taken for, and what the server could read of it."""

    async def scene() -> tuple[str, bytes]:
        read = b""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal read
            read += await reader.read(10_000)
            writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file, key)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        environment = {**os.environ, **({"SSL_CERT_FILE": str(file)} if trusted else {})}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", POST, url, env=environment, stdout=subprocess.PIPE
        )
        said, _ = await process.communicate()
        server.close()
        return said.decode().strip(), read

    return asyncio.run(scene())


def test_a_server_we_trust_gets_the_request(tmp_path: Path) -> None:
    error, read = posted(*certificate(tmp_path, HERE))
    assert error == "OutcomeUnknown"  # it answered 500
    assert read.startswith(b"POST ")


@pytest.mark.parametrize(
    ("name", "ends_in_h", "trusted"),
    [
        (HERE, 1, False),
        (x509.DNSName("api.example.org"), 1, True),
        (HERE, -1, True),
    ],
    ids=["signed by nobody", "of another name", "expired"],
)
def test_a_certificate_that_proves_nothing_is_refused_before_anything_is_said(
    tmp_path: Path, name: x509.GeneralName, ends_in_h: int, trusted: bool
) -> None:
    error, read = posted(*certificate(tmp_path, name, ends_in_h=ends_in_h), trusted=trusted)
    assert (error, read) == ("Transient", b"")
