"""The sandbox's control API and its client."""

import socket

import pytest
import requests

from worker.sandbox.client import SandboxClient, SandboxRefused, SandboxUnreachable
from worker.sandbox.process import sandbox_process
from worker.sandbox.server import SandboxConfig


@pytest.fixture(scope="module")
def box():
    with sandbox_process(SandboxConfig(progress_s=0)) as running:
        yield running


@pytest.fixture
def client(box):
    yield box.client
    box.client.reset()


def send(client, to="+12065550101", body="Your payment is due."):
    config = SandboxConfig()
    answer = requests.post(
        f"{client.base_url}/2010-04-01/Accounts/{config.account_sid}/Messages.json",
        data={"To": to, "From": "+15005550006", "Body": body},
        auth=(config.account_sid, config.auth_token),
        timeout=5,
    )
    assert answer.status_code == 201


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_messages_can_be_asked_for_by_recipient_and_number(client):
    for body in ("one", "two", "three"):
        send(client, body=body)
    send(client, to="+12065550102", body="other")
    assert [m["text"] for m in client.messages(to="+12065550101")] == ["one", "two", "three"]
    assert [m["text"] for m in client.messages(limit=2)] == ["three", "other"]
    assert client.messages(channel="email") == []
    (one, *_) = client.messages()
    assert client.messages(message_id=one["message_id"]) == [one]


def test_counts_tell_accepted_and_refused(client):
    send(client, body="same")
    send(client, body="same")
    client.set_fault("http_500", times=1)
    with pytest.raises(AssertionError):
        send(client, body="same")
    client.clear_faults()
    counts = client.counts()
    assert list(counts["messages"].values()) == [2]
    assert list(counts["requests"].values()) == [3]
    assert counts["channels"] == {
        "sms": {"accepted": 2, "refused": 1},
        "email": {"accepted": 0, "refused": 0},
    }


def test_a_reset_forgets_messages_and_counts(client):
    send(client)
    client.reset()
    assert client.messages() == []
    assert client.counts()["messages"] == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "part"),
    [
        ("GET", "messages?limit=many", None, "limit"),
        ("GET", "messages?channel=fax", None, "channel"),
        ("GET", "messages?outcome=lost", None, "outcome"),
        ("POST", "faults", b"{", "the body"),
        ("POST", "faults", b"[]", "the body"),
        ("POST", "inbound", b'{"from": "+12065550101"}', "to"),
    ],
)
def test_a_senseless_control_request_is_refused_with_the_place(client, method, path, body, part):
    answer = requests.request(method, f"{client.base_url}/_sandbox/{path}", data=body, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(part)


def test_the_client_tells_what_is_refused_from_what_does_not_answer(client):
    with pytest.raises(SandboxRefused, match="channel"):
        client.messages(channel="fax")
    with pytest.raises(SandboxUnreachable, match=r"127\.0\.0\.1"):
        SandboxClient(f"http://127.0.0.1:{closed_port()}", timeout_s=1).health()


@pytest.mark.parametrize("url", ["127.0.0.1:8026", "ftp://127.0.0.1", "http://"])
def test_the_client_wants_a_whole_address(url):
    with pytest.raises(ValueError, match="http://host:port"):
        SandboxClient(url)
