"""The in-app inbox: whose token opens it, what it shows, and what the app reports back."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import Engine, text

from worker.store import inbox as store
from worker.web.tokens import Tokens


def pem(private: Any) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def ids(web: Any, who: str) -> list[UUID]:
    answer = web.http.get("/api/inbox", headers=web.bearer(who))
    assert answer.status_code == 200
    return [UUID(each["id"]) for each in answer.json()["messages"]]


BAD_TOKENS: dict[str, dict[str, Any]] = {
    "expired": {"exp": int(time.time()) - 60},
    "without an end": {"exp": None},
    "for another audience": {"aud": "somebody-else"},
    "for no audience": {"aud": None},
    "without a subject": {"sub": None},
    "with an empty subject": {"sub": ""},
    "not valid yet": {"nbf": int(time.time()) + 600},
    "signed with another key": {"key": "x" * 40},
    "signed with another algorithm": {"algorithm": "HS512", "key": "j" * 64},
}


@pytest.mark.parametrize("how", BAD_TOKENS.values(), ids=BAD_TOKENS)
@pytest.mark.parametrize("path", ["/api/inbox", "/api/inbox/stream"])
def test_a_bad_token_opens_nothing(web: Any, mail: Any, path: str, how: dict[str, Any]) -> None:
    ref = mail.message("in_app")
    token = web.bearer(mail.who, **{"sub": mail.who, **how} if "sub" not in how else how)
    answer = web.http.get(path, headers=token)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert mail.state(ref) == "sent"


def unsigned(who: str) -> str:
    return jwt.encode(
        {"sub": who, "aud": "dunlin-inbox", "exp": int(time.time()) + 300}, "", algorithm="none"
    )


@pytest.mark.parametrize("header", ["", "Bearer", "Basic QjE6", "Bearer x.y.z", "Bearer NONE"])
def test_no_token_or_none_that_is_signed_opens_nothing(web: Any, mail: Any, header: str) -> None:
    ref = mail.message("in_app")
    answer = web.http.get("/api/inbox", headers={"Authorization": header.replace("NONE", unsigned(mail.who))})
    assert answer.status_code == 401
    assert mail.state(ref) == "sent"


def test_reporting_needs_a_token_too(web: Any, mail: Any) -> None:
    ref = mail.message("in_app")
    assert web.http.post(f"/api/inbox/{ref.message_id}/seen").status_code == 401
    assert mail.events(ref, "seen") == 0


@pytest.mark.parametrize("path", ["/api/inbox", "/api/inbox/stream"])
def test_without_a_key_the_inbox_says_that_it_is_not_set_up(serve: Any, path: str) -> None:
    web = serve(inbox_jwt_key="")
    answer = web.http.get(path, headers=web.bearer("B1"))
    assert answer.status_code == 503
    assert "DUNLIN_INBOX_JWT_KEY" in answer.json()["detail"]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_public_key_opens_the_inbox_and_cannot_be_used_as_a_secret(
    serve: Any, mail: Any, algorithm: str
) -> None:
    private: Any = (
        rsa.generate_private_key(65537, 2048)
        if algorithm == "RS256"
        else ec.generate_private_key(ec.SECP256R1())
    )
    web, ref = serve(inbox_jwt_key=pem(private), inbox_jwt_algorithm=algorithm), mail.message("in_app")
    secret = web.bearer(mail.who, key="x" * 40)
    assert web.http.get("/api/inbox", headers=secret).status_code == 401
    signed = web.bearer(mail.who, key=private, algorithm=algorithm)
    assert len(web.http.get("/api/inbox", headers=signed).json()["messages"]) == 1
    assert mail.state(ref) == "delivered"


@pytest.mark.parametrize(("key", "algorithm"), [("short", "HS256"), ("no PEM" * 10, "RS256"), ("", "ES256")])
def test_a_key_that_cannot_be_used_is_said_at_the_start(key: str, algorithm: str) -> None:
    with pytest.raises(ValueError, match=r"^inbox_jwt_key: .*" + algorithm):
        Tokens(key, algorithm, "dunlin-inbox")


def test_a_popup_comes_with_its_text_facts_and_link(web: Any, mail: Any) -> None:
    ref = mail.message("in_app")
    (popup,) = web.http.get("/api/inbox", headers=web.bearer(mail.who)).json()["messages"]
    assert popup == {
        "id": str(ref.message_id),
        "portfolio": "uk",
        "tier": "reminder",
        "title": "Your payment",
        "body": "Please pay.",
        "amount_due": "£120.50",
        "days_overdue": "3 days",
        "due_date": "30 October 2026",
        "link": "https://pay.uk.example.com/",
        "sent_at": popup["sent_at"],
        "expires_at": popup["expires_at"],
        "seen": False,
        "dismissed": False,
        "clicked": False,
    }
    assert popup["sent_at"].startswith("2026-11-02T10:00")
    assert popup["expires_at"].startswith("2026-11-03T10:00")


def test_fetching_delivers_what_was_sent_and_shows_it_again(web: Any, mail: Any) -> None:
    ref = mail.message("in_app", "sent")
    assert ids(web, mail.who) == [ref.message_id]
    assert mail.state(ref) == "delivered"
    assert ids(web, mail.who) == [ref.message_id]
    assert mail.events(ref, "state") == 1


def test_the_newest_popup_comes_first(web: Any, mail: Any, book: Any) -> None:
    older = mail.message("in_app")
    book.at("2026-11-02T11:00Z")
    newer = mail.message("in_app")
    assert ids(web, mail.who) == [newer.message_id, older.message_id]


def test_a_popup_is_shown_until_its_time_is_over(web: Any, mail: Any, book: Any) -> None:
    ref = mail.message("in_app", lives="2 hours")
    book.at("2026-11-02T11:59Z")
    assert ids(web, mail.who) == [ref.message_id]
    book.at("2026-11-02T12:01Z")
    assert ids(web, mail.who) == []


@pytest.mark.parametrize("state", ["planned", "scheduled", "sending", "cancelled", "suppressed", "expired"])
def test_what_was_not_sent_is_not_shown(web: Any, mail: Any, state: str) -> None:
    mail.message("in_app", state, reason="x")
    assert ids(web, mail.who) == []


def test_other_channels_and_other_borrowers_are_not_shown(web: Any, mail: Any) -> None:
    mail.message("sms")
    mail.message("in_app")
    stranger = type(mail)(mail.book)
    assert ids(web, stranger.who) == []
    assert ids(web, "nobody we know") == []


def test_an_account_that_changed_hands_does_not_take_its_popups_along(web: Any, mail: Any, book: Any) -> None:
    mail.message("in_app")
    heir = type(mail)(mail.book)
    book.run(
        "UPDATE accounts SET borrower_id = :heir WHERE borrower_id = :b", heir=heir.borrower, b=mail.borrower
    )
    assert ids(web, heir.who) == []


@pytest.mark.parametrize(("portfolio", "shown"), [("sandbox", 1), ("live", 0)])
def test_a_popup_of_the_sandbox_is_shown_only_while_everything_is_in_it(
    web: Any, mail: Any, book: Any, portfolio: str, shown: int
) -> None:
    mail.message("in_app", mode="sandbox", lives="1000 days")
    book.run("UPDATE portfolios SET mode = :mode", mode=portfolio)
    assert len(ids(web, mail.who)) == shown


def test_at_most_fifty_popups_are_shown(web: Any, mail: Any) -> None:
    for _ in range(52):
        mail.message("in_app")
    assert len(ids(web, mail.who)) == 50


@pytest.mark.parametrize("event", ["seen", "dismissed", "clicked"])
def test_what_the_borrower_did_is_noted_once_and_shown(web: Any, mail: Any, event: str) -> None:
    ref, token = mail.message("in_app", "delivered"), web.bearer(mail.who)
    path = f"/api/inbox/{ref.message_id}/{event}"
    assert [web.http.post(path, headers=token).status_code for _ in range(3)] == [204] * 3
    assert mail.events(ref, event) == 1
    (popup,) = web.http.get("/api/inbox", headers=token).json()["messages"]
    assert {name for name in ("seen", "dismissed", "clicked") if popup[name]} == {event}


def test_a_report_that_meets_the_same_one_under_way_is_noted_once(
    web: Any, mail: Any, engine: Engine, until: Any
) -> None:
    ref, token = mail.message("in_app", "delivered"), web.bearer(mail.who)
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with ThreadPoolExecutor(1) as threads, engine.connect() as watching, engine.connect() as connection:
        store.happened(connection, mail.who, ref.message_id, "seen")
        second = threads.submit(web.http.post, f"/api/inbox/{ref.message_id}/seen", headers=token)
        until(lambda: second.done() or watching.execute(waiting).scalar_one())
        connection.commit()
        assert second.result().status_code == 204
    assert mail.events(ref, "seen") == 1


def test_a_popup_of_somebody_else_is_not_found(web: Any, mail: Any) -> None:
    ref, stranger = mail.message("in_app", "delivered"), type(mail)(mail.book)
    answer = web.http.post(f"/api/inbox/{ref.message_id}/seen", headers=web.bearer(stranger.who))
    missing = web.http.post(f"/api/inbox/{uuid4()}/seen", headers=web.bearer(stranger.who))
    assert (answer.status_code, answer.text) == (404, missing.text)
    assert mail.events(ref, "seen") == 0


@pytest.mark.parametrize(("channel", "state"), [("sms", "delivered"), ("in_app", "scheduled")])
def test_only_a_popup_that_was_sent_can_be_reported_on(web: Any, mail: Any, channel: str, state: str) -> None:
    ref = mail.message(channel, state)
    answer = web.http.post(f"/api/inbox/{ref.message_id}/seen", headers=web.bearer(mail.who))
    assert (answer.status_code, mail.events(ref, "seen")) == (404, 0)


@pytest.mark.parametrize("path", ["{id}/opened", "{id}/state", "x/seen", "{id}/seen/"])
def test_other_reports_are_not_found(web: Any, mail: Any, path: str) -> None:
    ref = mail.message("in_app", "delivered")
    answer = web.http.post("/api/inbox/" + path.format(id=ref.message_id), headers=web.bearer(mail.who))
    assert answer.status_code == 404


def test_without_a_database_the_inbox_answers_503(serve: Any) -> None:
    web = serve(database="postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    assert web.http.get("/api/inbox", headers=web.bearer("B1")).status_code == 503
