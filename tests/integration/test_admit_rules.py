"""Admission by rule packs: what counts, for whom, and what is kept of each decision."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from worker.pipeline.admit import admit_due
from worker.pipeline.book import sync_portfolios
from worker.pipeline.policies import Policies
from worker.portfolios.load import Version
from worker.rulepacks.load import Shelf

TODAY = date(2026, 11, 23)
Amend = Callable[[dict[str, Any]], Version]
CAP = """
schema = "rulepack/1"
[pack]
id = "{id}"
status = "example"
default_zone = ""
[[caps]]
id = "{id}.one_a_day"
strength = "house"
channels = ["*"]
outcomes = ["sent", "delivered"]
per = ["{per}"]
window = {{ kind = "rolling_days", n = 1 }}
max = 1
"""


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def packs(tmp_path: Path, runtime: Any) -> Path:
    """A lender's folder with two packs of its own, used by the process of the test."""
    for per in ("person", "endpoint"):
        (tmp_path / f"one-per-{per}.toml").write_text(CAP.format(id=f"one-per-{per}", per=per))
    runtime.policies = Policies(Shelf(tmp_path), runtime.catalogue)
    return tmp_path


@pytest.fixture
def under(book: Any, amended: Amend) -> Callable[..., Version]:
    """The British portfolio under these packs, in the database."""

    def made(*names: str, **changes: Any) -> Version:
        version = amended({"rules": {"packs": list(names), "holidays": "GB-ENG"}, **changes})
        sync_portfolios(book.engine, {"uk": version})
        return version

    return made


def late(book: Any, name: str = "B1", days: int = 3, **fields: Any) -> int:
    borrower: int = book.borrower(name, **fields)
    book.account(borrower, f"A-{name}", due_on=TODAY - timedelta(days=days))
    return borrower


def verdicts(book: Any) -> dict[str, tuple[str, list[str]]]:
    rows = book.rows(
        "SELECT m.channel, v.decision, v.rules FROM message_verdicts v JOIN messages m "
        "ON m.business_on = v.business_on AND m.id = v.message_id ORDER BY v.at"
    )
    return {row["channel"]: (row["decision"], row["rules"]) for row in rows}


def test_what_is_reserved_for_one_channel_counts_for_the_next_in_the_policys_order(
    story: Any, book: Any, packs: Path, under: Any
) -> None:
    version = under("one-per-person")
    late(book)
    story.plan(version)
    story.admit()
    assert verdicts(book) == {"in_app": ("allow", []), "sms": ("defer", ["one-per-person.one_a_day"])}
    (sms,) = book.messages(channel="sms")
    assert sms["send_at"].isoformat() == "2026-11-24T09:00:00+00:00"


def test_a_cap_per_person_counts_what_another_portfolio_has_reserved(
    story: Any, book: Any, packs: Path, amended: Amend
) -> None:
    rules = {"rules": {"packs": ["one-per-person"]}, "tiers": {"reminder": {"channels": ["sms"]}}}
    uk, other = amended(rules), amended({**rules, "portfolio": {"id": "other"}})
    sync_portfolios(book.engine, {"uk": uk, "other": other})
    borrower = late(book)
    book.account(borrower, "A2", due_on=TODAY - timedelta(days=3), portfolio="other")
    story.plan(uk)
    story.plan(other)
    story.admit()
    assert sorted(row["send_at"].day for row in book.messages()) == [23, 24]


def test_a_contact_from_outside_counts(story: Any, book: Any, packs: Path, under: Any) -> None:
    version = under("one-per-person")
    borrower = late(book)
    book.contact(borrower, book.one("SELECT id FROM accounts"), "", "2026-11-23T08:00+00:00")
    story.plan(version)
    story.admit()
    assert {decision for decision, _ in verdicts(book).values()} == {"defer"}


class SideBySide:
    """Goes through the shards of one parity first, so that two processes are at neighbours all the time."""

    def __init__(self, parity: int) -> None:
        self.parity = parity

    def shuffle(self, shards: list[int]) -> None:
        # Borrowers 1 and 2 are twins, 3 and 4, and so on.
        shards.sort(key=lambda shard: ((shard - 1) % 2 != self.parity, (shard - 1) % 64))


