"""Whom the sandbox's faults hit, how often, and which faults it refuses to take."""

from collections.abc import Iterator

import pytest
import requests

from worker.sandbox.client import SandboxRefused
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig

CONFIG = SandboxConfig(seed=7)
BORROWER = "+12065550101"
AUTH = (CONFIG.account_sid, CONFIG.auth_token)


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxProcess]:
    with sandbox_process(CONFIG) as process:
        yield process


@pytest.fixture
def box(running) -> Iterator[SandboxProcess]:
    yield running
    running.client.clear_faults()
    running.client.reset()


def messages_url(box) -> str:
    return f"{box.client.base_url}/2010-04-01/Accounts/{CONFIG.account_sid}/Messages.json"


def send(box, to=BORROWER, timeout=5.0, **fields) -> requests.Response:
    form = {"To": to, "From": "+15005550006", "Body": "Your payment is due."} | fields
    return requests.post(messages_url(box), data=form, auth=AUTH, timeout=timeout)


def accepted(box) -> int:
    return box.client.counts()["channels"]["sms"]["accepted"]


def refused(box) -> int:
    return box.client.counts()["channels"]["sms"]["refused"]


def test_a_fault_hits_only_its_recipient(box):
    box.client.set_fault("http_500", to=BORROWER)
    assert [send(box, to).status_code for to in (BORROWER, "+12065550102")] == [500, 201]


def test_a_star_makes_it_a_beginning(box):
    box.client.set_fault("http_500", to="+1206*")
    assert [send(box, to).status_code for to in (BORROWER, "+12125550101")] == [500, 201]


def test_a_fault_of_another_channel_leaves_sms_alone(box):
    box.client.set_fault("latency", channel="email", s=60)
    assert send(box).status_code == 201


def test_a_fault_ends_after_its_times(box):
    box.client.set_fault("http_500", times=2)
    assert [send(box).status_code for _ in range(3)] == [500, 500, 201]
    assert box.client.faults()[0]["used"] == 2


def test_the_oldest_fault_that_fits_strikes_and_then_the_next(box):
    box.client.set_fault("http_500", times=1)
    box.client.set_fault("http_429")
    assert [send(box).status_code for _ in range(2)] == [500, 429]


def test_cleared_faults_are_gone(box):
    box.client.set_fault("http_500")
    box.client.clear_faults()
    assert send(box).status_code == 201


def hit_by_half(box, recipients):
    box.client.clear_faults()
    box.client.set_fault("http_500", rate=0.5)
    return {to for to in recipients if send(box, to).status_code == 500}


def test_a_rate_hits_the_same_recipients_in_any_order(box):
    recipients = [f"+120655501{i:02}" for i in range(60)]
    hit = hit_by_half(box, recipients)
    assert 15 < len(hit) < 45
    assert hit_by_half(box, recipients[::-1]) == hit


def test_a_rate_hits_one_recipient_now_and_then(box):
    box.client.set_fault("http_500", rate=0.5)
    assert {send(box).status_code for _ in range(40)} == {201, 500}


def test_another_seed_hits_others(box):
    recipients = [f"+120655501{i:02}" for i in range(40)]
    with sandbox_process(SandboxConfig(seed=8)) as other:
        assert hit_by_half(other, recipients) != hit_by_half(box, recipients)


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ({"kind": "earthquake"}, "kind"),
        ({"kind": "http_500", "rate": 1.5}, "rate"),
        ({"kind": "http_500", "times": 0}, "times"),
        ({"kind": "http_500", "channel": "fax"}, "match.channel"),
        ({"kind": "http_500", "channel": "email"}, "match.channel"),
        ({"kind": "rcpt_reject", "channel": "sms"}, "match.channel"),
        ({"kind": "hold", "on": "list"}, "match.on"),
        ({"kind": "hold", "to": 44}, "match.to"),
        ({"kind": "http_500", "on": "delete"}, "match.on"),
        ({"kind": "http_500", "s": 3}, "params"),
        ({"kind": "latency", "s": "long"}, "params.s"),
        ({"kind": "error", "code": True}, "params.code"),
        ({"kind": "greet_421", "to": "a@example.com"}, "match.to"),
    ],
)
def test_a_senseless_fault_is_refused_with_the_place(box, fault, part):
    with pytest.raises(SandboxRefused, match=f"^{part}"):
        box.client.set_fault(**fault)
    assert box.client.faults() == []
