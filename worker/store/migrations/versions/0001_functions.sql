-- The time of a simulation; NULL: there is none. The setting counts only in the transaction whose number it begins
-- with, and only while the database itself keeps that transaction from writing anything but temporary tables. So
-- whatever a session, a role or a pooled connection was set to: nothing is recorded at a made-up time.
CREATE FUNCTION dunlin_simulated_at() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN current_setting('transaction_read_only') = 'on'
                 AND split_part(said, ' ', 1) = pg_current_xact_id_if_assigned()::text
           THEN split_part(said, ' ', 2)::timestamptz END
    FROM (SELECT current_setting('dunlin.simulated', true) AS said) AS s
$$;

-- Dunlin's time. Outside a simulation it can be moved only while every portfolio is in sandbox: nobody real is ever
-- contacted at a made-up hour. Leases do not use it.
CREATE FUNCTION dunlin_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce(dunlin_simulated_at(), clock_timestamp() + CASE
        WHEN EXISTS (SELECT FROM portfolios WHERE mode <> 'sandbox') THEN interval '0'
        ELSE coalesce((SELECT offset_by FROM clock_offset), interval '0')
    END)
$$;

-- The same for whoever is about to contact people. Refuses where a simulation has left the least trace: its setting,
-- even one that does not count, or its copies, whose messages must not be taken for the real ones.
CREATE FUNCTION dunlin_live_now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF current_setting('dunlin.simulated', true) <> '' OR to_regclass('pg_temp.messages') IS NOT NULL THEN
        RAISE EXCEPTION 'a simulation claims and sends nothing' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN dunlin_now();
END
$$;

-- Every change of a message's state is checked against the table of moves and leaves an event, whoever makes it.
-- A person who acts by hand is named in the transaction, with their reason; else the process is.
-- Without nested loops, because a plan that was cached for one row would be walked for thousands.
CREATE FUNCTION dunlin_message_moved() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
DECLARE
    bad record;
    now timestamptz := dunlin_now();
    actor text := coalesce(nullif(current_setting('dunlin.actor', true), ''),
                           nullif(current_setting('application_name'), ''), session_user);
    why text := nullif(current_setting('dunlin.why', true), '');
BEGIN
    SELECT o.state AS from_state, n.state AS to_state, n.id INTO bad
    FROM new_rows n JOIN old_rows o ON o.id = n.id AND o.business_on = n.business_on
    LEFT JOIN message_moves m ON m.from_state = o.state AND m.to_state = n.state
    WHERE n.state <> o.state AND m.from_state IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'message %: no move from % to %', bad.id, bad.from_state, bad.to_state
            USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO message_events (business_on, message_id, attempt_id, at, kind, from_state, to_state, reason, actor)
    SELECT n.business_on, n.id, n.attempt_id, now, 'state', o.state, n.state,
           CASE WHEN why IS NULL THEN n.reason ELSE concat_ws(': ', n.reason, why) END, actor
    FROM new_rows n JOIN old_rows o ON o.id = n.id AND o.business_on = n.business_on
    WHERE n.state <> o.state;
    RETURN NULL;
END
$$;
CREATE TRIGGER message_moved AFTER UPDATE ON messages REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION dunlin_message_moved();

-- The check above finds a row again by its key.
CREATE FUNCTION dunlin_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % is refused', TG_TABLE_NAME, lower(TG_OP) USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER message_key_fixed BEFORE UPDATE OF business_on, id ON messages FOR EACH ROW
    WHEN (old.business_on <> new.business_on OR old.id <> new.id) EXECUTE FUNCTION dunlin_refuse();

