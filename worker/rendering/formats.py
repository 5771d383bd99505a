"""Money, rates, dates and days in words of a locale. Babel decides how they look; this makes it cheap.

Babel's `format_currency` costs more than the rest of an SMS together, so its pattern is taken apart once per
locale and currency. Where the parts do not reproduce Babel exactly (Indian grouping, Arabic digits), Babel is
asked every time.
"""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

from babel import Locale
from babel.dates import format_date, format_timedelta
from babel.numbers import (
    format_currency,
    format_percent,
    get_currency_precision,
    get_decimal_symbol,
    get_group_symbol,
)

_PROBES = (Decimal(0), Decimal("7.5"), Decimal("1234.5678"), Decimal("9876543.219"))
_NO_LARGER_UNIT = 10**9  # never "2 months" for 61 days


@lru_cache(maxsize=64)
def locale_of(tag: str) -> Locale:
    """The Babel locale of a BCP 47 tag.

    Raises:
        ValueError, babel.UnknownLocaleError: not a tag, or not a locale Babel has data for.
    """
    return Locale.parse(tag, sep="-")


def money(amount: Decimal, currency: str, locale: str) -> str:
    """The amount with the currency's own number of decimals, rounded half to even: ¥1,234.50."""
    if amount < 0:  # where the sign stands is the pattern's business
        return format_currency(amount, currency, locale=locale_of(locale))
    return _money_formatter(locale, currency)(amount)


@lru_cache(maxsize=256)
def _money_formatter(locale: str, currency: str) -> Callable[[Decimal], str]:
    parsed = locale_of(locale)

    def by_babel(amount: Decimal) -> str:
        return format_currency(amount, currency, locale=parsed)

    prefix, _, suffix = by_babel(Decimal(8)).partition("8")
    decimals = get_currency_precision(currency)
    suffix = suffix[decimals + 1 :] if decimals else suffix
    spec = f",.{decimals}f"
    symbols = str.maketrans({",": get_group_symbol(parsed), ".": get_decimal_symbol(parsed)})
    same_symbols = symbols == {ord(","): ",", ord("."): "."}

    def by_parts(amount: Decimal) -> str:
        digits = format(amount, spec)
        return f"{prefix}{digits if same_symbols else digits.translate(symbols)}{suffix}"

    faithful = all(by_parts(probe) == by_babel(probe) for probe in _PROBES)
    return by_parts if faithful else by_babel


@lru_cache(maxsize=4096)
def day(on: date, locale: str) -> str:
    """The date with its month in words, so that no one reads 3/9 as September: March 9, 2026."""
    return format_date(on, "long", locale=locale_of(locale))


@lru_cache(maxsize=4096)
def days(count: int, locale: str) -> str:
    """A number of days with its unit: 1 day, 8 days, 8天. A debt is never less than nothing overdue."""
    span = timedelta(days=max(count, 0))
    return format_timedelta(span, granularity="day", threshold=_NO_LARGER_UNIT, locale=locale_of(locale))


@lru_cache(maxsize=1024)
def percent(rate: Decimal, locale: str) -> str:
    """A fraction as per cent with up to six decimals, none of them padding: 0.0005 is 0.05%."""
    return format_percent(rate, "#,##0.######%", locale=locale_of(locale))
