from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from worker.pipeline.importing.errors import ImportRefused
from worker.pipeline.importing.kinds import Kind, spec
from worker.pipeline.importing.rows import Row, RowReader

HEADERS = {
    Kind.BORROWERS: "borrower_id,name,zone,phone,email,phone_region",
    Kind.ACCOUNTS: "account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate,"
    "delinquent_since",
    Kind.HOLDS: "hold_id,borrower_id,portfolio,account_id,type,starts_on,ends_on,reason",
    Kind.SUPPRESSIONS: "channel,address,reason,since",
    Kind.CONSENTS: "borrower_id,channel,kind,given_at,revoked_at,source",
    Kind.CONTACTS: "contact_id,borrower_id,portfolio,account_id,at,channel,tier,outcome",
}
CELLS = {
    Kind.BORROWERS: "B1,Ann Example,Europe/London,+447700900001,ann@example.com,",
    Kind.ACCOUNTS: "A1,uk,B1,5000,120.50,GBP,2026-02-20,0.0005,",
    Kind.HOLDS: "H1,B1,,,dispute,2026-02-20,,says so",
    Kind.SUPPRESSIONS: "sms,+447700900001,opted_out,2026-01-31",
    Kind.CONSENTS: "B1,sms,tcpa_consent,2026-01-31,,web",
    Kind.CONTACTS: "C1,B1,uk,A1,2026-02-20T10:00:00+00:00,sms,stern,delivered",
}
GOOD = {kind: dict(zip(HEADERS[kind].split(","), CELLS[kind].split(","), strict=True)) for kind in Kind}


def read(kind: Kind, region: str = "", /, **cells: str) -> Row:
    row = GOOD[kind] | cells
    return RowReader(spec(kind, region), list(row))(list(row.values()))


def value(kind: Kind, column: str, cell: str, region: str = "", /, **cells: str) -> object:
    row = read(kind, region, **{column: cell}, **cells)
    assert row.reject is None
    assert row.warning is None
    return row.values[[field.name for field in spec(kind, region).fields].index(column)]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_good_row_is_read_without_complaint(kind: Kind) -> None:
    row = read(kind)
    assert (row.reject, row.warning) == (None, None)


