"""What each kind of file holds: its columns, and who reads each."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any

from worker.domain.holds import HoldType
from worker.domain.message import CHANNELS
from worker.domain.rules.vocabulary import OUTCOMES, PURPOSES
from worker.pipeline.importing import fields


class Kind(StrEnum):
    """A file of one kind; named in the order in which the kinds build on each other."""

    BORROWERS = "borrowers"
    ACCOUNTS = "accounts"
    HOLDS = "holds"
    SUPPRESSIONS = "suppressions"
    CONSENTS = "consents"
    CONTACTS = "contacts"


SUPPRESSION_REASONS = (
    "opted_out",
    "invalid_recipient",
    "wrong_number",
    "hard_bounce",
    "complaint",
    "manual",
)


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a row."""

    name: str
    """Its column in the file and in the staging table."""
    read: Callable[..., Any]
    """Gets the cell, and those of `along`; raises BadCell."""
    along: tuple[str, ...] = ()
    """Further columns that reading takes; empty text where the file has no such column."""
    lenient: bool = False
    """A bad cell is a warning and no value: losing the whole row would be worse."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind of file."""

    fields: tuple[Field, ...]
    optional: frozenset[str] = frozenset()
    """Columns a file may do without."""

    def columns(self) -> tuple[str, ...]:
        """Every column such a file may have."""
        names = (name for field in self.fields for name in (field.name, *field.along))
        return tuple(dict.fromkeys(names))


def spec(kind: Kind, region: str) -> Spec:
    """The columns of a kind. `region` reads phone numbers that bring neither code nor region; may be
    empty.
    """
    match kind:
        case Kind.BORROWERS:
            return _borrowers(region)
        case Kind.SUPPRESSIONS:
            return _suppressions(region)
        case Kind.ACCOUNTS:
            return _ACCOUNTS
        case Kind.HOLDS:
            return _HOLDS
        case Kind.CONSENTS:
            return _CONSENTS
        case Kind.CONTACTS:
            return _CONTACTS


def _borrowers(region: str) -> Spec:
    return Spec(
        (
            Field("borrower_id", fields.identifier),
            Field("name", fields.name),
            Field("zone", fields.zone, lenient=True),
            Field("phone", partial(_phone, region), along=("phone_region",), lenient=True),
            Field("email", fields.email, lenient=True),
            Field("agreed_hours", fields.hours_or_none),
            # Not lenient: without its closed hours a borrower would be written to in them.
            Field("closed_hours", fields.hours_or_none),
        ),
        optional=frozenset({"phone_region", "agreed_hours", "closed_hours"}),
    )


def _suppressions(region: str) -> Spec:
    return Spec(
        (
            Field("channel", fields.one_of(CHANNELS)),
            Field("address", partial(_address, region), along=("channel",)),
            Field("reason", fields.one_of(SUPPRESSION_REASONS)),
            Field("since", fields.day_or_none),
        ),
        optional=frozenset({"since"}),
    )


def _phone(default: str, cell: str, region: str) -> str | None:
    return fields.phone(cell, region.upper() or default)


def _address(region: str, cell: str, channel: str) -> str:
    return fields.suppressed_address(cell, channel, region)


def _promised(cell: str, type_: str) -> Decimal | None:
    if not cell:
        return None
    if type_ != HoldType.PROMISE_TO_PAY:
        raise fields.BadCell(f"only a {HoldType.PROMISE_TO_PAY} has one")
    return fields.money_owed(cell)


_ACCOUNTS = Spec(
    (
        Field("account_id", fields.identifier),
        Field("portfolio", fields.identifier),
        Field("borrower_id", fields.identifier),
        Field("principal", fields.money),
        Field("amount_due", fields.money),
        Field("currency", fields.currency),
        Field("due_on", fields.day),
        Field("daily_late_rate", fields.daily_rate),
        Field("delinquent_since", fields.day_or_none),
    ),
    optional=frozenset({"delinquent_since"}),
)
_HOLDS = Spec(
    (
        Field("hold_id", fields.identifier),
        Field("borrower_id", fields.identifier),
        Field("portfolio", fields.identifier_or_none),
        Field("account_id", fields.identifier_or_none),
        Field("type", fields.one_of(tuple(HoldType))),
        Field("starts_on", fields.day),
        Field("ends_on", fields.day_or_none),
        Field("reason", fields.remark),
        # Lenient: without the amount the hold still holds, without the row nothing would.
        Field("promised_amount", _promised, along=("type",), lenient=True),
    ),
    optional=frozenset({"promised_amount"}),
)
_CONSENTS = Spec(
    (
        Field("borrower_id", fields.identifier),
        Field("channel", fields.one_of(CHANNELS)),
        Field("kind", fields.identifier),
        Field("given_at", fields.day_or_instant),
        Field("revoked_at", fields.day_or_instant_or_none),
        Field("source", fields.remark),
    )
)
_CONTACTS = Spec(
    (
        Field("contact_id", fields.identifier),
        Field("borrower_id", fields.identifier),
        Field("portfolio", fields.identifier_or_none),
        Field("account_id", fields.identifier_or_none),
        Field("at", fields.instant),
        Field("channel", fields.one_of(CHANNELS)),
        Field("tier", fields.identifier_or_none),
        Field("outcome", fields.one_of(tuple(OUTCOMES))),
        Field("purpose", fields.one_of_or_none(tuple(PURPOSES))),
        Field("direction", fields.one_of_or_none(("out", "in"))),
    ),
    optional=frozenset({"purpose", "direction"}),
)
