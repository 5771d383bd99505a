"""Purge: takes what is over, exactly when it is over, and nothing that is still needed."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from worker.domain.message import MessageRef
from worker.pipeline import purge as pipeline
from worker.pipeline.byhand import Refused
from worker.pipeline.purge import Purged, purge
from worker.store import inbound, suppress
from worker.store.receipts import Applied, Word, apply

TODAY = date(2026, 11, 23)
YEARS = {"uk": 3}
MUCH_LATER = datetime(2060, 1, 1, tzinfo=UTC)
PHONE = "+447700900001"


@pytest.fixture
def told(book: Any, story: Any, version: Any, sender: Any) -> Any:
    """One borrower was told by SMS, whose receipt came, and has paid; the account is closed."""
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    rows = sender.claim("sms")
    sender.begin(rows)
    sender.finish(rows, "sent")
    receipt(book, rows[0])
    book.run("UPDATE messages SET state = 'cancelled', reason = 'paid' WHERE channel = 'in_app'")
    close(book)
    return book


def receipt(book: Any, row: Any) -> None:
    ref = MessageRef(row["business_on"], row["id"], row["attempt_id"])
    word = Word(ref, "twilio", "SM1", "delivered", "30003", {"To": PHONE, "MessageStatus": "delivered"})
    with book.engine.begin() as connection:
        assert apply(connection, [word]) == [Applied.MOVED]


def close(book: Any) -> None:
    book.run("UPDATE accounts SET closed_on = '2026-12-01', amount_due = 0, changed_at = '2026-12-01Z'")


def last(book: Any) -> datetime:
    """When the last thing happened that the time counts from: here, the change of the account."""
    at = book.one(
        "SELECT greatest((SELECT max(changed_at) FROM accounts), (SELECT max(closed_on) + 1 FROM accounts), "
        "(SELECT max(expires_at) FROM messages), (SELECT max(at) FROM message_events))"
    )
    assert isinstance(at, datetime)
    return at


def left(book: Any) -> dict[str, int]:
    """How much there is that purge could take."""
    return {
        "texts": book.one("SELECT count(*) FROM message_contents WHERE text IS NOT NULL"),
        "receipts": book.one("SELECT count(*) FROM receipts WHERE raw ? 'To'"),
        "people": book.one("SELECT count(*) FROM borrowers WHERE phone IS NOT NULL"),
    }


ALL = {"texts": 1, "receipts": 1, "people": 1}
NOTHING = {"texts": 0, "receipts": 0, "people": 0}


def test_it_goes_at_the_end_of_the_time_and_not_a_second_before(told: Any) -> None:
    end = last(told).replace(year=last(told).year + 3)
    assert purge(told.engine, YEARS, end - timedelta(seconds=1)).counts() == Purged().counts()
    assert left(told) == ALL
    done = purge(told.engine, YEARS, end)
    assert (done.texts, done.receipts, done.borrowers) == (1, 1, 1)
    assert left(told) == NOTHING


def test_dates_hashes_states_and_reasons_stay(told: Any) -> None:
    kept = [
        "SELECT business_on, attempt_id, message_id, sha256, template_hash FROM message_contents",
        "SELECT attempt_id, digest, provider_id, status, code, received_at, moved_to FROM receipts",
        "SELECT * FROM messages ORDER BY id",
        "SELECT * FROM message_events ORDER BY seq",
        "SELECT * FROM attempts",
        "SELECT id, external_id, zone FROM borrowers",
    ]
    before = [told.rows(sql) for sql in kept]
    assert purge(told.engine, YEARS, MUCH_LATER).texts == 1
    assert [told.rows(sql) for sql in kept] == before
    (content,) = told.rows("SELECT * FROM message_contents")
    blank = ("address", "subject", "text", "html", "extra")
    assert [content[name] for name in blank] == [None] * 5
    assert content["purged_at"] == MUCH_LATER
    (borrower,) = told.rows("SELECT name, phone, email FROM borrowers")
    assert dict(borrower) == {"name": "", "phone": None, "email": None}
    assert list(told.one("SELECT raw FROM receipts")) == ["purged_at"]


HOLD = "INSERT INTO holds (borrower_id, created_by, type, starts_at, ends_at) SELECT id, 't', "
CONTACT = "INSERT INTO contacts (external_id, borrower_id, at, channel, outcome) SELECT 'c', id, "


@pytest.mark.parametrize(
    ("why", "rest"),
    [
        pytest.param("UPDATE accounts SET closed_on = NULL, amount_due = 5", ALL, id="owing"),
        pytest.param(
            "UPDATE accounts SET closed_on = NULL", {**NOTHING, "people": 1}, id="paid but not closed"
        ),
        pytest.param("UPDATE accounts SET amount_due = 5", NOTHING, id="closed with a rest"),
        pytest.param(f"{HOLD} 'dispute', '2026-11-01Z', NULL FROM borrowers", ALL, id="dispute"),
        pytest.param(f"{HOLD} 'dispute', '2026-11-01Z', '2030-01-01Z' FROM borrowers", NOTHING, id="settled"),
        pytest.param(f"{HOLD} 'deceased', '2026-11-01Z', NULL FROM borrowers", NOTHING, id="deceased"),
        pytest.param(f"{HOLD} 'minor', '2026-11-01Z', '2058-01-01Z' FROM borrowers", ALL, id="hold ended"),
        pytest.param(f"{CONTACT} '2058-01-01Z', 'letter', 'sent' FROM borrowers", ALL, id="contact"),
        pytest.param("UPDATE accounts SET changed_at = '2058-01-01Z'", ALL, id="told anew"),
        pytest.param("UPDATE receipts SET received_at = '2058-01-01Z'", ALL, id="receipt"),
    ],
)
def test_what_is_still_needed_stays(told: Any, why: str, rest: dict[str, int]) -> None:
    told.run(why)
    purge(told.engine, YEARS, MUCH_LATER)
    assert left(told) == rest


def test_nothing_goes_while_a_message_is_open(book: Any, story: Any, version: Any, sender: Any) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    sender.begin(sender.claim("sms"))
    close(book)
    assert purge(book.engine, YEARS, MUCH_LATER).counts() == Purged().counts()
    assert left(book) == {**ALL, "receipts": 0}


def test_each_portfolio_has_its_own_time_and_a_person_goes_with_the_last_of_them(told: Any) -> None:
    told.run(
        "INSERT INTO portfolios (id, title, policy_hash, mode, currency, timezone, region) "
        "SELECT 'us', title, policy_hash, mode, currency, timezone, region FROM portfolios"
    )
    borrower = told.one("SELECT id FROM borrowers")
    told.account(borrower, "A2", due_on=TODAY, portfolio="us")
    told.run("UPDATE accounts SET closed_on = '2027-01-01', amount_due = 0, changed_at = '2027-01-01Z'")
    now = datetime(2031, 1, 1, tzinfo=UTC)
    assert purge(told.engine, {"us": 3}, now).no_retention == ("uk",)
    assert left(told) == ALL
    purge(told.engine, {"uk": 3}, now)
    assert left(told) == {**NOTHING, "people": 1}
    purge(told.engine, {"uk": 3, "us": 9}, now)
    assert left(told) == {**NOTHING, "people": 1}
    purge(told.engine, {"uk": 3, "us": 3}, now)
    assert left(told) == NOTHING


def test_without_a_known_retention_nothing_is_touched_and_the_portfolios_are_named(told: Any) -> None:
    done = purge(told.engine, {}, MUCH_LATER)
    assert (done.no_retention, sum(done.counts().values())) == (("uk",), 0)
    assert left(told) == ALL
    assert told.one("SELECT count(*) FROM audit") == 0


def test_a_dry_run_counts_what_the_run_then_takes_and_keeps_everything(told: Any) -> None:
    stray(told, "2030-01-01T00:00Z")
    heard(told, "+447700900999", "2030-01-01T00:00Z")
    would = purge(told.engine, YEARS, MUCH_LATER, dry_run=True)
    assert left(told) == ALL
    assert told.one("SELECT count(*) FROM audit") == 0
    assert purge(told.engine, YEARS, MUCH_LATER) == would
    assert would.counts() == {"texts": 1, "receipts": 1, "borrowers": 1, "stray_receipts": 1, "inbound": 1}
    again = purge(told.engine, YEARS, MUCH_LATER + timedelta(days=1))
    assert again.counts() == Purged().counts()
    assert told.one("SELECT purged_at FROM message_contents") == MUCH_LATER


def test_it_leaves_who_asked_and_how_much_it_was_in_the_audit(told: Any) -> None:
    purge(told.engine, YEARS, MUCH_LATER, by="ann")
    started, finished = told.rows("SELECT actor, action, detail FROM audit ORDER BY id")
    assert (started["actor"], started["action"]) == ("ann", "purge.started")
    assert started["detail"] == {"keep_years": YEARS}
    assert finished["action"] == "purge.finished"
    assert finished["detail"] | {"texts": 1, "receipts": 1, "borrowers": 1} == finished["detail"]


def test_it_works_in_batches_that_each_stand_and_goes_on_where_it_died(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        told.account(told.borrower(f"C{n}", phone=f"+44770090011{n}"), f"C{n}", due_on=TODAY)
    close(told)
    monkeypatch.setattr(pipeline, "BATCH", 2)
    seen: list[tuple[int, int]] = []

    def dies(done: int, everybody: int) -> None:
        seen.append((done, everybody))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge(told.engine, YEARS, MUCH_LATER, progress=dies)
    assert seen == [(2, 6), (4, 6)]
    assert left(told)["people"] == 2
    assert purge(told.engine, YEARS, MUCH_LATER).borrowers == 2


def test_a_borrower_whom_an_import_is_changing_is_left_for_the_next_purge(told: Any) -> None:
    with told.engine.begin() as importing:
        importing.execute(text("SELECT FROM borrowers FOR UPDATE"))
        assert purge(told.engine, YEARS, MUCH_LATER).counts() == Purged().counts()
    assert purge(told.engine, YEARS, MUCH_LATER).borrowers == 1


def test_an_opt_out_binds_after_the_purge_and_when_the_address_comes_back(
    told: Any, story: Any, version: Any
) -> None:
    with told.engine.begin() as connection:
        suppress.suppress(
            connection, channel="sms", address=PHONE, reason="opted_out", source="inbound", by="inbound"
        )
    purge(told.engine, YEARS, MUCH_LATER)
    told.at("2026-11-24T10:00Z")
    borrower = told.borrower("B2")
    told.account(borrower, "A2", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    (sms,) = told.messages(channel="sms", borrower_id=borrower)
    assert (sms["state"], sms["reason"]) == ("suppressed", "house.suppressed.opted_out")


def test_a_word_that_was_purged_is_still_known_when_it_is_replayed(told: Any) -> None:
    heard(told, PHONE, "2026-11-24T00:00Z")
    heard(told, "+447700900999", "2026-11-24T00:00Z")
    told.run("UPDATE accounts SET closed_on = NULL")
    assert purge(told.engine, YEARS, MUCH_LATER).inbound == 1  # the other number is a borrower's still
    assert told.one("SELECT address FROM inbound_messages WHERE provider_id LIKE '%1'") == PHONE
    told.run("UPDATE accounts SET closed_on = '2026-12-01'")
    purge(told.engine, YEARS, MUCH_LATER)
    addresses = [row["address"] for row in told.rows("SELECT address FROM inbound_messages")]
    assert all(address.startswith("sha256:") for address in addresses)
    with told.engine.begin() as connection:
        again = inbound.remember(
            connection, provider="twilio", provider_id=f"SM{PHONE}", address=PHONE, word="start"
        )
    assert not again


def test_what_belongs_to_nobody_stays_as_long_as_the_longest_and_for_ever_while_one_is_not_known(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "LOOSE_BATCH", 2)
    for n in range(5):
        stray(told, "2026-11-24T00:00Z", str(n))
        heard(told, f"+44770090099{n}", "2026-11-24T00:00Z")
    end = datetime(2029, 11, 24, tzinfo=UTC)
    done = purge(told.engine, YEARS, end - timedelta(seconds=1))
    assert (done.stray_receipts, done.inbound) == (0, 0)
    told.run(
        "INSERT INTO portfolios (id, title, policy_hash, mode, currency, timezone, region) "
        "SELECT 'us', title, policy_hash, mode, currency, timezone, region FROM portfolios"
    )
    assert purge(told.engine, YEARS, end).stray_receipts == 0
    for dry in (True, False):
        done = purge(told.engine, {"uk": 3, "us": 1}, end, dry_run=dry)
        assert (done.stray_receipts, done.inbound) == (5, 5)
    assert told.one("SELECT count(*) FROM stray_receipts WHERE raw ? 'To'") == 0


@pytest.mark.parametrize("years", [0, -1])
def test_less_than_a_year_is_a_slip_and_refused(told: Any, years: int) -> None:
    with pytest.raises(Refused, match="uk"):
        purge(told.engine, {"uk": years}, MUCH_LATER)
    assert left(told) == ALL


def test_the_29th_of_february_has_a_day_three_years_before() -> None:
    leap: Callable[[int], datetime] = lambda day: datetime(2028, 2, day, tzinfo=UTC)  # noqa: E731
    assert pipeline._years_before(leap(29), 3) == datetime(2025, 2, 28, tzinfo=UTC)
    assert pipeline._years_before(leap(28), 4) == datetime(2024, 2, 28, tzinfo=UTC)


def stray(book: Any, at: str, name: str = "") -> None:
    book.run(
        "INSERT INTO stray_receipts (digest, provider, provider_id, status, raw, reason, received_at) "
        "VALUES (sha256(convert_to(:n, 'UTF8')), 'twilio', 'SM9', 'sent', '{\"To\": \"+44\"}', 'tests', :at)",
        n=name,
        at=datetime.fromisoformat(at),
    )


def heard(book: Any, address: str, at: str) -> None:
    book.run(
        "INSERT INTO inbound_messages (provider, provider_id, address, word, received_at) "
        "VALUES ('twilio', 'SM' || :a, :a, 'start', :at)",
        a=address,
        at=datetime.fromisoformat(at),
    )