-- A month of one table. Statement triggers are not inherited: a month gets its own, so that a statement which names
-- it directly is held to the same rules.
CREATE FUNCTION dunlin_guard_partition(parent text, partition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF parent = 'messages' THEN
        EXECUTE format('CREATE TRIGGER message_moved AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows '
            'NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION dunlin_message_moved()', partition);
    ELSIF parent IN ('message_events', 'message_verdicts') THEN
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION dunlin_append_only()', partition);
    END IF;
END
$$;

-- Makes the month partitions from the month of `first` on, where they are missing. Returns how many it made. A month
-- whose rows are in the DEFAULT partition already cannot be made; it is skipped, and upkeep sounds the alarm.
CREATE FUNCTION dunlin_make_months(first date, months integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    partition text;
    month date;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dunlin_make_months'));
    FOREACH parent IN ARRAY ARRAY['messages', 'message_accounts', 'message_contents', 'message_verdicts',
                                  'attempts', 'receipts', 'message_events'] LOOP
        FOR i IN 0 .. months - 1 LOOP
            month := (date_trunc('month', first::timestamp) + make_interval(months => i))::date;
            partition := parent || to_char(month, '_YYYY_MM');
            CONTINUE WHEN to_regclass(format('%I', partition)) IS NOT NULL;
            BEGIN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                               partition, parent, month, (month + interval '1 month')::date);
                PERFORM dunlin_guard_partition(parent, partition);
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                RAISE WARNING 'the DEFAULT partition of % holds rows of %', parent, month;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- What happened stays as it was written.
CREATE FUNCTION dunlin_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER message_events_append_only BEFORE UPDATE OR DELETE ON message_events
    FOR EACH ROW EXECUTE FUNCTION dunlin_append_only();
CREATE TRIGGER message_events_no_truncate BEFORE TRUNCATE ON message_events
    FOR EACH STATEMENT EXECUTE FUNCTION dunlin_append_only();
CREATE TRIGGER message_verdicts_append_only BEFORE UPDATE OR DELETE ON message_verdicts
    FOR EACH ROW EXECUTE FUNCTION dunlin_append_only();
CREATE TRIGGER message_verdicts_no_truncate BEFORE TRUNCATE ON message_verdicts
    FOR EACH STATEMENT EXECUTE FUNCTION dunlin_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION dunlin_append_only();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION dunlin_append_only();

-- The net under the months that upkeep makes ahead; a row in it is an alarm.
CREATE TABLE messages_default PARTITION OF messages DEFAULT;
CREATE TABLE message_accounts_default PARTITION OF message_accounts DEFAULT;
CREATE TABLE message_contents_default PARTITION OF message_contents DEFAULT;
CREATE TABLE message_verdicts_default PARTITION OF message_verdicts DEFAULT;
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;
CREATE TABLE receipts_default PARTITION OF receipts DEFAULT;
CREATE TABLE message_events_default PARTITION OF message_events DEFAULT;
SELECT dunlin_guard_partition('messages', 'messages_default'),
       dunlin_guard_partition('message_events', 'message_events_default'),
       dunlin_guard_partition('message_verdicts', 'message_verdicts_default');
SELECT dunlin_make_months((current_date - interval '1 month')::date, 5);

-- The types of the active holds that stop a message: those on the borrower, or else, if every account of the
-- message that still owes has one of its own, those.
CREATE FUNCTION dunlin_message_holds(message_on date, message uuid, borrower bigint, at timestamptz)
RETURNS text[] LANGUAGE sql STABLE AS $$
    WITH active AS (
        SELECT h.account_id, h.type FROM holds h
        WHERE h.borrower_id = borrower AND h.lifted_at IS NULL AND h.starts_at <= at
          AND (h.ends_at IS NULL OR h.ends_at > at)
    ), owing AS (
        SELECT a.id FROM message_accounts x JOIN accounts a ON a.id = x.account_id
        WHERE x.business_on = message_on AND x.message_id = message AND a.amount_due > 0 AND a.closed_on IS NULL
    )
    SELECT array_agg(DISTINCT type ORDER BY type) FROM active
    WHERE account_id IS NULL OR (account_id IN (SELECT id FROM owing) AND NOT EXISTS (
        SELECT FROM owing o WHERE NOT EXISTS (SELECT FROM active x WHERE x.account_id = o.id)))
$$;

-- What a borrower wrote to us. Kept for ever by the provider's id: a START that is replayed later
-- must not lift anything.
CREATE TABLE inbound_messages (
    provider text NOT NULL,
    provider_id text NOT NULL,
    address text NOT NULL,
    word text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, provider_id)
);
