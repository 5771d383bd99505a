"""Simulation: the days to come by the very code that makes them, on a copy of the book."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.pipeline import byhand
from worker.pipeline.book import sync_portfolios
from worker.pipeline.byhand import Refused
from worker.pipeline.forecast import Forecast
from worker.pipeline.policies import Policies
from worker.pipeline.simulate import Span, alternative, simulate
from worker.portfolios.load import Version, version_of
from worker.portfolios.schema import Policy
from worker.rulepacks.load import Shelf
from worker.store import status

MONDAY = date(2026, 11, 23)
SUNDAY = MONDAY - timedelta(days=1)
ALWAYS = {"weekdays": ["00:00-24:00"], "saturday": ["00:00-24:00"], "sunday": ["00:00-24:00"]}
REMINDERS = {"dpd_to": 1000, "max_repeats": None}
"""A policy of one tier, for stories about cadence and caps."""
CAP = """
schema = "rulepack/1"
[pack]
id = "calm"
status = "example"
default_zone = ""
[[caps]]
id = "calm.two_in_two_days"
strength = "house"
channels = ["*"]
outcomes = ["sent", "delivered"]
per = ["person"]
window = { kind = "rolling_days", n = 2 }
max = 2
"""
Amend = Callable[[dict[str, Any]], Version]
Foresee = Callable[..., list[Forecast]]


@pytest.fixture(autouse=True)
def _early_monday(book: Any) -> None:
    book.at("2026-11-23T08:30Z")


@pytest.fixture
def calm(tmp_path: Path, runtime: Any) -> None:
    """A pack of the test's own: two contacts with a person in two days."""
    (tmp_path / "calm.toml").write_text(CAP)
    runtime.policies = Policies(Shelf(tmp_path), runtime.catalogue)


@pytest.fixture
def foresee(runtime: Any) -> Foresee:
    """Simulates these policies from Monday on."""

    def made(*versions: Version, days: int = 1, first: date = MONDAY, **span: Any) -> list[Forecast]:
        wanted = Span(first, first + timedelta(days=days - 1), **span)
        return simulate(runtime.engine, runtime.policies, runtime.catalogue, versions, wanted)

    return made


@pytest.fixture
def one_tier(amended: Amend) -> Callable[..., Version]:
    """The British portfolio with reminders only, by SMS and popup."""

    def made(reminder: dict[str, Any] | None = None, **changes: Any) -> Version:
        version = amended({"send_window": ALWAYS, **changes})
        body = version.policy.body()
        body["tiers"] = {"reminder": body["tiers"]["reminder"] | REMINDERS | (reminder or {})}
        return version_of(Policy.model_validate(body))

    return made


def late(book: Any, name: str = "B1", days: int = 3, **fields: Any) -> tuple[int, int]:
    borrower = book.borrower(name, **fields)
    return borrower, book.account(borrower, f"A-{name}", due_on=MONDAY - timedelta(days=days))


def many_kinds(book: Any) -> None:
    """Borrowers for whom planning and admission come to different ends."""
    for number, days in enumerate((1, 3, 7, 8, 30, 59, 60, 90)):
        late(book, f"plain-{number}", days, phone=f"+44770090020{number}")
    held = [late(book, f"held-{n}", 10, phone=f"+44770090030{n}") for n in range(3)]
    book.hold(held[0][0])
    book.hold(held[1][0], "hardship", held[1][1])
    book.account(held[1][0], "A-free", due_on=MONDAY - timedelta(days=4))
    book.hold(held[2][0])
    book.run("UPDATE holds SET ends_at = '2026-11-23T08:00Z' WHERE borrower_id = :b", b=held[2][0])
    late(book, "nowhere", phone=None)
    late(book, "no-zone", zone="Mars/Base")
    late(book, "opted-out", phone="+447700900401")
    book.run(
        "INSERT INTO suppressions (channel, address, reason, source, created_by) "
        "VALUES ('sms', '+447700900401', 'opted_out', 'tests', 'tests')"
    )
    warned(book, "warned", "+447700900501")
    recent, account = late(book, "told", 3, phone="+447700900601")
    book.contact(recent, account, "reminder", "2026-11-22T10:00Z")


def warned(book: Any, name: str, phone: str) -> None:
    """Long overdue, and told sternly long enough ago: a legal warning comes next."""
    borrower, account = late(book, name, 80, phone=phone)
    book.contact(borrower, account, "stern", "2026-11-10T10:00Z")


def by_day(found: Forecast) -> dict[str, int]:
    days = Counter[str]()
    for (on, _, _), count in found.sent.items():
        days[on] += count
    return dict(days)


