"""The models are the migrated schema, and the schema itself refuses what must not be."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg import errors
from sqlalchemy import Connection, Engine, Executable, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from worker.domain.states import ENDINGS, MOVES, State, may_move
from worker.store.models import Audit, Base, ClockOffset, Message, MessageEvent, Portfolio, Run, Version

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
BUSINESS_ON = date(2026, 3, 2)
CHILDREN = text("SELECT relname FROM pg_class WHERE relispartition")

# All of a schema that can be said of its tables one by one, as PostgreSQL itself spells it.
CATALOGUE = text("""
    WITH tables AS (
        SELECT oid, relname FROM pg_class WHERE relnamespace = CAST(CAST(:schema AS text) AS regnamespace)
        AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'alembic_version'
    ), facts AS (
        SELECT relname, 'partitioned' AS what, coalesce(pg_get_partkeydef(oid), 'no') AS fact FROM tables
        UNION ALL
        SELECT relname, 'column ' || attnum || ' ' || attname, concat_ws(' ', format_type(atttypid,
            atttypmod), CASE WHEN attnotnull THEN 'not null' END, attidentity, pg_get_expr(adbin, adrelid))
        FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        UNION ALL
        SELECT relname, 'constraint ' || conname, pg_get_constraintdef(c.oid)
        FROM tables t JOIN pg_constraint c ON conrelid = t.oid
        UNION ALL
        SELECT relname, 'index', pg_get_indexdef(indexrelid) FROM tables JOIN pg_index ON indrelid = oid
    )
    SELECT relname, what, replace(fact, :schema || '.', '') FROM facts
""")


def message(state: State = State.PLANNED, **changes: Any) -> dict[str, Any]:
    """A row that satisfies every CHECK in any state."""
    return {
        "business_on": BUSINESS_ON,
        "id": uuid4(),
        "run_id": UUID(int=1),
        "portfolio_id": "cards",
        "borrower_id": 1,
        "channel": "sms",
        "purpose": "collection",
        "tier": "reminder",
        "mode": "sandbox",
        "occurrence": 0,
        "state": state,
        "reason": "a_reason",
        "shard": 0,
        "planned_at": NOW,
        "decide_at": NOW,
        "send_at": NOW,
        "send_before": NOW + timedelta(hours=1),
        "expires_at": NOW + timedelta(days=1),
        "requires_approval": False,
        "sent_at": NOW,
        "lease_until": lease(state),
        "lease_token": uuid4(),
        "attempt_id": uuid4(),
    } | changes


def lease(state: State) -> datetime | None:
    return NOW if state is State.SENDING else None


def portfolios(connection: Connection, *ids: str) -> None:
    """Sandbox portfolios, with the policy they need."""
    connection.execute(insert(Version).values(hash="h", kind="policy", name="p", body={}))
    rest = {"policy_hash": "h", "mode": "sandbox", "currency": "USD", "timezone": "UTC", "region": "us"}
    connection.execute(insert(Portfolio), [{"id": name, "title": name, **rest} for name in ids])


def refusal(connection: Connection, statement: Executable) -> Any:
    """The database's own error; None where it accepts, and then the change stays."""
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except DBAPIError as error:
        return error.orig
    return None


def clock_ahead(connection: Connection) -> timedelta:
    ahead = connection.scalar(text("SELECT dunlin_now() - clock_timestamp()"))
    assert isinstance(ahead, timedelta)
    return ahead


def test_alembic_finds_no_difference_between_the_models_and_the_migrated_database(engine: Engine) -> None:
    with engine.connect() as connection:
        children = set(connection.scalars(CHILDREN))
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_object": lambda _, name, kind, *__: kind != "table" or name not in children,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_tables_made_from_the_models_are_spelled_by_postgres_as_the_migrated_ones(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("CREATE SCHEMA mirror"))
        Base.metadata.create_all(connection.execution_options(schema_translate_map={None: "mirror"}))
        migrated = {tuple(row) for row in connection.execute(CATALOGUE, {"schema": "public"})}
        mirrored = {tuple(row) for row in connection.execute(CATALOGUE, {"schema": "mirror"})}
    assert mirrored == migrated


def test_of_all_pairs_of_states_only_the_moves_of_the_table_are_accepted(engine: Engine) -> None:
    pairs = [(old, new) for old in State for new in State]
    rows = [message(old, borrower_id=number) for number, (old, _) in enumerate(pairs)]
    answers, expected = {}, {}
    with engine.connect() as connection:
        connection.execute(insert(Message), rows)
        for (old, new), row in zip(pairs, rows, strict=True):
            move = update(Message).where(Message.id == row["id"]).values(state=new, lease_until=lease(new))
            error = refusal(connection, move)
            answers[old, new] = error and (type(error), error.diag.message_primary)
            words = f"message {row['id']}: no move from {old} to {new}"
            allowed = old is new or may_move(old, new)
            expected[old, new] = None if allowed else (errors.CheckViolation, words)
    assert answers == expected


def test_every_change_of_state_leaves_exactly_one_event_with_its_actor(engine: Engine) -> None:
    moves = [(old, new) for old, news in MOVES.items() for new in news]
    rows = [message(old, borrower_id=n, attempt_id=UUID(int=n)) for n, (old, _) in enumerate(moves)]
    with engine.connect() as connection:
        connection.execute(insert(Message), rows)
        for new in State:  # many messages in one statement
            ids = [row["id"] for row, move in zip(rows, moves, strict=True) if move[1] is new]
            one = update(Message).values(state=new, lease_until=lease(new), reason=f"became_{new}")
            connection.execute(one.where(Message.id.in_(ids)))
        events = connection.execute(select(MessageEvent)).all()
        actor = connection.scalar(text("SELECT current_setting('application_name')"))
    assert actor.startswith("dunlin-tests@")
    assert Counter(
        (e.business_on, e.message_id, e.attempt_id, e.kind, e.from_state, e.to_state, e.reason, e.actor)
        for e in events
    ) == Counter(
        (BUSINESS_ON, row["id"], row["attempt_id"], "state", old, new, f"became_{new}", actor)
        for row, (old, new) in zip(rows, moves, strict=True)
    )


