"""Opening hours on the borrower's own wall clock, whatever is done to that clock."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from worker.domain.message import CHANNELS
from worker.domain.rules.decide import decide
from worker.domain.rules.facts import Account, Facts, Recipient, Request
from worker.domain.rules.pack import Pack
from worker.domain.rules.stack import Stack
from worker.domain.rules.time_rules import Hours as HoursRule
from worker.domain.rules.verdict import Allow, Defer
from worker.domain.rules.week import DAY as MIDNIGHT
from worker.domain.rules.week import Week
from worker.domain.window import ZoneUnknown, local_instant, zone_of

Hours = tuple[tuple[time, time], ...]

DAY = ((time(9), time(20)),)
EPOCH = datetime(2005, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# A place, and a moment at which its clocks were or will be changed.
CHANGES = {
    "Europe/London": "2026-03-29T01:00 2026-10-25T01:00",
    "Europe/Dublin": "2026-03-29T01:00 2026-10-25T01:00",  # winter is its daylight saving time
    "America/New_York": "2026-03-08T07:00 2026-11-01T06:00",
    "America/St_Johns": "2010-03-14T03:31 2010-11-07T02:31",  # at one minute past midnight
    "America/Sao_Paulo": "2018-11-04T03:00 2018-02-18T02:00",  # at midnight, forward and back
    "America/Asuncion": "2023-10-01T04:00 2023-03-26T03:00",
    "America/Scoresbysund": "2024-03-31T01:00 2024-10-27T01:00",
    "Asia/Beirut": "2022-03-26T22:00 2022-10-29T21:00",  # midnight is skipped, and comes twice
    "Asia/Gaza": "2024-04-20T00:00 2024-10-25T23:00",
    "Asia/Kathmandu": "2015-06-01T00:00",
    "Asia/Pyongyang": "2015-08-14T15:00 2018-05-04T15:00",  # half an hour at midnight
    "Asia/Shanghai": "2026-06-01T00:00",
    "Africa/Cairo": "2024-04-25T22:00 2024-10-31T21:00",
    "Africa/Casablanca": "2026-02-15T02:00 2026-03-22T02:00",
    "Antarctica/Troll": "2026-03-29T01:00 2026-10-25T01:00",  # two hours
    "Australia/Lord_Howe": "2026-04-04T15:00 2026-10-03T15:30",  # half an hour
    "Pacific/Apia": "2011-12-30T10:00 2012-03-31T14:00",  # 30 December 2011 did not happen
    "Pacific/Chatham": "2026-04-04T14:00 2026-09-26T14:00",
    "Pacific/Kiritimati": "2026-01-01T00:00",
}
MOMENTS = [
    (zone, datetime.fromisoformat(at).replace(tzinfo=UTC))
    for zone, ats in CHANGES.items()
    for at in ats.split()
]


@dataclass(frozen=True)
class SendWindow:
    """Hours of each weekday, Monday first, as the rules of one pack."""

    by_weekday: tuple[Hours, ...]

    def next_interval(self, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """When the decision lets a message go, and until when; None: never."""
        week = Week(
            tuple(tuple((_minutes(a), _minutes(b) or MIDNIGHT) for a, b in d) for d in self.by_weekday)
        )
        rule = HoursRule(id="hours", channels=frozenset(CHANNELS), allow=week)
        facts = Facts(Request("sms"), Account(frozenset({"D"})), Recipient("P", "E", zones=(zone.key,)))
        match decide(Stack([Pack(id="p", status="active", rules=(rule,))]), facts, [], at):
            case Allow(closes_at=closes):
                assert closes is not None
                return at, closes
            case Defer(until=until, closes_at=closes):
                assert closes is not None
                return until, closes
        return None


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def every_day(*hours: tuple[time, time]) -> SendWindow:
    return SendWindow((hours,) * 7)


def is_open(window: SendWindow, at: datetime, zone: ZoneInfo) -> bool:
    """What somebody with a clock on the wall and the opening hours beside it would say."""
    local = at.astimezone(zone)
    told = local.time()
    hours = window.by_weekday[local.weekday()]
    return any(opens <= told and (told < closes or closes == time(0)) for opens, closes in hours)


@st.composite
def day_hours(draw: st.DrawFn) -> Hours:
    marks = sorted(draw(st.sets(st.integers(0, 24 * 12), min_size=0, max_size=6)))
    spans = zip(marks[::2], marks[1::2], strict=False)
    return tuple((_clock(start), _clock(end)) for start, end in spans)


def _clock(five_minutes: int) -> time:
    return time(five_minutes // 12 % 24, five_minutes % 12 * 5)


windows = st.tuples(*[day_hours()] * 7).map(SendWindow)
near_a_change = st.tuples(st.sampled_from(MOMENTS), st.integers(-3 * 24 * 60, 3 * 24 * 60)).map(
    lambda drawn: (drawn[0][0], drawn[0][1] + timedelta(minutes=drawn[1]))
)
anywhen = st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 25 * 365 * 24 * 60)).map(
    lambda drawn: (drawn[0], EPOCH + timedelta(minutes=drawn[1]))
)


@settings(max_examples=500, deadline=None)
@given(window=windows, place=near_a_change | anywhen)
def test_no_moment_of_an_interval_is_outside_the_hours_on_the_wall(
    window: SendWindow, place: tuple[str, datetime]
) -> None:
    zone, at = ZoneInfo(place[0]), place[1]
    found = window.next_interval(at, zone)
    if found is None:
        return
    opens, closes = found
    assert at <= opens < closes
    assert closes - opens <= timedelta(hours=26)
    moment = opens
    while moment < closes:
        assert is_open(window, moment, zone), moment
        moment += (
            5 * MINUTE
        )  # hours and clock changes lie on multiples of it, but for one minute in St John's
    assert is_open(window, closes - timedelta(microseconds=1), zone)


@settings(max_examples=300, deadline=None)
@given(window=windows, place=anywhen)
def test_where_the_clocks_run_evenly_no_open_moment_is_passed_over(
    window: SendWindow, place: tuple[str, datetime]
) -> None:
    zone, at = ZoneInfo(place[0]), place[1]
    around = {(at + timedelta(days=n)).astimezone(zone).utcoffset() for n in range(-2, 10)}
    assume(len(around) == 1)
    found = window.next_interval(at, zone)
    opens = found[0] if found else at + timedelta(days=7)
    moment = at
    while moment < opens:
        assert not is_open(window, moment, zone), moment
        moment += 5 * MINUTE - timedelta(minutes=moment.minute % 5)
    assert found is not None or window.by_weekday == ((),) * 7


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-11-23T08:59:59", "2026-11-23T09:00"),
        ("2026-11-23T09:00", "2026-11-23T09:00"),
        ("2026-11-23T19:59:59", "2026-11-23T19:59:59"),
        ("2026-11-23T20:00", "2026-11-24T09:00"),  # the end is outside
        ("2026-11-28T10:00", "2026-11-28T10:00"),
        ("2026-11-28T17:00", "2026-11-30T09:00"),  # over a closed Sunday
        ("2026-12-31T23:00", "2027-01-01T09:00"),
    ],
)
def test_an_interval_holds_its_start_and_not_its_end(at: str, opens: str) -> None:
    window = SendWindow((DAY, DAY, DAY, DAY, DAY, ((time(9), time(17)),), ()))
    found = window.next_interval(utc(at), ZoneInfo("UTC"))
    assert found is not None
    assert found[0] == utc(opens)


def test_the_second_span_of_a_day_is_found_after_the_first() -> None:
    window = every_day((time(9), time(12)), (time(14), time(18)))
    zone = ZoneInfo("UTC")
    noon, two = utc("2026-11-23T12:00"), utc("2026-11-23T14:00")
    assert window.next_interval(noon, zone) == (two, utc("2026-11-23T18:00"))
    assert window.next_interval(utc("2026-11-23T11:59"), zone) == (utc("2026-11-23T11:59"), noon)


def test_hours_until_24_00_end_with_the_day() -> None:
    window = every_day((time(20), time(0)))
    found = window.next_interval(utc("2026-07-01T22:30"), ZoneInfo("Europe/London"))
    assert found == (utc("2026-07-01T22:30"), utc("2026-07-01T23:00"))
    assert window.next_interval(utc("2026-07-01T23:00"), ZoneInfo("Europe/London")) == (
        utc("2026-07-02T19:00"),
        utc("2026-07-02T23:00"),
    )


def test_a_window_that_never_opens_has_no_interval() -> None:
    assert SendWindow(((),) * 7).next_interval(utc("2026-11-23T10:00"), ZoneInfo("UTC")) is None


def test_a_window_open_one_day_a_week_is_found_on_the_evening_of_that_day() -> None:
    window = SendWindow((DAY, (), (), (), (), (), ()))
    found = window.next_interval(utc("2026-11-23T20:00"), ZoneInfo("UTC"))
    assert found == (utc("2026-11-30T09:00"), utc("2026-11-30T20:00"))


@pytest.mark.parametrize(
    ("zone", "at", "opens", "closes"),
    [
        # London: 01:00 to 02:00 does not exist on 29 March, and comes twice on 25 October.
        ("Europe/London", "2026-03-29T00:00", "2026-03-29T08:00", "2026-03-29T19:00"),
        ("Europe/London", "2026-10-25T00:00", "2026-10-25T09:00", "2026-10-25T20:00"),
        ("America/New_York", "2026-03-08T04:00", "2026-03-08T13:00", "2026-03-09T00:00"),
        ("America/New_York", "2026-11-01T04:00", "2026-11-01T14:00", "2026-11-02T01:00"),
        ("Australia/Lord_Howe", "2026-10-03T13:00", "2026-10-03T22:00", "2026-10-04T09:00"),
        ("Pacific/Apia", "2011-12-30T10:00", "2011-12-30T19:00", "2011-12-31T06:00"),
        ("America/Sao_Paulo", "2018-11-04T02:00", "2018-11-04T11:00", "2018-11-04T22:00"),
        ("Asia/Kathmandu", "2026-11-23T00:00", "2026-11-23T03:15", "2026-11-23T14:15"),
    ],
)
def test_nine_is_nine_on_the_day_the_clocks_change(zone: str, at: str, opens: str, closes: str) -> None:
    assert every_day(*DAY).next_interval(utc(at), ZoneInfo(zone)) == (utc(opens), utc(closes))


def test_the_day_that_did_not_happen_has_no_interval() -> None:
    only_friday = SendWindow(((), (), (), (), DAY, (), ()))  # 30 December 2011 in Apia
    found = only_friday.next_interval(utc("2011-12-29T12:00"), ZoneInfo("Pacific/Apia"))
    assert found == (utc("2012-01-05T19:00"), utc("2012-01-06T06:00"))


@pytest.mark.parametrize(
    ("opens", "closes", "at", "found"),
    [
        # In New York 01:00 to 02:00 comes twice on 1 November: 05:00Z and 06:00Z.
        (time(1, 30), time(4), "2026-11-01T05:30", ("2026-11-01T06:30", "2026-11-01T09:00")),
        (time(0), time(1, 30), "2026-11-01T04:30", ("2026-11-01T04:30", "2026-11-01T05:30")),
        (time(1, 15), time(1, 45), "2026-11-01T04:30", ("2026-11-02T06:15", "2026-11-02T06:45")),
        # 02:00 to 03:00 does not exist on 8 March: 07:00Z.
        (time(2, 30), time(5), "2026-03-08T07:00", ("2026-03-08T07:30", "2026-03-08T09:00")),
        (time(0), time(2, 30), "2026-03-08T05:30", ("2026-03-08T05:30", "2026-03-08T06:30")),
        (time(2, 15), time(2, 45), "2026-03-08T05:00", ("2026-03-09T06:15", "2026-03-09T06:45")),
    ],
)
def test_hours_that_the_change_touches_only_get_shorter(
    opens: time, closes: time, at: str, found: tuple[str, str]
) -> None:
    interval = every_day((opens, closes)).next_interval(utc(at), ZoneInfo("America/New_York"))
    assert interval == (utc(found[0]), utc(found[1]))


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../zoneinfo/UTC", "/etc/localtime", "Europe", "x\0y", "É"]
)
def test_a_zone_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ZoneUnknown, match="no such time zone"):
        zone_of(name)


def test_a_schedule_reads_a_repeated_time_as_the_first_and_a_skipped_one_as_after_the_gap() -> None:
    new_york = ZoneInfo("America/New_York")
    assert local_instant(date(2026, 11, 1), time(1, 30), new_york) == utc("2026-11-01T05:30")
    assert local_instant(date(2026, 3, 8), time(2, 30), new_york) == utc("2026-03-08T07:30")
    assert local_instant(date(2026, 7, 1), time(9), new_york) == utc("2026-07-01T13:00")
