"""The sandbox's list of messages seen through Twilio's own SDK: its lag, its pages, its filters."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.contract.twilio_sdk import BORROWER, send, wait_for
from worker.sandbox.server import SandboxConfig

LAG_S = 0.3
CONFIG = SandboxConfig(list_lag_s=LAG_S, progress_s=0.02)


def test_the_list_lags_behind(box, twilio):
    for _ in range(20):
        before = time.monotonic()
        sid = send(twilio).sid
        early = twilio.messages.list(to=BORROWER)
        if time.monotonic() - before < LAG_S:
            break
        box.client.reset()  # the machine was busy with other things, and the lag is over
    else:
        pytest.fail("too slow a machine to see the lag")
    assert early == []
    wait_for(lambda: [message.sid for message in twilio.messages.list(to=BORROWER)] == [sid])
    assert time.monotonic() - before >= LAG_S


def test_the_list_pages_newest_first_and_by_recipient(twilio):
    sids = [send(twilio, body=f"number {i}").sid for i in range(7)]
    send(twilio, to="+12065550102")
    wait_for(lambda: len(twilio.messages.list()) == 8)
    assert [m.sid for m in twilio.messages.list(to=BORROWER, page_size=3)] == sids[::-1]
    first = twilio.messages.page(to=BORROWER, page_size=3)
    second = first.next_page()
    third = second.next_page()
    assert [m.sid for m in third] == sids[:1]
    assert third.next_page() is None
    assert first.previous_page() is None
    assert [m.sid for m in third.previous_page()] == sids[1:4][::-1]


def test_a_page_stays_where_it_was_while_new_messages_come(twilio):
    sids = [send(twilio).sid for _ in range(4)]
    wait_for(lambda: len(twilio.messages.list()) == 4)
    first = twilio.messages.page(to=BORROWER, page_size=2)
    send(twilio)
    wait_for(lambda: len(twilio.messages.list()) == 5)
    assert [m.sid for m in first.next_page()] == sids[:2][::-1]


def test_the_links_of_a_page_are_twilios(box, twilio):
    sids = [send(twilio).sid for _ in range(3)]
    wait_for(lambda: len(twilio.messages.list()) == 3)
    path = f"/2010-04-01/Accounts/{CONFIG.account_sid}/Messages.json"
    page = requests.get(
        box.client.base_url + path,
        params={"To": BORROWER, "PageSize": 2},
        auth=(CONFIG.account_sid, CONFIG.auth_token),
        timeout=5,
    ).json()
    query = "To=%2B12065550101&PageSize=2&Page="
    assert page["first_page_uri"] == page["uri"] == f"{path}?{query}0"
    assert page["next_page_uri"] == f"{path}?{query}1&PageToken=PA{sids[1]}"
    assert page["previous_page_uri"] is None
    assert (page["page"], page["page_size"], page["start"], page["end"]) == (0, 2, 0, 1)


def test_a_later_page_without_its_token_is_refused(box):
    answer = requests.get(
        f"{box.client.base_url}/2010-04-01/Accounts/{CONFIG.account_sid}/Messages.json?Page=1",
        auth=(CONFIG.account_sid, CONFIG.auth_token),
        timeout=5,
    )
    assert (answer.status_code, answer.json()["code"]) == (400, 20001)


def test_the_date_filter_hides_what_is_not_sent(box, twilio):
    today = datetime.now(UTC)
    sent = send(twilio).sid
    wait_for(lambda: twilio.messages(sent).fetch().status == "delivered")
    box.client.set_fault("hold")
    send(twilio)
    box.client.clear_faults()
    wait_for(lambda: len(twilio.messages.list()) == 2)
    assert [m.sid for m in twilio.messages.list(date_sent=today)] == [sent]
    assert [m.sid for m in twilio.messages.list(date_sent_after=today - timedelta(days=1))] == [sent]
    assert twilio.messages.list(date_sent_before=today - timedelta(days=2)) == []
    assert twilio.messages.list(date_sent=today - timedelta(days=3)) == []
