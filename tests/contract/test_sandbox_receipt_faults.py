"""Each way in which the sandbox's status callbacks can be told to mislead."""

import time

import requests

from tests.contract.callbacks import CONFIG, after_two_more_messages, send
from tests.contract.twilio_sdk import wait_for


def status_of(box):
    return box.client.messages()[-1]["status"]


def test_fault_late_delays_receipts_but_not_the_message(box, receiver):
    box.client.set_fault("late", s=0.4)
    started = time.monotonic()
    send(box, receiver.url + "/status")
    wait_for(lambda: status_of(box) == "delivered")
    wait_for(lambda: len(receiver.requests) == 2)
    assert min(request.at for request in receiver.requests) - started >= 0.4


def test_fault_double_tells_each_step_twice(box, receiver):
    box.client.set_fault("double")
    send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 4)
    assert sorted(receiver.statuses()) == ["delivered", "delivered", "sent", "sent"]


def test_fault_reorder_tells_delivered_before_sent(box, receiver):
    box.client.set_fault("reorder")
    send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 2)
    assert receiver.statuses() == ["delivered", "sent"]
    assert all(receiver.signed(request) for request in receiver.requests)


def test_fault_never_tells_nothing(box, receiver):
    box.client.set_fault("never", times=1)
    send(box, receiver.url + "/status")
    after_two_more_messages(box, receiver)
    assert box.client.messages()[0]["status"] == "delivered"
    assert {request.path for request in receiver.requests} == {"/later"}


def test_fault_undelivered_ends_with_its_code(box, receiver):
    box.client.set_fault("undelivered", code=30005)
    message = send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 2)
    assert receiver.statuses() == ["sent", "undelivered"]
    assert receiver.requests[1].form["ErrorCode"] == "30005"
    resource = requests.get(
        box.client.base_url + message["uri"], auth=(CONFIG.account_sid, CONFIG.auth_token), timeout=5
    ).json()
    assert (resource["status"], resource["error_code"]) == ("undelivered", 30005)
    assert resource["error_message"]


def test_fault_contradict_takes_delivered_back(box, receiver):
    box.client.set_fault("contradict", code=30008)
    send(box, receiver.url + "/status")
    wait_for(lambda: len(receiver.requests) == 3)
    assert receiver.statuses() == ["sent", "delivered", "undelivered"]
    assert receiver.requests[2].form["ErrorCode"] == "30008"