def plain(rows: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


@pytest.mark.parametrize("approve", [True, False])
def test_a_simulated_day_has_the_numbers_of_the_real_one(
    story: Any, book: Any, amended: Amend, foresee: Foresee, runtime: Any, calm: None, approve: bool
) -> None:
    """Also where messages of the day before have not gone: the run takes them back, so no cap counts them."""
    version = amended({"rules": {"packs": ["calm"]}})
    sync_portfolios(book.engine, {"uk": version})
    many_kinds(book)
    book.at("2026-11-22T12:00Z")
    runs = [story.plan(version, SUNDAY)]
    story.admit()
    warned(book, "warned-on-monday", "+447700900502")
    book.at("2026-11-23T08:30Z")
    (foreseen,) = foresee(version, at=time(8), approve=approve)

    runs.append(story.plan(version, MONDAY))
    story.admit()
    if approve:
        for run in runs:
            byhand.answer(runtime.engine, run, approve=True, by="somebody", reason="")
        story.admit()
    with runtime.engine.connect() as connection:
        messages = plain(status.message_counts(connection, runs[1:]))
        left_out = plain(status.exclusion_counts(connection, runs[1:]))
    (day,) = foreseen.days
    assert plain(day.messages) == messages
    assert plain(day.exclusions) == left_out
    reasons = {rule for row in messages for rule in str(row["reason"]).split(", ")}
    assert {"calm.two_in_two_days", "house.no_address", "house.suppressed.opted_out"} <= reasons
    left = {"cadence", "in_flight", "house.hold.dispute", "house.hold.hardship"}
    assert {row["reason"] for row in left_out} == left
    assert any(row["state"] == "awaiting_approval" for row in messages) is not approve


def test_cadence_holds_over_a_week_and_days_past_due_move_the_tier(
    book: Any, amended: Amend, foresee: Foresee
) -> None:
    late(book, days=3)
    version = amended({"send_window": ALWAYS})
    (found,) = foresee(version, days=8)
    # Day 3 and, three days later, day 6; on day 8 the account is in the next tier, which repeats after seven.
    assert [(on, tier) for on, tier, channel in found.sent if channel == "sms"] == [
        ("2026-11-23", "reminder"),
        ("2026-11-26", "reminder"),
        ("2026-11-28", "stern"),
    ]
    assert found.left_out == {("cadence",): 5}


def test_a_tier_that_requires_an_earlier_one_comes_once_that_has_gone(
    book: Any, amended: Amend, foresee: Foresee
) -> None:
    late(book, days=70)
    (found,) = foresee(amended({"send_window": ALWAYS}), days=9)
    by_mail = [(on, tier) for on, tier, channel in found.sent if channel == "email"]
    assert by_mail == [("2026-11-23", "stern"), ("2026-11-30", "legal_warning")]


def test_without_approval_a_legal_warning_expires_and_nothing_goes_in_its_place(
    book: Any, amended: Amend, foresee: Foresee
) -> None:
    borrower, account = late(book, days=70)
    book.contact(borrower, account, "stern", "2026-11-10T10:00Z")
    (found,) = foresee(amended({"send_window": ALWAYS}), days=8, approve=False)
    assert found.sent == {}
    assert found.outcomes["legal_warning", "email", "expired"] == 1
    assert found.left_out == {("in_flight",): 6}


def test_a_cap_of_a_pack_spreads_messages_over_days(
    book: Any, one_tier: Any, foresee: Foresee, calm: None
) -> None:
    late(book)
    daily = one_tier({"repeat_every_days": 1})
    capped = one_tier({"repeat_every_days": 1}, rules={"packs": ["calm"]})
    (free,) = foresee(daily, days=7)
    (spread,) = foresee(capped, days=7)
    assert by_day(free) == {f"2026-11-{day}": 2 for day in range(23, 30)}
    assert by_day(spread) == {f"2026-11-{day}": 2 for day in (23, 25, 27, 29)}
    assert spread.rules["defer", "calm.two_in_two_days"] == 6


def test_two_policies_start_from_the_same_book_side_by_side(
    book: Any, version: Version, foresee: Foresee, calm: None
) -> None:
    many_kinds(book)
    present, same, calmer = foresee(version, version, alternative(version, None, ["calm"]), days=3)
    assert present.sent == same.sent
    assert [plain(day.messages) for day in present.days] == [plain(day.messages) for day in same.days]
    assert calmer.packs == ("calm",)
    assert sum(calmer.sent.values()) < sum(present.sent.values())


def test_a_hold_that_begins_or_ends_within_the_span_counts_from_then_on(
    book: Any, one_tier: Any, foresee: Foresee
) -> None:
    version = one_tier({"repeat_every_days": 1})
    coming, _ = late(book, "coming", phone="+447700900002")
    over, _ = late(book, "over")
    book.hold(coming)
    book.hold(over)
    book.run("UPDATE holds SET starts_at = '2026-11-25T00:00Z' WHERE borrower_id = :b", b=coming)
    book.run("UPDATE holds SET ends_at = '2026-11-25T00:00Z' WHERE borrower_id = :b", b=over)
    (found,) = foresee(version, days=4)
    assert {on: count for (on, _, channel), count in found.sent.items() if channel == "sms"} == {
        f"2026-11-{day}": 1 for day in (23, 24, 25, 26)
    }
    assert found.left_out == {("house.hold.dispute",): 4}


def test_a_hold_that_begins_between_admission_and_sending_cancels(
    book: Any, version: Version, foresee: Foresee
) -> None:
    borrower, _ = late(book)
    book.hold(borrower)
    book.run("UPDATE holds SET starts_at = '2026-11-29T23:00Z'")
    # On Sunday nothing may go before Monday, and by then the hold has begun.
    (found,) = foresee(version, first=date(2026, 11, 29), days=2)
    assert found.sent == {}
    assert found.outcomes == {("stern", c, "cancelled"): 1 for c in ("sms", "email", "in_app")}


def test_hours_are_the_borrowers_own(book: Any, version: Version, foresee: Foresee) -> None:
    late(book, "london")
    late(book, "new-york", zone="America/New_York", phone="+12025550111")
    late(book, "kolkata", zone="Asia/Kolkata", phone="+12025550112")
    (found,) = foresee(version)
    hours = Counter({hour: count for (hour, channel), count in found.hours.items() if channel == "sms"})
    # At 09:00 in London it is 14:30 in Kolkata, and New York has to be waited for.
    assert hours == {"09": 2, "14": 1}
    assert found.rules == {("defer", "house.send_window"): 2}


def test_prices_make_costs_and_segments_are_counted_on_the_text(
    book: Any, amended: Amend, foresee: Foresee
) -> None:
    late(book, "one", days=10)
    late(book, "two", days=10, phone="+447700900002")
    version = amended({"prices": {"currency": "EUR", "sms_segment": "0.04", "email": "0.001"}})
    (found,) = foresee(version)
    costs = {cost.channel: cost for cost in found.costs}
    assert found.currency == "EUR"
    assert found.rendered == costs["sms"].messages == 2
    assert costs["sms"].units > 2, "a stern notice is longer than one segment"
    assert costs["sms"].amount == costs["sms"].units * version.policy.prices.sms_segment
    assert str(costs["email"].amount) == "0.002"
    assert costs["in_app"].amount is None


def test_of_many_sms_some_are_rendered_and_the_rest_is_estimated(
    book: Any, amended: Amend, foresee: Foresee, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        late(book, f"B{n}", days=10, phone=f"+44770090000{n}")
    version = amended({})
    (whole,) = foresee(version)
    monkeypatch.setattr("worker.pipeline.forecast.RENDERED_PER_TIER", 2)
    (part,) = foresee(version)
    assert (whole.rendered, part.rendered) == (4, 2)
    assert whole.costs == part.costs


def test_what_was_open_before_is_sent_on_the_way_and_counts(
    story: Any, book: Any, version: Version, foresee: Foresee
) -> None:
    late(book)
    book.at("2026-11-22T12:00Z")
    story.plan(version, SUNDAY)
    story.admit()
    (found,) = foresee(version, first=MONDAY, days=3)
    assert found.sent == {}
    assert found.left_out == {("cadence",): 3}


def test_a_run_that_is_late_today_begins_now(book: Any, version: Version, foresee: Foresee) -> None:
    late(book)
    now = book.at("2026-11-23T12:00Z")
    (found,) = foresee(version)
    assert timedelta(0) <= found.days[0].at - now < timedelta(minutes=1)
    assert {hour for hour, _ in found.hours} == {"12"}


@pytest.mark.parametrize(
    ("first", "ran_on", "words"),
    [(SUNDAY, None, "lies in the past"), (MONDAY, MONDAY, "has its run for 2026-11-23 already")],
)
def test_days_that_are_over_are_refused(
    story: Any, version: Version, foresee: Foresee, first: date, ran_on: date | None, words: str
) -> None:
    if ran_on is not None:
        story.plan(version, ran_on)
    with pytest.raises(Refused, match=words):
        foresee(version, first=first)


def test_a_policy_of_another_portfolio_is_refused(version: Version, amended: Amend) -> None:
    other = amended({"portfolio": {"id": "elsewhere"}})
    with pytest.raises(Refused, match="of portfolio elsewhere, not uk"):
        alternative(version, other, None)


def test_another_mode_has_another_history(
    book: Any, version: Version, amended: Amend, foresee: Foresee
) -> None:
    """What was sent in sandbox is no history for live."""
    borrower, account = late(book)
    book.run(
        "INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by, "
        "closed_at) "
        "VALUES ('uk', '2026-11-22', :h, 'sandbox', 'closed', '{}', 'tests', now())",
        h=version.hash,
    )
    for channel in ("sms", "in_app"):
        book.run(
            "INSERT INTO messages (business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, "
            "state, shard, planned_at, decide_at, expires_at, requires_approval, sent_at) "
            "SELECT '2026-11-22', r.id, 'uk', :b, :c, 'reminder', 'sandbox', 'delivered', 0, now(), now(), "
            "now(), false, '2026-11-22T10:00Z' FROM runs r",
            b=borrower,
            c=channel,
        )
    book.run(
        "INSERT INTO message_accounts (business_on, message_id, account_id, tier, dpd, amount_due) "
        "SELECT business_on, id, :a, tier, 2, 120 FROM messages",
        a=account,
    )
    live = amended({"portfolio": {"mode": "live"}})
    before, after = foresee(version, live)
    assert before.left_out == {("cadence",): 1}
    assert sum(after.sent.values()) == 2
    assert isinstance(after.days[0].at, datetime)
