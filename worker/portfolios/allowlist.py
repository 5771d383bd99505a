"""Entries of an allowlist, brought into the form in which messages use addresses, so that one that was typed
differently is met all the same.
"""

import unicodedata

from email_validator import EmailNotValidError, validate_email
from phonenumbers import (
    NumberParseException,
    PhoneNumberFormat,
    ValidationResult,
    format_number,
    is_possible_number_with_reason,
    parse,
)
from pydantic import ValidationInfo

_PHONE_MARKS = frozenset("+ ().-/")
_ID_MAX_CHARS = 128


def normalised(entries: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Phone numbers in E.164, read by the portfolio's region; mail addresses in lower case; ids as they are.

    Raises:
        ValueError: an entry is none of them. It is named by its place: errors are logged, addresses are not.
    """
    found: list[str] = []
    for place, entry in enumerate(entries, 1):
        try:
            found += _forms(entry.strip(), info.data.get("region"))
        except ValueError as error:
            raise ValueError(f"entry {place}: {error}") from None
    return tuple(dict.fromkeys(found))


def _forms(entry: str, region: str | None) -> list[str]:
    if "@" in entry:
        try:
            return [
                validate_email(entry, check_deliverability=False, test_environment=True).normalized.lower()
            ]
        except EmailNotValidError:
            raise ValueError("not an e-mail address") from None
    number = _phone(unicodedata.normalize("NFKC", entry), region)
    if number is None and entry.startswith(("+", "＋")):
        raise ValueError("not a phone number with its country code")
    if number is not None and not (entry.isascii() and entry.isdigit()):
        return [number]
    if not entry or len(entry) > _ID_MAX_CHARS or not entry.isprintable():
        raise ValueError("neither a phone number, nor an e-mail address, nor a borrower's id")
    # Digits alone can be a number without its country code as well as an id: nobody else can tell which.
    return [entry] if number is None else [number, entry]


def _phone(entry: str, region: str | None) -> str | None:
    # Letters would be read as keys of a telephone: O becomes 6.
    if not all(each.isdigit() or each in _PHONE_MARKS for each in entry):
        return None
    try:
        parsed = parse(entry, region)
    except NumberParseException:
        return None
    # As an import reads them: a length that is possible, and not only within one town.
    if is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        return None
    return format_number(parsed, PhoneNumberFormat.E164)
