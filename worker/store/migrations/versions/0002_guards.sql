-- What a run that planned far too much waits for, and whether a person has let it go.
ALTER TABLE runs
    ADD COLUMN held_at timestamptz,
    ADD COLUMN released_at timestamptz,
    ADD CONSTRAINT runs_held CHECK (
        (state <> 'held' OR held_at IS NOT NULL) AND (released_at IS NULL OR held_at IS NOT NULL));

-- Of the policy in force: a book older than this many hours is not sent from; NULL: however old it is.
ALTER TABLE portfolios ADD COLUMN max_ledger_age_h integer;

-- Which database this is, as it was when a worker first used it or a person last reconciled it. A copy of it, an
-- older state of it or its move to another place is told by what such a copy cannot carry along.
CREATE TABLE epoch (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT epoch_only_row_check CHECK (only_row),
    -- Rises with each reconciliation.
    number integer NOT NULL DEFAULT 1,
    system_identifier bigint,
    timeline text,
    database_oid bigint,
    -- Of the transaction that wrote this row. The row's xmin says the same for as long as it is that row: a dump that
    -- is loaded again, be it into the very same tables, writes it under another number. For the same reason no later
    -- migration may rewrite this table.
    written_xid bigint,
    settled_at timestamptz
);
INSERT INTO epoch DEFAULT VALUES;

-- Where we are. The timeline is that of the log being written; the control file lags behind a promotion.
CREATE FUNCTION dunlin_place(OUT system_identifier bigint, OUT timeline text, OUT database_oid bigint)
LANGUAGE sql STABLE AS $$
    SELECT (SELECT c.system_identifier FROM pg_control_system() AS c),
           CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
           (SELECT CAST(d.oid AS bigint) FROM pg_database d WHERE d.datname = current_database())
$$;

-- Why this database cannot be taken for the one that has sent until now; NULL: it is that one, or none has sent yet.
CREATE FUNCTION dunlin_epoch_lost() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN e.only_row IS NULL THEN 'the row that names its epoch is gone'
        WHEN e.written_xid IS NULL THEN NULL
        WHEN e.system_identifier <> p.system_identifier THEN 'it is in another PostgreSQL cluster than before'
        WHEN e.database_oid <> p.database_oid THEN 'it is another database of the cluster than before'
        WHEN e.timeline <> p.timeline THEN 'the cluster was promoted, or recovered to a point in time'
        WHEN CAST(CAST(e.xmin AS text) AS bigint) <> e.written_xid % 4294967296
            THEN 'its rows were loaded from a dump'
    END
    FROM dunlin_place() AS p LEFT JOIN epoch e ON true
$$;

-- Portfolios of which nothing is claimed, and why; pauses, which a person sets, come on top.
CREATE VIEW stops AS
    SELECT p.id AS portfolio_id, 'epoch' AS reason, l.why AS detail
    FROM (SELECT dunlin_epoch_lost() AS why) AS l JOIN portfolios p ON l.why IS NOT NULL
    UNION ALL
    -- A book of which nobody knows how old it is counts as too old.
    SELECT p.id, 'ledger_stale', 'the book is ' || coalesce('of ' ||
               to_char(p.book_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', 'of unknown age')
           || ', and may be ' || p.max_ledger_age_h || ' hours old'
    FROM portfolios p
    WHERE p.max_ledger_age_h IS NOT NULL
      AND coalesce(p.book_at <= dunlin_now() - make_interval(hours => p.max_ledger_age_h), true);
