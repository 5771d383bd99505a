"""Reads single cells: one function per type of column. Each gets its cells without surrounding space."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email
from phonenumbers import (
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneNumberFormat,
    ValidationResult,
    format_number,
    is_possible_number_with_reason,
    parse,
)

from worker.domain.rules.week import week_of
from worker.domain.window import ZoneUnknown, zone_of

ID_MAX_CHARS = 128
TEXT_MAX_CHARS = 500
NAME_MAX_CHARS = 200
EARLIEST, LATEST = date(1900, 1, 1), date(2200, 1, 1)
"""Dates outside are slips of the keyboard; one would make an account 650,000 days past due."""
PHONE_CHANNELS = ("sms", "voice", "agent_call")

_NOT_A_TIME = "not a time of the form YYYY-MM-DDTHH:MM:SS+HH:MM"
_MONEY = re.compile(r"\d{1,15}(?:\.\d{1,4})?", re.ASCII)
_RATE = re.compile(r"0(?:\.\d{1,9})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")
_PHONE = re.compile(r"\+?[\d\s().\-/]+", re.ASCII)
# Control characters, line and paragraph separators, and marks that turn the direction of writing.
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


class BadCell(ValueError):
    """The cell cannot be used; the text says why and never repeats the cell."""


def identifier(cell: str) -> str:
    """An id of the lender's: kept letter by letter, because it has to match in every file."""
    if not cell:
        raise BadCell("empty")
    if len(cell) > ID_MAX_CHARS:
        raise BadCell(f"longer than {ID_MAX_CHARS} characters")
    if _UNPRINTED.search(cell):
        raise BadCell("contains control characters")
    return cell


def identifier_or_none(cell: str) -> str | None:
    return identifier(cell) if cell else None


NO_HOURS = "none"


def hours_or_none(cell: str) -> str | None:
    """Hours of a week as a person said them; `none` takes them away, an empty cell leaves them alone."""
    if not cell:
        return None
    if cell == NO_HOURS:
        return cell
    try:
        week_of(cell)
    except ValueError as error:
        raise BadCell(str(error)) from None
    return cell


def name(cell: str) -> str:
    """A person's name on one line. Line ends and other control characters are taken out, a space in their
    place: a name must not start a line of its own in a message.
    """
    visible = _shown(cell)
    if not visible:
        raise BadCell("empty")
    if len(visible) > NAME_MAX_CHARS:
        raise BadCell(f"longer than {NAME_MAX_CHARS} characters")
    return visible


def remark(cell: str) -> str:
    """Free text for people, on one line; may be empty."""
    visible = _shown(cell)
    if len(visible) > TEXT_MAX_CHARS:
        raise BadCell(f"longer than {TEXT_MAX_CHARS} characters")
    return visible


def _shown(cell: str) -> str:
    return cell if cell.isprintable() else " ".join(_UNPRINTED.sub(" ", cell).split())


def one_of(words: Sequence[str]) -> Callable[[str], str]:
    """A reader for a closed list of words."""
    known = frozenset(words)

    def read(cell: str) -> str:
        if cell not in known:
            raise BadCell(f"not one of {', '.join(words)}")
        return cell

    return read


def one_of_or_none(words: Sequence[str]) -> Callable[[str], str | None]:
    """The same where the cell may be empty."""
    read = one_of(words)
    return lambda cell: read(cell) if cell else None


def money(cell: str) -> Decimal:
    """An amount from 0 to below 10^15, in major units of its currency."""
    if not _MONEY.fullmatch(cell):
        raise BadCell("not an amount: digits and a point, 0 or more, at most 4 decimals, no separators")
    return Decimal(cell)


def money_owed(cell: str) -> Decimal:
    """An amount above 0."""
    value = money(cell)
    if not value:
        raise BadCell("is 0")
    return value


def daily_rate(cell: str) -> Decimal | None:
    """A fraction per day: 0.0005 is 0.05 %. Empty: no late fee is charged."""
    if not cell:
        return None
    if not _RATE.fullmatch(cell):
        raise BadCell("not a fraction from 0 to below 1 with at most 9 decimals (0.05 % a day is 0.0005)")
    return Decimal(cell)


def currency(cell: str) -> str:
    if not _CURRENCY.fullmatch(cell):
        raise BadCell("not a currency of three capital letters")
    return cell


def day(cell: str) -> date:
    # Python also reads 20260302 and week dates; a file that holds those is more likely not to mean dates.
    if len(cell) != 10 or not cell[4] == "-" == cell[7]:
        raise BadCell("not a date of the form YYYY-MM-DD")
    try:
        value = date.fromisoformat(cell)
    except ValueError:
        raise BadCell("not a date of the form YYYY-MM-DD, or no such day") from None
    return _plausible(value)


def day_or_none(cell: str) -> date | None:
    return day(cell) if cell else None


def instant(cell: str) -> datetime:
    """A point in time with its offset from UTC; without one it could be hours away."""
    if len(cell) < 11 or not cell[4] == "-" == cell[7]:
        raise BadCell(_NOT_A_TIME)
    try:
        value = datetime.fromisoformat(cell)
        in_utc = value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadCell(_NOT_A_TIME) from None
    if value.tzinfo is None:
        raise BadCell("has no offset from UTC (Z or +HH:MM)")
    _plausible(value.date())
    return in_utc


def day_or_instant(cell: str) -> datetime:
    """A time with offset, or a date: that day's first moment in UTC."""
    return datetime.combine(day(cell), time(0), UTC) if len(cell) == 10 else instant(cell)


def day_or_instant_or_none(cell: str) -> datetime | None:
    return day_or_instant(cell) if cell else None


def _plausible(value: date) -> date:
    if not EARLIEST <= value < LATEST:
        raise BadCell(f"the year {value.year} is not plausible")
    return value


@lru_cache(maxsize=4096)
def zone(cell: str) -> str | None:
    """An IANA time zone; empty: not known."""
    if not cell:
        return None
    try:
        zone_of(cell)
    except ZoneUnknown:
        raise BadCell("no such time zone") from None
    return cell


def phone(cell: str, region: str) -> str | None:
    """A number as E.164. `region` (ISO 3166) reads one that has no country code; may be empty.

    A number is kept when its length is possible in its country: numbering plans change faster than the
    library that knows them, and a range it has not heard of must not be thrown away.
    """
    if not cell:
        return None
    # Chinese keyboards write ＋８６ as readily as +86.
    number = unicodedata.normalize("NFKC", cell)
    if not _PHONE.fullmatch(number):
        # Letters would be read as keys of a telephone: O becomes 6, and a stranger gets the message.
        raise BadCell("not a phone number")
    if region and region not in SUPPORTED_REGIONS:
        raise BadCell("no such region")
    try:
        parsed = parse(number, region or None)
    except NumberParseException:
        coded = region or number.startswith("+")
        raise BadCell("not a phone number" if coded else "no country code, and no region given") from None
    if is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        raise BadCell("has the wrong length for its country")
    return format_number(parsed, PhoneNumberFormat.E164)


def email(cell: str) -> str | None:
    """An address in lower case, so that an opt-out meets it however either was typed."""
    if not cell:
        return None
    try:
        found = validate_email(cell, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise BadCell(str(error).rstrip(".")) from None
    return found.normalized.lower()


def suppressed_address(cell: str, channel: str, region: str) -> str:
    """An address in the form in which the channel's messages would use it."""
    if channel in PHONE_CHANNELS:
        value = phone(cell, region)
    elif channel == "email":
        value = email(cell)
    else:
        value = identifier(cell)
    if not value:
        raise BadCell("empty")
    return value
