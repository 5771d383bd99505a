"""Which business date is due, at any moment and in any zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.schedule import MISSED_AT_MOST, catch_up, newest_due
from worker.domain.window import local_instant

LONDON, NEW_YORK, SHANGHAI = (ZoneInfo(n) for n in ("Europe/London", "America/New_York", "Asia/Shanghai"))
NINE = time(9)
D = date
EPOCH = datetime(2015, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "now", "due"),
    [
        (LONDON, "2026-11-23T08:59:59", D(2026, 11, 22)),
        (LONDON, "2026-11-23T09:00:00", D(2026, 11, 23)),
        (LONDON, "2026-07-01T07:59:59", D(2026, 6, 30)),  # summer: nine is eight
        (LONDON, "2026-07-01T08:00:00", D(2026, 7, 1)),
        (SHANGHAI, "2026-11-23T00:59:59", D(2026, 11, 22)),
        (SHANGHAI, "2026-11-23T01:00:00", D(2026, 11, 23)),
        (NEW_YORK, "2026-11-23T13:59:59", D(2026, 11, 22)),
        (NEW_YORK, "2026-11-23T14:00:00", D(2026, 11, 23)),
        (LONDON, "2027-01-01T08:59:59", D(2026, 12, 31)),
        (LONDON, "2028-02-29T09:00:00", D(2028, 2, 29)),
    ],
)
def test_a_date_is_due_once_its_local_time_has_come(zone: ZoneInfo, now: str, due: date) -> None:
    assert newest_due(NINE, zone, utc(now)) == due


def test_a_time_that_the_change_of_clocks_skips_is_due_right_after_the_gap() -> None:
    # 2026-03-08 in New York: 02:00 EST is 03:00 EDT. 02:30 does not exist.
    at = time(2, 30)
    assert newest_due(at, NEW_YORK, utc("2026-03-08T06:59:59")) == D(2026, 3, 7)
    assert newest_due(at, NEW_YORK, utc("2026-03-08T07:29:59")) == D(2026, 3, 7)
    assert newest_due(at, NEW_YORK, utc("2026-03-08T07:30:00")) == D(2026, 3, 8)


def test_a_time_that_the_change_of_clocks_repeats_is_due_once_at_the_first() -> None:
    # 2026-11-01 in New York: 01:30 comes at 05:30Z and again at 06:30Z.
    at = time(1, 30)
    assert newest_due(at, NEW_YORK, utc("2026-11-01T05:29:59")) == D(2026, 10, 31)
    assert newest_due(at, NEW_YORK, utc("2026-11-01T05:30:00")) == D(2026, 11, 1)
    for between in ("2026-11-01T06:00:00", "2026-11-01T06:15:00", "2026-11-01T06:30:00"):
        assert catch_up(at, NEW_YORK, utc(between), D(2026, 11, 1)) == (None, [])


def test_midnight_is_due_at_the_start_of_the_day_even_where_midnight_is_skipped() -> None:
    assert newest_due(time(0), LONDON, utc("2026-11-23T00:00:00")) == D(2026, 11, 23)
    sao_paulo = ZoneInfo("America/Sao_Paulo")  # 2018-11-04 began at 01:00
    assert newest_due(time(0), sao_paulo, utc("2018-11-04T02:59:59")) == D(2018, 11, 3)
    assert newest_due(time(0), sao_paulo, utc("2018-11-04T03:00:00")) == D(2018, 11, 4)


def test_a_portfolio_that_never_ran_starts_with_its_next_due_time() -> None:
    since = utc("2026-11-22T18:00:00")
    assert catch_up(NINE, LONDON, utc("2026-11-23T08:00:00"), None, since) == (None, [])
    assert catch_up(NINE, LONDON, utc("2026-11-23T09:00:00"), None, since) == (D(2026, 11, 23), [])
    assert catch_up(NINE, LONDON, utc("2026-11-23T23:59:59"), None, since) == (D(2026, 11, 23), [])


def test_a_first_import_after_the_due_time_waits_for_the_next_one() -> None:
    since = utc("2026-11-23T09:00:01")
    assert catch_up(NINE, LONDON, utc("2026-11-23T12:00:00"), None, since) == (None, [])
    assert catch_up(NINE, LONDON, utc("2026-11-24T09:00:00"), None, since) == (D(2026, 11, 24), [])


def test_an_empty_book_has_no_run() -> None:
    assert catch_up(NINE, LONDON, utc("2026-11-23T12:00:00"), None, None) == (None, [])


@pytest.mark.parametrize(
    ("last", "due", "missed"),
    [
        (D(2026, 11, 23), None, []),
        (D(2026, 11, 24), None, []),  # a clock that went back plans nothing
        (D(2026, 11, 22), D(2026, 11, 23), []),
        (D(2026, 11, 21), D(2026, 11, 23), [D(2026, 11, 22)]),
        (D(2026, 11, 20), D(2026, 11, 23), [D(2026, 11, 21), D(2026, 11, 22)]),
    ],
)
def test_after_an_outage_only_the_newest_date_is_planned(
    last: date, due: date | None, missed: list[date]
) -> None:
    assert catch_up(NINE, LONDON, utc("2026-11-23T12:00:00"), last) == (due, missed)


def test_off_before_todays_time_means_that_yesterday_is_planned() -> None:
    assert catch_up(NINE, LONDON, utc("2026-11-23T05:00:00"), D(2026, 11, 20)) == (
        D(2026, 11, 22),
        [D(2026, 11, 21)],
    )


def test_an_outage_over_the_end_of_the_year() -> None:
    assert catch_up(NINE, LONDON, utc("2027-01-02T12:00:00"), D(2026, 12, 30)) == (
        D(2027, 1, 2),
        [D(2026, 12, 31), D(2027, 1, 1)],
    )


def test_an_outage_of_years_leaves_no_more_rows_than_a_year_has_days() -> None:
    due, missed = catch_up(NINE, LONDON, utc("2026-11-23T12:00:00"), D(2020, 1, 1))
    assert due == D(2026, 11, 23)
    assert len(missed) == MISSED_AT_MOST
    assert missed[-1] == D(2026, 11, 22)
    assert missed == sorted(missed)


ZONES = ["Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut",
         "Pacific/Chatham", "Asia/Kathmandu", "Antarctica/Troll"]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    start=st.integers(0, 15 * 365 * 24 * 60).map(lambda minutes: EPOCH + timedelta(minutes=minutes)),
    steps=st.lists(st.integers(1, 3 * 24 * 60), max_size=25),
)
def test_whenever_it_is_asked_every_date_is_planned_or_missed_and_none_twice(
    zone: str, at: time, start: datetime, steps: list[int]
) -> None:
    where, now = ZoneInfo(zone), start
    last: date | None = now.astimezone(where).date() - timedelta(days=2)
    seen: list[date] = []
    for step in [0, *steps]:
        now += timedelta(minutes=step)
        due, missed = catch_up(at, where, now, last)
        seen += missed
        if due is not None:
            assert local_instant(due, at, where) <= now
            seen.append(due)
            last = due
    assert seen == [seen[0] + timedelta(days=n) for n in range(len(seen))] if seen else True
