"""The opt-out link in e-mails: reading it changes nothing, one click does, and nobody can make one."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text as sql

from worker.domain.links import unsubscribe_url

KEY = "l" * 40
GONE = [("email", "opted_out", "unsubscribe")]


def link(ref: Any, *, key: str = KEY, message_id: Any = None) -> str:
    return unsubscribe_url("", key, ref.business_on, message_id or ref.message_id)


def test_one_click_counts_while_an_import_holds_the_borrower(web: Any, mail: Any, book: Any) -> None:
    path = link(mail.message("email"))
    with book.engine.connect() as other, other.begin() as under_way:
        other.execute(sql("SELECT FROM borrowers WHERE id = :b FOR UPDATE"), {"b": mail.borrower})
        assert web.http.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        assert mail.suppressions() == GONE
        under_way.rollback()


def test_reading_the_page_changes_nothing_however_often(web: Any, mail: Any, book: Any) -> None:
    path = link(mail.message("email"))
    before = book.one("SELECT facts_changed_at FROM borrowers WHERE id = :b", b=mail.borrower)
    answers = [web.http.get(path) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert '<form method="post">' in answers[0].text
    assert mail.suppressions() == []
    assert book.one("SELECT facts_changed_at FROM borrowers WHERE id = :b", b=mail.borrower) == before


def test_the_page_loads_nothing_from_elsewhere_and_tells_nobody_where_it_was(web: Any, mail: Any) -> None:
    answer = web.http.get(link(mail.message("email")))
    assert "http" not in answer.text
    assert "src=" not in answer.text
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "noindex" in answer.headers["X-Robots-Tag"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert mail.email not in answer.text


def test_one_click_suppresses_the_address_and_cancels_what_is_pending_to_it(web: Any, mail: Any) -> None:
    ref, due, text = mail.message("email"), mail.message("email", "scheduled"), mail.message("sms")
    answer = web.http.post(link(ref), data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert mail.suppressions() == GONE
    assert [mail.state(each) for each in (ref, due, text)] == ["sent", "cancelled", "sent"]


def test_a_second_click_is_answered_like_the_first(web: Any, mail: Any) -> None:
    path = link(mail.message("email"))
    first, second = web.http.post(path), web.http.post(path)
    assert (second.status_code, second.text) == (200, first.text)
    assert mail.suppressions() == GONE


def test_the_click_is_audited_by_the_messages_id(web: Any, mail: Any, book: Any) -> None:
    ref = mail.message("email")
    web.http.post(link(ref))
    (row,) = book.rows("SELECT * FROM audit WHERE subject = :id", id=str(ref.message_id))
    assert (row["actor"], row["action"], row["detail"]["borrowers"]) == (
        "unsubscribe",
        "suppress",
        [mail.borrower],
    )
    assert mail.email not in str(dict(row))


def test_the_address_the_mail_went_to_is_suppressed_even_if_the_borrower_has_another_now(
    web: Any, mail: Any, book: Any
) -> None:
    ref = mail.message("email")
    book.run("UPDATE borrowers SET email = 'new@example.org' WHERE id = :b", b=mail.borrower)
    web.http.post(link(ref))
    assert mail.suppressions() == GONE


def test_once_the_text_is_purged_the_borrowers_present_address_is_suppressed(
    web: Any, mail: Any, book: Any
) -> None:
    ref = mail.message("email")
    book.run(
        "UPDATE message_contents SET address = NULL, text = NULL WHERE message_id = :m", m=ref.message_id
    )
    assert web.http.post(link(ref)).status_code == 200
    assert mail.suppressions() == GONE


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forged_link_is_refused_alike_whether_its_message_exists_or_not(
    web: Any, mail: Any, method: str
) -> None:
    ref = mail.message("email")
    forged = [link(ref, key="x" * 40), link(ref, key="x" * 40, message_id=uuid4())]
    answers = [web.http.request(method, path) for path in forged]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].text == answers[1].text
    assert mail.suppressions() == []


@pytest.mark.parametrize("query", ["", "?b=2026-11-02&m=x&s=y", "?b=x&m=&s=", "?s=é"])
def test_a_broken_link_is_refused_with_the_same_page(web: Any, mail: Any, query: str) -> None:
    forged = web.http.get(link(mail.message("email"), key="x" * 40))
    answer = web.http.get(f"/unsubscribe{query}")
    assert (answer.status_code, answer.text) == (403, forged.text)


def test_the_link_of_one_message_does_nothing_for_another(web: Any, mail: Any) -> None:
    mine, other = mail.message("email"), mail.message("email")
    path = link(mine).replace(str(mine.message_id), str(other.message_id))
    assert web.http.post(path).status_code == 403
    assert mail.suppressions() == []


def test_the_link_of_a_message_we_no_longer_have_does_not_claim_success(web: Any, mail: Any) -> None:
    assert web.http.post(link(mail.message("email"), message_id=uuid4())).status_code == 403


def test_no_link_is_valid_without_a_key(serve: Any, mail: Any) -> None:
    web = serve(unsubscribe_key="")
    assert web.http.post(link(mail.message("email"))).status_code == 403


def test_a_chinese_portfolio_speaks_chinese(web: Any, mail: Any, book: Any) -> None:
    ref = mail.message("email")
    book.run("UPDATE versions SET body = jsonb_set(body, '{portfolio,locale}', '\"zh-CN\"')")
    try:
        asked, done = web.http.get(link(ref)), web.http.post(link(ref))
    finally:
        book.run("UPDATE versions SET body = jsonb_set(body, '{portfolio,locale}', '\"en-GB\"')")
    assert '<html lang="zh-CN">' in asked.text
    assert "已退订" in done.text


def test_who_tries_many_links_is_slowed_down_and_a_true_opt_out_from_there_is_not(
    serve: Any, mail: Any
) -> None:
    web, ref = serve(), mail.message("email")
    answers = [web.http.post(link(ref, key="x" * 40)).status_code for _ in range(65)]
    assert answers == [403] * 60 + [429] * 5
    assert web.http.get(link(ref)).status_code == 429
    assert web.http.post(link(ref)).status_code == 200
    assert mail.suppressions() == GONE


def test_without_a_database_the_click_is_answered_503_so_that_it_is_tried_again(
    serve: Any, mail: Any
) -> None:
    web = serve(database="postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    assert web.http.post(link(mail.message("email"))).status_code == 503