def test_a_change_that_keeps_the_state_leaves_no_event(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(insert(Message), [message()])
        assert connection.execute(update(Message).values(tier="stern", state="planned")).rowcount == 1
        assert connection.scalar(text("SELECT count(*) FROM message_events")) == 0


def test_message_events_refuse_update_and_delete(engine: Engine) -> None:
    event = {"business_on": BUSINESS_ON, "message_id": uuid4(), "at": NOW, "kind": "note", "actor": "x"}
    with engine.connect() as connection:
        connection.execute(insert(MessageEvent).values(event))
        for change in (update(MessageEvent).values(actor="y"), delete(MessageEvent)):
            assert isinstance(refusal(connection, change), errors.InsufficientPrivilege)


def test_the_audit_refuses_update_and_delete(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(insert(Audit).values(actor="x", action="pause", subject="sms"))
        for change in (update(Audit).values(actor="y"), delete(Audit)):
            assert isinstance(refusal(connection, change), errors.InsufficientPrivilege)


def test_a_second_message_is_refused_unless_the_first_ended_unsent(engine: Engine) -> None:
    with engine.connect() as connection:
        for number, state in enumerate(State):
            connection.execute(insert(Message), [message(state, borrower_id=number)])
            error = refusal(connection, insert(Message).values(message(borrower_id=number)))
            assert isinstance(error, errors.UniqueViolation) == (state not in ENDINGS), state


def test_live_messages_that_differ_in_one_part_of_the_key_stand_side_by_side(engine: Engine) -> None:
    others: dict[str, Any] = {"business_on": date(2026, 3, 3), "portfolio_id": "loans", "borrower_id": 2}
    others |= {"channel": "email", "purpose": "service", "mode": "live", "occurrence": 1}
    with engine.connect() as connection:
        connection.execute(insert(Message), [message()])
        for column, value in others.items():
            assert refusal(connection, insert(Message).values(message(**{column: value}))) is None


def test_a_second_original_run_of_a_portfolio_and_date_is_refused_and_a_rerun_is_not(engine: Engine) -> None:
    facts: dict[str, Any] = {"business_on": BUSINESS_ON, "policy_hash": "h", "mode": "sandbox"}
    facts |= {"portfolio_id": "cards", "state": "open", "tier_floors": {}, "requested_by": "x"}
    with engine.connect() as connection:
        portfolios(connection, "cards")
        first = connection.execute(insert(Run).values(facts).returning(Run.id)).scalar_one()
        assert isinstance(refusal(connection, insert(Run).values(facts)), errors.UniqueViolation)
        assert refusal(connection, insert(Run).values(facts | {"rerun_of": first})) is None


def test_an_ended_or_unconfirmed_message_needs_a_reason(engine: Engine) -> None:
    with engine.connect() as connection:
        for number, state in enumerate(State):
            row = message(state, reason=None, borrower_id=number)
            error = refusal(connection, insert(Message).values(row))
            named = error and error.diag.constraint_name
            needs = state in (*ENDINGS, State.UNCONFIRMED)
            assert named == ("messages_ended_with_reason" if needs else None), state


def test_a_message_has_a_lease_while_it_is_sending_and_only_then(engine: Engine) -> None:
    with engine.connect() as connection:
        for state in State:
            row = message(state, lease_until=None if state is State.SENDING else NOW)
            assert refusal(connection, insert(Message).values(row)).diag.constraint_name == "messages_leased"


def test_one_portfolio_that_is_not_in_sandbox_stops_the_offset_of_the_clock(engine: Engine) -> None:
    week, soon = timedelta(days=7), timedelta(seconds=1)
    with engine.connect() as connection:
        portfolios(connection, "cards", "loans")
        connection.execute(update(ClockOffset).values(offset_by=week))
        for mode, ahead in (("sandbox", week), ("allowlist", timedelta(0)), ("live", timedelta(0))):
            connection.execute(update(Portfolio).where(Portfolio.id == "loans").values(mode=mode))
            assert abs(clock_ahead(connection) - ahead) < soon, mode


def test_months_are_made_once_for_every_partitioned_table_and_hold_their_rows(engine: Engine) -> None:
    made = text("SELECT dunlin_make_months(:first, :months)")
    with engine.connect() as connection:
        firsts = (date(2041, 11, 30), date(2041, 11, 1), date(2041, 12, 31))
        counts = [connection.scalar(made, {"first": day, "months": 2}) for day in firsts]
        assert counts == [14, 0, 7]  # seven tables
        days = {"2041_11": date(2041, 11, 30), "2041_12": date(2041, 12, 1), "2042_01": date(2042, 1, 31)}
        connection.execute(insert(Message), [message(business_on=day) for day in days.values()])
        places = connection.execute(text("SELECT tableoid::regclass::text, business_on FROM messages")).all()
        tables = set(connection.scalars(CHILDREN))
    assert {tuple(place) for place in places} == {(f"messages_{month}", day) for month, day in days.items()}
    parents = [t for t in Base.metadata.tables.values() if t.dialect_options["postgresql"]["partition_by"]]
    assert {f"{parent}_{month}" for parent in parents for month in days} <= tables


def test_a_row_far_in_the_future_lands_in_the_default_partition(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(insert(Message), [message(business_on=date(2999, 1, 1))])
        assert connection.scalar(text("SELECT tableoid::regclass::text FROM messages")) == "messages_default"
