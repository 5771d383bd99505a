"""Status callbacks: who may speak, what each word moves, and that nothing counts before it is committed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from worker.store import outcome as outcome_store
from worker.store.outcome import Outcome

PUBLIC_URL = "https://dunlin.example.com"


def test_a_signed_receipt_moves_its_message_and_is_answered_204(web: Any, mail: Any) -> None:
    ref = mail.message(state="sent")
    answer = web.receipt(ref, "delivered")
    assert (answer.status_code, answer.content) == (204, b"")
    assert mail.state(ref) == "delivered"


def test_a_receipt_signed_with_the_token_before_a_rotation_is_accepted(web: Any, mail: Any) -> None:
    ref = mail.message()
    form = web.form_of("delivered")
    assert web.webhook("status", web.query_of(ref), form, by="previous").status_code == 204
    assert mail.state(ref) == "delivered"


FORGERIES: dict[str, dict[str, Any]] = {
    "no signature": {"headers": {"X-Twilio-Signature": ""}},
    "a made-up signature": {"headers": {"X-Twilio-Signature": "A" * 28}},
    "another account's token": {"by": "sandbox"},
    "a changed body": {"signed_form": {"MessageStatus": "sent"}},
    "a parameter added to the body": {"form": {"ErrorCode": "21610"}, "signed_form": {}},
    "a changed query": {"signed_url": f"{PUBLIC_URL}/webhooks/twilio/status?b=2026-11-02"},
    "another path": {"signed_url": f"{PUBLIC_URL}/webhooks/twilio/inbound?QUERY"},
    "another host": {"signed_url": "https://evil.example.org/webhooks/twilio/status?QUERY"},
    "the scheme of a proxy's inside": {
        "signed_url": "http://dunlin.example.com/webhooks/twilio/status?QUERY"
    },
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_refused_and_leaves_only_a_count(web: Any, mail: Any, forgery: dict[str, Any]) -> None:
    ref, form = mail.message(), web.form_of("delivered")
    strays, refused = mail.strays(), web.http.get("/readyz").json()["refused_webhooks"]
    how = dict(forgery)
    sent = form | how.pop("form", {})
    if "signed_form" in how:
        how["signed_form"] = form | how["signed_form"]
    if "signed_url" in how:
        how["signed_url"] = how["signed_url"].replace("QUERY", web.query_of(ref))
    answer = web.webhook("status", web.query_of(ref), sent, **how)
    assert answer.status_code == 403
    assert mail.state(ref) == "sent"
    assert (mail.receipts(ref), mail.strays()) == (0, strays)
    assert web.http.get("/readyz").json()["refused_webhooks"] == refused + 1


def test_the_host_a_caller_names_does_not_matter(web: Any, mail: Any) -> None:
    ref = mail.message()
    headers = {
        "Host": "evil.example.org/x?",
        "X-Forwarded-Host": "evil.example.org",
        "X-Forwarded-Proto": "http",
    }
    answer = web.webhook("status", web.query_of(ref), web.form_of("delivered"), headers=headers)
    assert (answer.status_code, mail.state(ref)) == (204, "delivered")


def test_a_signature_over_the_host_a_caller_names_is_refused(web: Any, mail: Any) -> None:
    ref = mail.message()
    url = f"https://evil.example.org/webhooks/twilio/status?{web.query_of(ref)}"
    headers = {
        "Host": "evil.example.org",
        "X-Forwarded-Host": "evil.example.org",
        "X-Forwarded-Proto": "https",
    }
    form = web.form_of("delivered")
    answer = web.webhook("status", web.query_of(ref), form, signed_url=url, headers=headers)
    assert (answer.status_code, mail.state(ref)) == (403, "sent")


def test_a_receipt_of_another_account_is_refused_though_the_token_is_ours(web: Any, mail: Any) -> None:
    ref = mail.message()
    assert web.receipt(ref, AccountSid="AC" + "9" * 32).status_code == 403


@pytest.mark.parametrize(
    ("by", "mode", "status"),
    [
        ("sandbox", "sandbox", 204),
        ("sandbox", "allowlist", 403),
        ("sandbox", "live", 403),
        ("real", "sandbox", 403),
        ("real", "allowlist", 204),
        ("real", "live", 204),
    ],
)
def test_a_signature_counts_only_for_messages_of_its_own_mode(
    web: Any, mail: Any, by: str, mode: str, status: int
) -> None:
    ref = mail.message(mode=mode)
    assert web.receipt(ref, "delivered", by=by).status_code == status
    moved = status == 204
    assert mail.state(ref) == ("delivered" if moved else "sent")
    assert mail.receipts(ref) == int(moved)


@pytest.mark.parametrize(("portfolio", "status", "kept"), [("sandbox", 204, 1), ("live", 403, 0)])
def test_the_sandboxs_receipts_for_unknown_messages_are_kept_only_while_nobody_is_real(
    web: Any, mail: Any, book: Any, portfolio: str, status: int, kept: int
) -> None:
    book.run("UPDATE portfolios SET mode = :mode", mode=portfolio)
    unknown, strays = replace(mail.message(mode="sandbox"), message_id=uuid4()), mail.strays()
    assert web.receipt(unknown, by="sandbox").status_code == status
    assert mail.strays() == strays + kept


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (("sent", "delivered"), "delivered"),
        (("delivered", "sent"), "delivered"),
        (("delivered", "undelivered"), "undelivered"),
        (("undelivered", "delivered"), "delivered"),
        (("queued", "sending"), "sent"),
        (("delivered", "a word Twilio adds later"), "delivered"),
    ],
)
def test_words_move_a_message_forward_in_whatever_order_they_come(
    web: Any, mail: Any, words: tuple[str, ...], state: str
) -> None:
    ref = mail.message(state="sent")
    assert [web.receipt(ref, word).status_code for word in words] == [204, 204]
    assert mail.state(ref) == state
    assert mail.receipts(ref) == len(words)


def test_a_receipt_before_our_own_outcome_settles_the_message_and_the_outcome_moves_nothing_back(
    web: Any, mail: Any, engine: Engine
) -> None:
    ref = mail.message(state="sending")
    assert web.receipt(ref, "delivered").status_code == 204
    outcome = Outcome(*_ids(ref), "sent", "accepted", None, None, "SM1", 0.0, 1)
    with engine.begin() as connection:
        moved = outcome_store.finish(connection, mail.lease, [outcome])
    assert (moved, mail.state(ref)) == (set(), "delivered")


def _ids(ref: Any) -> tuple[Any, ...]:
    return ref.business_on, ref.message_id, ref.attempt_id


def test_a_receipt_for_a_message_that_counts_as_not_sent_is_kept_and_moves_nothing(
    web: Any, mail: Any
) -> None:
    ref = mail.message(state="failed", reason="attempts_exhausted")
    assert web.receipt(ref, "delivered").status_code == 204
    assert (mail.state(ref), mail.receipts(ref)) == ("failed", 1)


def test_a_replay_is_answered_204_and_changes_nothing(web: Any, mail: Any) -> None:
    ref = mail.message()
    words = ("sent", "delivered", "undelivered", "sent", "delivered")
    assert {web.receipt(ref, word).status_code for word in words} == {204}
    # A provider's correction is a word of its own; the same word again is none.
    assert (mail.state(ref), mail.receipts(ref)) == ("undelivered", 3)


def test_five_identical_receipts_at_once_are_one_receipt_and_one_move(web: Any, mail: Any) -> None:
    ref = mail.message()
    with ThreadPoolExecutor(5) as threads:
        answers = list(threads.map(lambda _: web.receipt(ref, "delivered").status_code, range(5)))
    assert answers == [204] * 5
    assert (mail.receipts(ref), mail.events(ref, "state")) == (1, 1)


@pytest.mark.parametrize("unknown", ["message_id", "attempt_id"])
def test_a_receipt_for_nothing_of_ours_is_kept_as_a_stray(web: Any, mail: Any, unknown: str) -> None:
    ref, strays = mail.message(), mail.strays()
    assert web.receipt(replace(ref, **{unknown: uuid4()})).status_code == 204
    assert (mail.state(ref), mail.receipts(ref), mail.strays()) == ("sent", 0, strays + 1)


@pytest.mark.parametrize("query", ["", "b=2026-11-02", "b=x&m=y&a=z"])
def test_a_signed_receipt_that_names_no_message_is_kept_as_a_stray(web: Any, mail: Any, query: str) -> None:
    strays = mail.strays()
    assert web.webhook("status", query, web.form_of("delivered")).status_code == 204
    assert mail.strays() == strays + 1


def test_the_code_for_an_opt_out_suppresses_the_number(web: Any, mail: Any) -> None:
    ref = mail.message()
    assert web.receipt(ref, "undelivered", ErrorCode="21610").status_code == 204
    assert mail.suppressions() == [("sms", "opted_out", "provider")]


def test_without_a_database_the_provider_is_told_to_come_again(serve: Any) -> None:
    web = serve(database="postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    answer = web.webhook("status", "", web.form_of("delivered"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_a_forger_is_slowed_down_and_the_provider_beside_them_is_not(serve: Any, mail: Any) -> None:
    web = serve()
    ref, form = mail.message(), web.form_of("delivered")
    forged = {"headers": {"X-Twilio-Signature": "no"}}
    answers = [web.webhook("status", "", form, **forged).status_code for _ in range(35)]
    assert answers == [403] * 30 + [429] * 5
    assert web.receipt(ref).status_code == 204


@pytest.mark.parametrize("path", ["/webhooks/twilio/status", "/webhooks/twilio/inbound", "/unsubscribe"])
def test_a_body_that_is_too_large_is_refused(web: Any, path: str) -> None:
    assert web.http.post(path, content=b"x" * (64 * 1024 + 1)).status_code == 413


def test_a_body_without_a_length_is_cut_off_where_it_grows_too_large(web: Any) -> None:
    def endless() -> Any:
        for _ in range(80):
            yield b"x" * 1024

    assert web.http.post("/webhooks/twilio/status", content=endless()).status_code == 413


def test_a_body_of_the_largest_size_is_read(web: Any, mail: Any) -> None:
    ref = mail.message()
    form = web.form_of("delivered")
    form["Filler"] = "x" * (64 * 1024 - len(urlencode(form | {"Filler": ""})))
    assert web.webhook("status", web.query_of(ref), form).status_code == 204