@pytest.mark.slow
@pytest.mark.parametrize("per", ["person", "endpoint"])
def test_two_admissions_racing_a_thousand_times_never_spend_the_last_contact_twice(
    story: Any,
    book: Any,
    runtime: Any,
    packs: Path,
    amended: Amend,
    per: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.pipeline.admit.BATCH", 7)  # pairs are torn apart over batches
    monkeypatch.setattr("worker.store.plan.NEIGHBOURS", 1)  # and over shards
    rules = {"rules": {"packs": [f"one-per-{per}"]}, "tiers": {"reminder": {"channels": ["sms"]}}}
    uk, other = amended(rules), amended({**rules, "portfolio": {"id": "other"}})
    sync_portfolios(book.engine, {"uk": uk, "other": other})
    book.run("""
        INSERT INTO borrowers (external_id, name, zone, phone, facts_changed_at)
        SELECT 'B' || n, 'Name', 'Europe/London', '+4477009' || to_char(n / CAST(:twins AS int), 'FM00000'),
               '2000-01-01Z'
        FROM generate_series(0, 999 * CAST(:twins AS int) + 1) AS n
    """, twins=2 if per == "endpoint" else 1)  # fmt: skip
    book.run("""
        INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on)
        SELECT p.id, b.id, 'A' || b.id, 100, 10, '2026-11-20' FROM borrowers b JOIN portfolios p
            ON p.id = 'uk' OR (p.id = 'other' AND :both)
    """, both=per == "person")  # fmt: skip
    story.plan(uk)
    story.plan(other)
    total = len(book.messages())
    assert total >= 2000
    with ThreadPoolExecutor(2) as pool:
        orders = (
            (SideBySide(parity) for parity in (0, 1)) if per == "endpoint" else (Random(n) for n in (0, 1))
        )
        racing = [replace(runtime, random=order) for order in orders]
        for done in [pool.submit(admit_due, each) for each in racing]:
            done.result()
    story.admit()
    key = "b.id" if per == "person" else "b.phone"
    rows = book.rows(
        f"SELECT {key} AS one, m.send_at::date AS day, count(*) AS n FROM messages m "
        "JOIN borrowers b ON b.id = m.borrower_id WHERE m.state = 'scheduled' GROUP BY 1, 2"
    )
    assert Counter(row["n"] for row in rows) == {1: total}


def test_each_decision_is_kept_with_what_was_asked_and_seen_and_nobody_is_in_it(
    story: Any, book: Any, packs: Path, under: Any, runtime: Any
) -> None:
    version = under("uk", "house-default")
    late(book, phone="+447700900123")
    story.plan(version)
    story.admit()
    rows = book.rows("SELECT * FROM message_verdicts")
    assert [row["decision"] for row in rows] == ["allow", "allow"]
    assert {row["rules_hash"] for row in rows} == {runtime.policies.rules_hash}
    pack_set = book.one(f"SELECT body FROM versions WHERE hash = '{runtime.policies.rules_hash}'")
    assert book.one(f"SELECT body #>> '{{pack,id}}' FROM versions WHERE hash = '{pack_set['uk']}'") == "uk"
    kept = json.dumps([row["facts"] for row in rows])
    assert '"zones": ["Europe/London"]' in kept
    for private in ("447700900123", "Name of", "example.com", "120.5"):
        assert private not in kept


def test_a_hold_is_named_by_the_house_and_by_the_pack(story: Any, book: Any, packs: Path, under: Any) -> None:
    version = under("uk")
    borrower = late(book)
    story.plan(version)
    book.hold(borrower, "breathing_space")
    story.admit()
    assert set(map(str, verdicts(book)["sms"][1])) == {
        "house.hold.breathing_space",
        "uk.drs.11.moratorium",
    }


def test_a_channel_that_needs_consent_goes_with_it_and_not_without(
    story: Any, book: Any, packs: Path, under: Any
) -> None:
    version = under("us-tcpa")
    agreed, silent, took_it_back = (late(book, name) for name in ("agreed", "silent", "back"))
    for borrower, revoked in ((agreed, None), (took_it_back, "2026-11-22Z")):
        book.run(
            "INSERT INTO consents (borrower_id, channel, kind, given_at, revoked_at) "
            "VALUES (:b, 'sms', 'tcpa_consent', '2026-01-01Z', :r)",
            b=borrower,
            r=revoked,
        )
    story.plan(version)
    story.admit()
    states = {row["borrower_id"]: (row["state"], row["reason"]) for row in book.messages(channel="sms")}
    refused = ("suppressed", "us.tcpa.prior_express_consent")
    assert states == {agreed: ("scheduled", None), silent: refused, took_it_back: refused}


def test_hours_that_a_borrower_closed_are_kept_whatever_the_packs(
    story: Any, book: Any, version: Version
) -> None:
    closed = late(book, "closed")
    book.run("UPDATE borrowers SET closed_hours = 'weekdays 08:00-12:00, 18:00-24:00'")
    late(book, "open")
    story.plan(version)
    story.admit()
    sms = {row["borrower_id"]: row for row in book.messages(channel="sms")}[closed]
    assert (sms["reason"], sms["send_at"].hour, sms["send_before"].hour) == ("house.closed_hours", 12, 18)
    assert Counter(row["reason"] for row in book.messages()) == {"house.closed_hours": 2, None: 2}


def test_hours_agreed_with_a_borrower_replace_those_of_a_pack_that_lets_them(
    story: Any, book: Any, packs: Path, under: Any
) -> None:
    all_day = {"weekdays": ["00:00-24:00"], "saturday": [], "sunday": []}
    version = under("cn", send_window=all_day, rules={"packs": ["cn"], "holidays": ""})
    agreed, silent = late(book, "agreed"), late(book, "silent")
    book.run("UPDATE borrowers SET agreed_hours = 'daily 06:00-09:00' WHERE external_id = 'agreed'")
    book.at("2026-11-24T06:30Z")
    story.plan(version)
    story.admit()
    hours = {(row["borrower_id"], row["send_at"].hour) for row in book.messages(channel="sms")}
    assert hours == {(agreed, 6), (silent, 8)}


def test_what_other_packs_let_pass_is_decided_again_before_it_goes(
    story: Any, book: Any, packs: Path, under: Any, sender: Any
) -> None:
    version = under("uk")
    late(book)
    story.plan(version)
    story.admit()
    assert book.one("SELECT count(DISTINCT rules_hash) FROM messages") == 1
    (row,) = sender.claim()  # by a process whose packs are the shipped ones alone
    assert (row["state"], row["reason"]) == ("planned", "rules_changed")


def test_a_tighter_pack_binds_what_was_admitted_before_and_a_broken_one_changes_nothing(
    story: Any, book: Any, packs: Path, under: Any, runtime: Any
) -> None:
    version = under("one-per-person")
    late(book)
    story.plan(version)
    story.admit()
    before = runtime.policies.rules_hash
    file = packs / "one-per-person.toml"
    good = file.read_text()
    file.write_text(good.replace("max = 1", "max = -1"))
    runtime.policies.refresh()
    assert runtime.policies.rules_hash == before
    file.write_text(good.replace('channels = ["*"]', 'channels = ["sms"]'))
    runtime.policies.refresh()
    assert runtime.policies.rules_hash != before
    version = under("one-per-person")
    assert runtime.policies.of(version.policy).stack is not None


def test_a_pack_that_this_process_lacks_keeps_its_messages_for_later(
    story: Any, book: Any, packs: Path, under: Any, runtime: Any
) -> None:
    version = under("one-per-person")
    late(book)
    story.plan(version)
    runtime.policies = Policies(Shelf(), runtime.catalogue)
    assert story.admit() == {"planned": 2}
    assert {row["reason"] for row in book.messages()} == {"engine.error"}


def test_a_message_deferred_past_its_tiers_limit_expires_with_that_reason(
    story: Any, book: Any, packs: Path, under: Any
) -> None:
    version = under("one-per-person", tiers={"reminder": {"max_defer_h": 12}})
    late(book)
    story.plan(version)
    story.admit()
    (sms,) = book.messages(channel="sms")
    assert (sms["state"], sms["reason"]) == ("expired", "house.max_defer, one-per-person.one_a_day")


def test_a_portfolio_that_names_no_such_pack_is_refused(amended: Amend, packs: Path, runtime: Any) -> None:
    version = amended({"rules": {"packs": ["atlantis"]}})
    assert Policies(Shelf(), runtime.catalogue).of(version.policy).stack is None
