"""What borrowers write: STOP is obeyed at once and for ever, START lifts only what a STOP had set."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

STOPPED = [("sms", "opted_out", "inbound")]


@pytest.mark.parametrize(
    "body",
    [
        *("STOP", "stop", " Stop \n", "STOPALL", "Unsubscribe", "cancel", "END", "quit", "REVOKE", "OPTOUT"),
        *("opt out", "Opt  Out", "R", "t", "TD", "td", "退订", "ＴＤ", "Stop.", "STOP!", "“stop”"),
    ],
)
def test_a_stop_word_suppresses_the_number(web: Any, mail: Any, body: str) -> None:
    answer = web.text(body, sender=mail.phone)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    assert answer.text.endswith("<Response/>")
    assert mail.suppressions() == STOPPED


@pytest.mark.parametrize("body", ["", "please stop", "STOP calling me", "TDX", "ok", "HELP", "停", "R2"])
def test_anything_else_is_kept_and_ignored(web: Any, mail: Any, book: Any, body: str) -> None:
    assert web.text(body, sender=mail.phone).status_code == 200
    assert mail.suppressions() == []
    assert book.one("SELECT word FROM inbound_messages WHERE address = :a", a=mail.phone) == "other"


def test_twilios_own_opt_out_mark_counts_as_a_stop_whatever_the_words_are(web: Any, mail: Any) -> None:
    web.text("leave me be", sender=mail.phone, OptOutType="STOP")
    assert mail.suppressions() == STOPPED


def test_a_stop_cancels_what_is_pending_to_the_number_and_leaves_other_channels(web: Any, mail: Any) -> None:
    due, waiting, popup = (
        mail.message(state="scheduled"),
        mail.message(state="planned"),
        mail.message("in_app"),
    )
    web.text("STOP", sender=mail.phone)
    assert [mail.state(ref) for ref in (due, waiting, popup)] == ["cancelled", "cancelled", "sent"]


def test_a_stop_has_the_borrowers_messages_decided_again(web: Any, mail: Any, book: Any) -> None:
    web.text("STOP", sender=mail.phone)
    touched = "SELECT facts_changed_at > '2020-01-01Z' FROM borrowers WHERE id = :b"
    assert book.one(touched, b=mail.borrower)


def test_a_stop_and_a_start_count_while_an_import_holds_the_borrower_and_a_plan_the_messages(
    web: Any, mail: Any, book: Any
) -> None:
    due = mail.message(state="scheduled")
    for word, kept in (("STOP", STOPPED), ("START", [])):
        with book.engine.connect() as other, other.begin() as under_way:
            other.execute(text("SELECT FROM borrowers WHERE id = :b FOR UPDATE"), {"b": mail.borrower})
            other.execute(text("SELECT FROM messages WHERE id = :m FOR UPDATE"), {"m": due.message_id})
            assert web.text(word, sender=mail.phone).status_code == 200
            assert mail.suppressions() == kept
            under_way.rollback()


def test_a_stop_is_audited_without_the_number(web: Any, mail: Any, book: Any) -> None:
    web.text("STOP", sender=mail.phone)
    rows = book.rows("SELECT * FROM audit WHERE detail -> 'borrowers' @> to_jsonb(:b)", b=mail.borrower)
    (row,) = rows
    masked = "sms:" + "*" * (len(mail.phone) - 4) + mail.phone[-4:]
    assert (row["actor"], row["action"], row["subject"]) == ("inbound", "suppress", masked)
    assert mail.phone not in str(dict(row))


def test_a_stop_from_a_number_we_do_not_know_is_suppressed_as_well(web: Any, book: Any) -> None:
    assert web.text("STOP", sender="+12025550199").status_code == 200
    assert book.one("SELECT source FROM suppressions WHERE address = '+12025550199'") == "inbound"


@pytest.mark.parametrize("body", ["START", "start", " unstop ", "Yes"])
def test_a_start_lifts_the_suppression_a_stop_had_set(web: Any, mail: Any, body: str) -> None:
    web.text("STOP", sender=mail.phone)
    web.text(body, sender=mail.phone)
    assert mail.suppressions() == []


@pytest.mark.parametrize("source", ["import", "provider", "operator"])
def test_a_start_lifts_nothing_that_others_had_set(web: Any, mail: Any, book: Any, source: str) -> None:
    book.run(
        "INSERT INTO suppressions (channel, address, reason, source, created_by) "
        "VALUES ('sms', :address, 'wrong_number', :source, 'tests')",
        address=mail.phone,
        source=source,
    )
    web.text("START", sender=mail.phone)
    assert mail.suppressions() == [("sms", "wrong_number", source)]


@pytest.mark.parametrize("body", ["start calling", "yes please", "START."])
def test_a_start_is_taken_at_its_exact_word_only(web: Any, mail: Any, body: str) -> None:
    web.text("STOP", sender=mail.phone)
    web.text(body, sender=mail.phone)
    assert mail.suppressions() == STOPPED


def test_a_start_replayed_after_a_later_stop_lifts_nothing(web: Any, mail: Any) -> None:
    start = {"sid": f"SM{mail.who}start", "sender": mail.phone}
    web.text("STOP", sender=mail.phone)
    web.text("START", **start)
    web.text("STOP", sender=mail.phone)
    assert web.text("START", **start).status_code == 200
    assert mail.suppressions() == STOPPED


def test_a_stop_that_arrives_five_times_at_once_is_one(web: Any, mail: Any, book: Any) -> None:
    sid = f"SM{mail.who}"
    with ThreadPoolExecutor(5) as threads:
        answers = list(
            threads.map(lambda _: web.text("STOP", sid=sid, sender=mail.phone).status_code, range(5))
        )
    assert answers == [200] * 5
    assert book.one("SELECT count(*) FROM inbound_messages WHERE provider_id = :sid", sid=sid) == 1
    audited = "SELECT count(*) FROM audit WHERE detail -> 'borrowers' @> to_jsonb(:b)"
    assert book.one(audited, b=mail.borrower) == 1


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"X-Twilio-Signature": ""}},
        {"headers": {"X-Twilio-Signature": "A" * 28}},
        {"signed_form": {"Body": "STOP"}},
        {"signed_url": "https://dunlin.example.com/webhooks/twilio/status"},
    ],
    ids=["missing", "made up", "another body", "another path"],
)
def test_a_forged_text_is_refused_and_not_kept(web: Any, mail: Any, book: Any, how: dict[str, Any]) -> None:
    form = web.form_of("", From=mail.phone, Body="START")
    assert web.webhook("inbound", "", form, **how).status_code == 403
    assert book.one("SELECT count(*) FROM inbound_messages WHERE address = :a", a=mail.phone) == 0


@pytest.mark.parametrize(("mode", "status", "kept"), [("sandbox", 200, STOPPED), ("live", 403, [])])
def test_the_sandbox_may_speak_for_borrowers_only_while_nobody_is_real(
    web: Any, mail: Any, book: Any, mode: str, status: int, kept: list[Any]
) -> None:
    book.run("UPDATE portfolios SET mode = :mode", mode=mode)
    assert web.text("STOP", sender=mail.phone, by="sandbox").status_code == status
    assert mail.suppressions() == kept


def test_a_text_without_an_id_cannot_be_taken(web: Any, mail: Any) -> None:
    assert web.text("STOP", sender=mail.phone, MessageSid="").status_code == 400
    assert mail.suppressions() == []


@pytest.mark.parametrize("sender", ["", "Twilio", "whatsapp:+447700900001", "22000"])
def test_a_stop_from_what_is_no_number_is_only_kept(web: Any, mail: Any, book: Any, sender: str) -> None:
    sid = f"SM{mail.who}{sender}"
    assert web.text("STOP", sid=sid, sender=sender).status_code == 200
    assert book.one("SELECT word FROM inbound_messages WHERE provider_id = :sid", sid=sid) == "other"


def test_without_a_database_a_text_is_answered_503(serve: Any, mail: Any) -> None:
    web = serve(database="postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    assert web.text("STOP", sender=mail.phone).status_code == 503