@pytest.mark.parametrize(
    ("kind", "column", "cell", "says"),
    [
        (Kind.BORROWERS, "borrower_id", "", "empty"),
        (Kind.BORROWERS, "borrower_id", "B" * 129, "longer than 128"),
        (Kind.BORROWERS, "borrower_id", "B\t1", "control characters"),
        (Kind.BORROWERS, "name", " ", "empty"),
        (Kind.BORROWERS, "name", "n" * 201, "longer than 200"),
        (Kind.ACCOUNTS, "amount_due", "", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "-1", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "+1", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "1,000.00", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "1 000", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "1.23456", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "1000000000000000", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "NaN", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "Infinity", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "1e3", "not an amount"),
        (Kind.ACCOUNTS, "amount_due", "\u0661\u0662", "not an amount"),
        (Kind.ACCOUNTS, "principal", "£5", "not an amount"),
        (Kind.ACCOUNTS, "currency", "gbp", "three capital letters"),
        (Kind.ACCOUNTS, "currency", "", "three capital letters"),
        (Kind.ACCOUNTS, "due_on", "", "YYYY-MM-DD"),
        (Kind.ACCOUNTS, "due_on", "20/02/2026", "YYYY-MM-DD"),
        (Kind.ACCOUNTS, "due_on", "20260220", "YYYY-MM-DD"),
        (Kind.ACCOUNTS, "due_on", "2026-W08-5", "YYYY-MM-DD"),
        (Kind.ACCOUNTS, "due_on", "2026-02-30", "no such day"),
        (Kind.ACCOUNTS, "due_on", "0206-02-20", "not plausible"),
        (Kind.ACCOUNTS, "daily_late_rate", "1", "fraction"),
        (Kind.ACCOUNTS, "daily_late_rate", "0.05%", "fraction"),
        (Kind.ACCOUNTS, "daily_late_rate", "-0.1", "fraction"),
        (Kind.ACCOUNTS, "daily_late_rate", "0.0000000001", "fraction"),
        (Kind.ACCOUNTS, "delinquent_since", "soon", "YYYY-MM-DD"),
        (Kind.HOLDS, "type", "holiday", "not one of dispute, "),
        (Kind.HOLDS, "ends_on", "2026-02-20T10:00", "YYYY-MM-DD"),
        (Kind.HOLDS, "reason", "r" * 501, "longer than 500"),
        (Kind.SUPPRESSIONS, "channel", "pigeon", "not one of sms, "),
        (Kind.SUPPRESSIONS, "reason", "bored", "not one of opted_out, "),
        (Kind.SUPPRESSIONS, "address", "", "empty"),
        (Kind.SUPPRESSIONS, "address", "07700 900001", "no country code"),
        (Kind.CONSENTS, "given_at", "2026-01-31T10:00:00", "offset"),
        (Kind.CONSENTS, "kind", "", "empty"),
        (Kind.CONSENTS, "revoked_at", "yes", "YYYY-MM-DD"),
        (Kind.CONTACTS, "at", "2026-02-20", "not a time"),
        (Kind.CONTACTS, "at", "2026-02-20 10:00", "offset"),
        (Kind.CONTACTS, "at", "2026-02-20T25:00:00Z", "not a time"),
        (Kind.CONTACTS, "at", "0001-01-01T00:00:00+14:00", "not a time"),
        (Kind.CONTACTS, "outcome", "maybe", "not one of sent, "),
    ],
)
def test_a_bad_cell_rejects_its_row_and_names_the_column(
    kind: Kind, column: str, cell: str, says: str
) -> None:
    row = read(kind, **{column: cell})
    assert row.reject is not None
    assert row.reject.startswith(f"{column}: ")
    assert says in row.reject


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("phone", "unknown", "not a phone number"),
        ("phone", "07700 900001", "no country code"),
        ("phone", "+44 7700 9000010", "wrong length"),
        ("phone", "+1 212 555 01O1", "not a phone number"),
        ("phone", "+12125550143 ext 5", "not a phone number"),
        ("phone", "+1", "not a phone number"),
        ("email", "ann@@example.com", ""),
        ("email", "ann@example", ""),
        ("email", "ann smith@example.com", ""),
        ("zone", "Europe/Londinium", "no such time zone"),
        ("zone", "../../etc/passwd", "no such time zone"),
    ],
)
def test_a_borrower_is_loaded_without_an_address_or_zone_that_is_broken(
    column: str, cell: str, says: str
) -> None:
    row = read(Kind.BORROWERS, **{column: cell})
    assert row.reject is None
    assert row.warning is not None
    assert row.warning.startswith(f"{column}: ")
    assert says in row.warning
    assert row.warning.endswith("(loaded without it)")
    at = [field.name for field in spec(Kind.BORROWERS, "").fields].index(column)
    assert row.values[at] is None


def test_every_fault_of_a_row_is_told_at_once() -> None:
    row = read(Kind.ACCOUNTS, amount_due="-1", currency="pound", due_on="today")
    assert row.reject is not None
    assert [part.split(":")[0] for part in row.reject.split("; ")] == ["amount_due", "currency", "due_on"]


def test_a_rejected_row_still_carries_the_id_that_could_be_read() -> None:
    assert read(Kind.ACCOUNTS, amount_due="-1").values[0] == "A1"


@pytest.mark.parametrize(
    ("cell", "region", "expected"),
    [
        ("+44 7700 900001", "", "+447700900001"),
        ("07700 900001", "GB", "+447700900001"),
        ("(212) 555-0143", "US", "+12125550143"),
        ("＋１２１２５５５０１４３", "", "+12125550143"),
        ("", "", None),
    ],
)
def test_a_phone_number_becomes_e164(cell: str, region: str, expected: str | None) -> None:
    assert value(Kind.BORROWERS, "phone", cell, region) == expected


