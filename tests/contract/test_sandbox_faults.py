"""Each way in which the sandbox's Messages API can be told to fail."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest
import requests

from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig

CONFIG = SandboxConfig(list_lag_s=0, progress_s=0.02, seed=7)
BORROWER = "+12065550101"
AUTH = (CONFIG.account_sid, CONFIG.auth_token)
SHORT_S = 0.25
"""A client's timeout where the sandbox is told to be slower."""


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxProcess]:
    with sandbox_process(CONFIG) as process:
        yield process


@pytest.fixture
def box(running) -> Iterator[SandboxProcess]:
    yield running
    running.client.clear_faults()
    running.client.reset()


def wait_for(condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "did not come true in time"
        time.sleep(0.01)


def messages_url(box) -> str:
    return f"{box.client.base_url}/2010-04-01/Accounts/{CONFIG.account_sid}/Messages.json"


def send(box, to=BORROWER, timeout=5.0, **fields) -> requests.Response:
    form = {"To": to, "From": "+15005550006", "Body": "Your payment is due."} | fields
    return requests.post(messages_url(box), data=form, auth=AUTH, timeout=timeout)


def accepted(box) -> int:
    return box.client.counts()["channels"]["sms"]["accepted"]


def refused(box) -> int:
    return box.client.counts()["channels"]["sms"]["refused"]


def test_latency_takes_the_message_late_even_when_the_client_has_left(box):
    box.client.set_fault("latency", s=0.4)
    with pytest.raises(requests.ReadTimeout):
        send(box, timeout=0.1)
    assert accepted(box) == 0
    wait_for(lambda: accepted(box) == 1)


def test_latency_can_take_the_message_first_so_that_it_moves_on_before_the_answer(box):
    box.client.set_fault("latency", s=0.5, accept_first=True)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(send, box)
        wait_for(lambda: [m["status"] for m in box.client.messages()] == ["delivered"])
        assert not answer.done()
        assert answer.result().status_code == 201


def test_429_comes_without_a_hint_of_when(box):
    box.client.set_fault("http_429")
    answer = send(box)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (429, 20429, 429)
    assert "Retry-After" not in answer.headers
    assert (accepted(box), refused(box)) == (0, 1)


def test_429_can_name_seconds(box):
    box.client.set_fault("http_429", retry_after_s=7)
    assert send(box).headers["Retry-After"] == "7"


def test_429_can_name_a_date(box):
    box.client.set_fault("http_429", retry_after_s=120, http_date=True)
    wait_s = parsedate_to_datetime(send(box).headers["Retry-After"]).timestamp() - time.time()
    assert 110 < wait_s <= 120


def test_500_has_twilios_body_and_takes_nothing(box):
    box.client.set_fault("http_500")
    answer = send(box)
    assert answer.status_code == 500
    assert answer.json()["code"] == 20500
    assert answer.json()["more_info"].endswith("/20500")
    assert (accepted(box), refused(box)) == (0, 1)


def test_500_after_takes_the_message_and_lies(box):
    box.client.set_fault("http_500_after")
    assert (send(box).status_code, accepted(box), refused(box)) == (500, 1, 0)


def test_500_after_can_be_another_status(box):
    box.client.set_fault("http_500_after", status=503, code=20503)
    answer = send(box)
    assert (answer.status_code, answer.json()["code"], accepted(box)) == (503, 20503, 1)


@pytest.mark.parametrize("took", [False, True])
def test_502_is_a_proxys_page_whoever_has_the_message(box, took):
    box.client.set_fault("http_502", accepted=took)
    answer = send(box)
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (502, "text/html")
    assert (accepted(box), refused(box)) == (int(took), int(not took))


def test_timeout_takes_the_message_and_never_answers(box):
    box.client.set_fault("timeout")
    with pytest.raises(requests.ReadTimeout):
        send(box, timeout=SHORT_S)
    wait_for(lambda: (accepted(box), refused(box)) == (1, 0))


def test_timeout_before_takes_nothing_and_never_answers(box):
    box.client.set_fault("timeout_before")
    with pytest.raises(requests.ReadTimeout):
        send(box, timeout=SHORT_S)
    wait_for(lambda: (accepted(box), refused(box)) == (0, 1))


def test_drop_before_closes_the_connection_and_takes_nothing(box):
    box.client.set_fault("drop_before")
    with pytest.raises(requests.ConnectionError):
        send(box)
    assert (accepted(box), refused(box)) == (0, 1)


def test_drop_after_takes_the_message_and_closes_the_connection(box):
    box.client.set_fault("drop_after")
    with pytest.raises(requests.ConnectionError):
        send(box)
    assert (accepted(box), refused(box)) == (1, 0)


def test_garbage_200_takes_the_message_and_answers_no_json(box):
    box.client.set_fault("garbage_200")
    answer = send(box)
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert (answer.status_code, accepted(box)) == (200, 1)


def test_no_sid_200_takes_the_message_and_tells_no_id(box):
    box.client.set_fault("no_sid_200")
    answer = send(box)
    assert "sid" not in answer.json()
    assert (answer.status_code, accepted(box)) == (200, 1)


def test_error_answers_any_status_and_code(box):
    box.client.set_fault("error", status=403, code=21999)
    answer = send(box)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (403, 21999, 403)
    assert (accepted(box), refused(box)) == (0, 1)


def test_slow_drip_takes_the_message_and_trickles_its_answer(box):
    box.client.set_fault("slow_drip", s=0.5)
    started = time.monotonic()
    # No single read waits long: only a limit on the whole call helps.
    assert send(box, timeout=SHORT_S).json()["sid"]
    assert time.monotonic() - started >= 0.5
    assert accepted(box) == 1


def test_unauthorized_is_said_to_right_credentials(box):
    box.client.set_fault("unauthorized")
    answer = send(box)
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)
    assert (accepted(box), refused(box)) == (0, 1)


def test_a_request_that_breaks_a_rule_gets_its_true_answer(box):
    box.client.set_fault("garbage_200")
    answer = send(box, Body="")
    assert (answer.status_code, answer.json()["code"]) == (400, 21602)
    assert (accepted(box), refused(box)) == (0, 1)


@pytest.mark.parametrize("on", ["list", "fetch"])
def test_looking_up_can_fail_while_creating_works(box, on):
    box.client.set_fault("error", on=on, status=503, code=20503)
    message = send(box)
    assert message.status_code == 201
    urls = {"list": messages_url(box), "fetch": box.client.base_url + message.json()["uri"]}
    answers = {name: requests.get(url, auth=AUTH, timeout=5).status_code for name, url in urls.items()}
    assert answers == {"list": 200, "fetch": 200} | {on: 503}
    assert box.client.counts()["calls"] == {"create": 1, "list": 1, "fetch": 1}
