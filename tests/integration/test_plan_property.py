"""For any policy and any book, planning's SQL and the domain's Python see the same tiers."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from worker.domain.tiers import Tier, floors, tier_of
from worker.store import plan as store
from worker.store.claim import Share, claim

TODAY = date(2026, 11, 23)
Account = tuple[int, Decimal]
"""Days past due and amount due."""

amounts = st.decimals(Decimal("0.01"), Decimal(60), places=2)
accounts = st.lists(st.tuples(st.integers(1, 40), amounts), min_size=1, max_size=12)


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Tier, ...]:
    """Tiers that ascend, with and without gaps, ends and amounts."""
    tiers, day = [], 0
    count = draw(st.integers(1, 4))
    for index in range(count):
        first = day + draw(st.integers(1, 5))
        open_end = index == count - 1 and draw(st.booleans())
        last = None if open_end else first + draw(st.integers(0, 8))
        amount = draw(st.none() | amounts)
        tiers.append(Tier(f"t{index}", first, last, amount_from=amount, channels=("sms",)))
        day = last or first
    return tuple(tiers)


def planned(connection: Connection, tiers: tuple[Tier, ...], book: list[Account]) -> Iterator[str | None]:
    """The tier that planning gives each account, each of a borrower of its own; None: in no tier."""
    insert = text("""
        WITH b AS (INSERT INTO borrowers (external_id, name, phone)
                   VALUES (:name, 'x', '+447700900001') RETURNING id)
        INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on)
        SELECT 'uk', id, :name, 100, :amount, :due_on FROM b
    """)
    for number, (dpd, amount) in enumerate(book):
        values = {"name": f"{number:03d}", "amount": amount, "due_on": TODAY - timedelta(days=dpd)}
        connection.execute(insert, values)
    present = connection.execute(text("SELECT policy_hash FROM portfolios WHERE id = 'uk'")).scalar_one()
    run = store.create_run(
        connection,
        portfolio="uk",
        policy_hash=present,
        mode="sandbox",
        business_on=TODAY,
        requested_by="tests",
        tiers=tiers,
        size=5,
    )
    assert run is not None
    sums = store.Planned()
    while (shard := store.take_shard(connection, run)) is not None:
        sums += store.plan_shard(connection, run, shard, tiers)
    assert (sums.overdue, sums.covered + sums.excluded) == (len(book), len(book))
    found = text("""
        SELECT x.tier, e.reason, m.tier AS message_tier FROM accounts a
        LEFT JOIN message_accounts x ON x.account_id = a.id LEFT JOIN messages m ON m.id = x.message_id
        LEFT JOIN run_exclusions e ON e.account_id = a.id ORDER BY a.external_id
    """)
    for row in connection.execute(found):
        assert (row.tier is None) == (row.reason == "no_tier")
        assert row.message_tier == row.tier
        yield row.tier


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example is rolled back
)
@given(tiers=ladders(), book_of=accounts)
def test_planning_puts_an_account_in_the_tier_that_the_domain_names(
    book: Any, engine: Engine, tiers: tuple[Tier, ...], book_of: list[Account]
) -> None:
    assert book
    with engine.connect() as connection, connection.begin() as transaction:
        names = list(planned(connection, tiers, book_of))
        transaction.rollback()
    expected = [tier_of(tiers, dpd, amount) for dpd, amount in book_of]
    assert names == [tier and tier.name for tier in expected]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tiers=ladders(), book_of=accounts, data=st.data())
def test_the_claim_cancels_exactly_what_fell_below_the_floor_that_the_domain_names(
    book: Any, engine: Engine, tiers: tuple[Tier, ...], book_of: list[Account], data: st.DataObject
) -> None:
    book.at("2026-11-23T10:00Z")
    changed = data.draw(st.lists(st.tuples(st.integers(1, 40), amounts), min_size=12, max_size=12))
    with engine.connect() as connection, connection.begin() as transaction:
        names = list(planned(connection, tiers, book_of))
        for number, (dpd, amount) in enumerate(changed):
            connection.execute(
                text("UPDATE accounts SET due_on = :on, amount_due = :amount WHERE external_id = :name"),
                {"on": TODAY - timedelta(days=dpd), "amount": amount, "name": f"{number:03d}"},
            )
        found = claimed(connection)
        transaction.rollback()
    expected = {}
    for number, name in enumerate(names):
        if name is not None:
            days, least = floors(tiers)[name]
            below = changed[number][0] < days and (least is None or changed[number][1] < least)
            expected[f"{number:03d}"] = "tier_changed" if below else None
    assert found == expected


def claimed(connection: Connection) -> dict[str, str | None]:
    """Why the claim did not take each borrower's message; None: it did."""
    connection.execute(
        text("""
            UPDATE messages m SET state = 'scheduled', send_at = dunlin_now(),
                   send_before = dunlin_now() + interval '1 h', admitted_at = clock_timestamp(),
                   facts_seen_at = b.facts_changed_at
            FROM borrowers b WHERE b.id = m.borrower_id
        """)
    )
    rows = claim(
        connection,
        share=Share("uk", "sms", "twilio", ("twilio",), free=True),
        token=uuid4(),
        worker="t",
        lease_s=30.0,
        limit=100,
        rules_hash="",
        deadline_s=0.0,
    )
    return {row["borrower"]: row["reason"] for row in rows}