def test_a_rows_own_region_goes_before_the_default() -> None:
    assert value(Kind.BORROWERS, "phone", "07700 900001", "US", phone_region="gb") == "+447700900001"


def test_a_number_in_a_range_the_library_does_not_know_is_kept() -> None:
    # 555-01xx is fiction: possible by its length, valid by no numbering plan.
    assert value(Kind.BORROWERS, "phone", "+19995550100") == "+19995550100"


def test_a_number_without_its_area_code_is_not_kept() -> None:
    assert read(Kind.BORROWERS, "US", phone="555-0143").warning is not None


def test_an_email_address_is_kept_in_lower_case() -> None:
    assert value(Kind.BORROWERS, "email", "Ann@Example.COM") == "ann@example.com"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Ann\r\nExample", "Ann Example"),
        ("Ann\x07 \u202eExample\u2028", "Ann Example"),
        ("Zoë O'Hara-Łukasz", "Zoë O'Hara-Łukasz"),
        ("王小明", "王小明"),
    ],
)
def test_a_name_is_one_line_without_control_characters(cell: str, expected: str) -> None:
    assert value(Kind.BORROWERS, "name", cell) == expected


def test_money_and_rates_are_exact() -> None:
    assert value(Kind.ACCOUNTS, "amount_due", "999999999999999.9999") == Decimal("999999999999999.9999")
    assert value(Kind.ACCOUNTS, "daily_late_rate", "0.000000001") == Decimal("0.000000001")
    assert value(Kind.ACCOUNTS, "daily_late_rate", "") is None


def test_times_become_utc_and_a_bare_date_its_first_moment() -> None:
    at = value(Kind.CONTACTS, "at", "2026-02-20T10:00:00+08:00")
    assert at == datetime(2026, 2, 20, 2, tzinfo=UTC)
    assert value(Kind.CONSENTS, "given_at", "2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert value(Kind.ACCOUNTS, "due_on", "2024-02-29") == date(2024, 2, 29)


@pytest.mark.parametrize(
    ("channel", "address", "expected"),
    [
        ("voice", "07700 900001", "+447700900001"),
        ("email", "Ann@Example.com", "ann@example.com"),
        ("in_app", "B1", "B1"),
    ],
)
def test_a_suppressed_address_takes_the_form_its_channel_uses(
    channel: str, address: str, expected: str
) -> None:
    assert value(Kind.SUPPRESSIONS, "address", address, "GB", channel=channel) == expected


def test_columns_may_stand_in_any_order_and_optional_ones_may_be_missing() -> None:
    reader = RowReader(spec(Kind.BORROWERS, ""), [" email", "phone", "zone", "name", "borrower_id"])
    expected = ["B1", "Ann", None, "+447700900001", None, None, None]
    assert reader(["", "+447700900001", "", "Ann", "B1"]).values == expected


def test_a_wrong_header_names_everything_that_is_wrong_with_it() -> None:
    with pytest.raises(ImportRefused) as error:
        RowReader(spec(Kind.BORROWERS, ""), ["borrower_id", "name", "name", "shoe_size", "phone"])
    assert "missing: zone, email" in str(error.value)
    assert "unknown: shoe_size" in str(error.value)
    assert "twice: name" in str(error.value)


@pytest.mark.parametrize("cells", [["B1", "Ann"], ["B1", "Ann", "", "", "", "", "more"]])
def test_no_value_is_taken_from_a_row_that_is_too_short_or_too_long(cells: list[str]) -> None:
    row = RowReader(spec(Kind.BORROWERS, ""), list(GOOD[Kind.BORROWERS]))(cells)
    assert row.reject == f"{len(cells)} columns instead of 6"
    assert set(row.values) == {None}


def test_a_row_with_a_nul_byte_is_rejected_even_where_a_column_is_lenient() -> None:
    row = read(Kind.BORROWERS, phone="\0")
    assert row.reject == "contains a NUL byte"
