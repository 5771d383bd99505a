-- The book: what the lender tells us.

CREATE TABLE versions (
    hash text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('policy', 'pack', 'pack_set', 'template')),
    name text NOT NULL,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE portfolios (
    id text PRIMARY KEY,
    title text NOT NULL,
    policy_hash text NOT NULL REFERENCES versions,
    mode text NOT NULL CHECK (mode IN ('sandbox', 'allowlist', 'live')),
    currency text NOT NULL,
    timezone text NOT NULL,
    borrower_zone text,
    region text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the file of accounts that was imported last was written: a later payment cannot be in the book.
    book_at timestamptz
);

CREATE TABLE borrowers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text NOT NULL UNIQUE,
    name text NOT NULL,
    zone text,
    phone text,
    email text,
    -- Hours of the week, as imported: those agreed with them, and those they closed.
    agreed_hours text,
    closed_hours text,
    -- Moves when anything an admission looked at changes; a message admitted before it is decided again.
    facts_changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- An inbound STOP, a bounce or a suppression by address finds whose it is.
CREATE INDEX borrowers_phone ON borrowers (phone) WHERE phone IS NOT NULL;
CREATE INDEX borrowers_email ON borrowers (email) WHERE email IS NOT NULL;

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id text NOT NULL REFERENCES portfolios,
    borrower_id bigint NOT NULL REFERENCES borrowers,
    external_id text NOT NULL,
    principal numeric(20, 4) NOT NULL CHECK (principal >= 0),
    amount_due numeric(20, 4) NOT NULL CHECK (amount_due >= 0),
    due_on date NOT NULL,
    daily_late_rate numeric(12, 9) CHECK (daily_late_rate >= 0 AND daily_late_rate < 1),
    -- First day of the present delinquency; NULL while nothing is overdue.
    delinquent_since date,
    closed_on date,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (portfolio_id, external_id)
);
-- Planning walks a portfolio's overdue accounts in borrower order, and nothing else of the book.
CREATE INDEX accounts_owing ON accounts (portfolio_id, borrower_id, due_on)
    WHERE amount_due > 0 AND closed_on IS NULL;
-- All of one borrower's accounts: explain, holds.
CREATE INDEX accounts_borrower ON accounts (borrower_id);

CREATE TABLE holds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text UNIQUE,
    borrower_id bigint NOT NULL REFERENCES borrowers,
    account_id bigint REFERENCES accounts,
    type text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    reason text NOT NULL DEFAULT '',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at timestamptz,
    lifted_by text,
    lift_reason text,
    -- Of a promise to pay, in the currency of the accounts it covers: how much was promised (NULL: all that is
    -- due), what was overdue when it began, and what the ledger said after its end.
    promised_amount numeric(20, 4) CONSTRAINT holds_promised CHECK (promised_amount > 0),
    amount_due_before numeric(20, 4),
    outcome text CONSTRAINT holds_outcome CHECK (outcome IN ('kept', 'broken')),
    judged_at timestamptz,
    CHECK (ends_at IS NULL OR ends_at > starts_at),
    CONSTRAINT holds_judged CHECK ((outcome IS NULL) = (judged_at IS NULL))
);
-- Planning, admission and the claim ask whether a borrower has an active hold.
CREATE INDEX holds_active ON holds (borrower_id) WHERE lifted_at IS NULL;
-- Upkeep looks for promises that have begun or are over.
CREATE INDEX holds_promises ON holds (starts_at)
    WHERE type = 'promise_to_pay' AND lifted_at IS NULL AND judged_at IS NULL;

CREATE TABLE suppressions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    address text NOT NULL,
    -- Learnt from the providers' stand-in: it holds for messages in sandbox only, as nobody real was involved.
    sandbox boolean NOT NULL DEFAULT false,
    reason text NOT NULL,
    source text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at timestamptz,
    lifted_by text,
    lift_reason text
);
-- One active suppression per address, channel and world; admission and the claim look it up by this key.
CREATE UNIQUE INDEX suppressions_active ON suppressions (address, channel, sandbox) WHERE lifted_at IS NULL;

CREATE TABLE consents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    borrower_id bigint NOT NULL REFERENCES borrowers,
    channel text NOT NULL,
    kind text NOT NULL,
    given_at timestamptz NOT NULL,
    revoked_at timestamptz,
    source text NOT NULL DEFAULT '',
    -- Asked by borrower, channel and kind of consent.
    UNIQUE (borrower_id, channel, kind)
);

CREATE TABLE contacts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text NOT NULL UNIQUE,
    borrower_id bigint NOT NULL REFERENCES borrowers,
    account_id bigint REFERENCES accounts,
    at timestamptz NOT NULL,
    channel text NOT NULL,
    tier text,
    outcome text NOT NULL,
    purpose text NOT NULL DEFAULT 'collection',
    direction text NOT NULL DEFAULT 'out' CHECK (direction IN ('out', 'in'))
);
-- Planning asks which tiers an account has had in this delinquency; caps ask for a borrower's recent contacts.
CREATE INDEX contacts_account ON contacts (account_id, at) WHERE account_id IS NOT NULL;
CREATE INDEX contacts_borrower ON contacts (borrower_id, at);

-- Runs: one scan of one portfolio for one business date.

CREATE TABLE runs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    portfolio_id text NOT NULL REFERENCES portfolios,
    business_on date NOT NULL,
    policy_hash text NOT NULL REFERENCES versions,
    mode text NOT NULL,
    state text NOT NULL CHECK (state IN ('planning', 'held', 'open', 'closed', 'missed')),
    -- For each tier the days past due, or else the amount, that keeps an account in it; the claim compares.
    tier_floors jsonb NOT NULL,
    rerun_of uuid REFERENCES runs,
    request_key text UNIQUE,
    requested_by text NOT NULL,
    reason text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_at timestamptz,
    closed_at timestamptz,
    CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
-- One run per portfolio and date, however many beats ask; reruns are rows of their own.
CREATE UNIQUE INDEX runs_once ON runs (portfolio_id, business_on) WHERE rerun_of IS NULL;
-- Planning and settling look for runs that are not finished.
CREATE INDEX runs_unfinished ON runs (state) WHERE state IN ('planning', 'held', 'open');

CREATE TABLE run_shards (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    shard_no integer NOT NULL,
    borrower_from bigint NOT NULL,
    borrower_to bigint NOT NULL,
    state text NOT NULL DEFAULT 'todo' CHECK (state IN ('todo', 'done')),
    overdue integer,
    covered integer,
    excluded integer,
    messages integer,
    finished_at timestamptz,
    PRIMARY KEY (run_id, shard_no),
    CONSTRAINT run_shards_sums CHECK (state = 'todo' OR (overdue IS NOT NULL AND covered IS NOT NULL
        AND excluded IS NOT NULL AND messages IS NOT NULL AND overdue = covered + excluded))
);

CREATE TABLE run_exclusions (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    account_id bigint NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (run_id, account_id)
);
-- explain shows why an account was left out.
CREATE INDEX run_exclusions_account ON run_exclusions (account_id);

-- Messages and what hangs on them: partitioned by month of the business date, no foreign keys among them, so that
-- a month can be dropped. The books check stands in.

CREATE TABLE messages (
    business_on date NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    run_id uuid NOT NULL,
    portfolio_id text NOT NULL,
    borrower_id bigint NOT NULL,
    channel text NOT NULL,
    purpose text NOT NULL DEFAULT 'collection',
    tier text NOT NULL,
    mode text NOT NULL,
    occurrence smallint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'planned',
    reason text,
    -- Borrowers are admitted a shard at a time; all messages of a borrower share one.
    shard smallint NOT NULL,
    planned_at timestamptz NOT NULL,
    decide_at timestamptz NOT NULL,
    admitted_at timestamptz,
    -- borrowers.facts_changed_at as admission saw it. Compared for equality: an import may write early, commit late.
    facts_seen_at timestamptz,
    -- The set of rule packs admission asked; a message decided by others is decided again before it goes.
    rules_hash text,
    send_at timestamptz,
    send_before timestamptz,
    expires_at timestamptz NOT NULL,
    requires_approval boolean NOT NULL,
    approved_at timestamptz,
    approved_by text,
    attempts smallint NOT NULL DEFAULT 0,
    attempt_id uuid,
    attempted_at timestamptz,
    lease_token uuid,
    lease_until timestamptz,
    provider_id text,
    sent_at timestamptz,
    receipt_rank smallint NOT NULL DEFAULT 0,
    check_at timestamptz,
    checks smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (business_on, id),
    CONSTRAINT messages_state CHECK (state IN ('planned', 'awaiting_approval', 'scheduled', 'sending',
        'unconfirmed', 'sent', 'delivered', 'undelivered', 'failed', 'suppressed', 'cancelled', 'expired')),
    CONSTRAINT messages_ended_with_reason CHECK (reason IS NOT NULL
        OR state NOT IN ('failed', 'suppressed', 'cancelled', 'expired', 'unconfirmed')),
    CONSTRAINT messages_scheduled_when CHECK (state <> 'scheduled'
        OR (send_at IS NOT NULL AND send_before IS NOT NULL)),
    CONSTRAINT messages_leased CHECK ((state = 'sending') = (lease_until IS NOT NULL)
        AND (state <> 'sending' OR (lease_token IS NOT NULL AND attempt_id IS NOT NULL))),
    CONSTRAINT messages_sent_when CHECK (state NOT IN ('sent', 'delivered', 'undelivered') OR sent_at IS NOT NULL),
    CONSTRAINT messages_approved CHECK (NOT requires_approval OR approved_at IS NOT NULL
        OR state NOT IN ('scheduled', 'sending', 'unconfirmed', 'sent', 'delivered', 'undelivered'))
) PARTITION BY RANGE (business_on);
-- One live message per borrower, portfolio, channel and date; a rerun may replace what ended unsent.
CREATE UNIQUE INDEX messages_live ON messages
    (business_on, portfolio_id, borrower_id, channel, purpose, mode, occurrence)
    WHERE state NOT IN ('failed', 'suppressed', 'cancelled', 'expired');
-- Admission takes the planned messages of a shard.
CREATE INDEX messages_planned ON messages (shard, borrower_id) WHERE state = 'planned';
-- The claim takes a portfolio's due messages of a channel, oldest first.
CREATE INDEX messages_due ON messages (channel, portfolio_id, send_at) WHERE state = 'scheduled';
-- Settling looks for lost leases, for unconfirmed messages to ask about, and for approvals that ran out.
CREATE INDEX messages_leases ON messages (lease_until) WHERE state = 'sending';
CREATE INDEX messages_unconfirmed ON messages (check_at) WHERE state = 'unconfirmed';
CREATE INDEX messages_awaiting ON messages (expires_at) WHERE state = 'awaiting_approval';
-- Planning supersedes a borrower's open messages; an opt-out and a change of mode cancel them.
CREATE INDEX messages_open ON messages (borrower_id, portfolio_id)
    WHERE state IN ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed');
-- The inbox shows a borrower's popups.
CREATE INDEX messages_inbox ON messages (borrower_id)
    WHERE channel = 'in_app' AND state IN ('sent', 'delivered');
-- status counts a run's messages by state; rerun picks among them.
CREATE INDEX messages_run ON messages (run_id, state);

CREATE TABLE message_accounts (
    business_on date NOT NULL,
    message_id uuid NOT NULL,
    account_id bigint NOT NULL,
    tier text NOT NULL,
    dpd integer NOT NULL,
    amount_due numeric(20, 4) NOT NULL,
    PRIMARY KEY (business_on, message_id, account_id)
) PARTITION BY RANGE (business_on);
-- Cadence and required tiers ask what an account was told before; explain shows it.
CREATE INDEX message_accounts_account ON message_accounts (account_id, business_on);

CREATE TABLE message_contents (
    business_on date NOT NULL,
    attempt_id uuid NOT NULL,
    message_id uuid NOT NULL,
    address text,
    subject text,
    text text,
    html text,
    extra jsonb,
    sha256 text NOT NULL,
    template_hash text NOT NULL,
    purged_at timestamptz,
    PRIMARY KEY (business_on, attempt_id)
) PARTITION BY RANGE (business_on);
-- The inbox and explain read a message's text.
CREATE INDEX message_contents_message ON message_contents (message_id);

-- One row for each decision on a message: what was asked, what was seen, what came out.
CREATE TABLE message_verdicts (
    business_on date NOT NULL,
    message_id uuid NOT NULL,
    at timestamptz NOT NULL,
    decision text NOT NULL CHECK (decision IN ('allow', 'defer', 'suppress', 'await_approval', 'expire', 'later')),
    rules text[] NOT NULL,
    until_at timestamptz,
    rules_hash text NOT NULL,
    facts jsonb NOT NULL,
    -- explain and evidence read a message's verdicts in order.
    PRIMARY KEY (business_on, message_id, at)
) PARTITION BY RANGE (business_on);

CREATE TABLE attempts (
    business_on date NOT NULL,
    id uuid NOT NULL,
    message_id uuid NOT NULL,
    n smallint NOT NULL,
    token uuid NOT NULL,
    worker text NOT NULL,
    claimed_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    outcome text,
    code text,
    provider text,
    provider_id text,
    PRIMARY KEY (business_on, id)
) PARTITION BY RANGE (business_on);
-- explain and settling read a message's attempts.
CREATE INDEX attempts_message ON attempts (message_id);

CREATE TABLE receipts (
    business_on date NOT NULL,
    attempt_id uuid NOT NULL,
    digest bytea NOT NULL,
    message_id uuid NOT NULL,
    provider text NOT NULL,
    provider_id text NOT NULL,
    status text NOT NULL,
    code text NOT NULL,
    raw jsonb NOT NULL,
    received_at timestamptz NOT NULL,
    -- NULL: harmless, the message had moved on.
    moved_to text,
    -- A receipt that comes twice is stored once.
    PRIMARY KEY (business_on, attempt_id, digest)
) PARTITION BY RANGE (business_on);
-- explain reads a message's receipts.
CREATE INDEX receipts_message ON receipts (message_id);

CREATE TABLE stray_receipts (
    digest bytea PRIMARY KEY,
    provider text NOT NULL,
    provider_id text NOT NULL,
    status text NOT NULL,
    raw jsonb NOT NULL,
    reason text NOT NULL,
    received_at timestamptz NOT NULL
);

CREATE TABLE message_events (
    business_on date NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    message_id uuid NOT NULL,
    attempt_id uuid,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    from_state text,
    to_state text,
    reason text,
    actor text NOT NULL CHECK (actor <> ''),
    PRIMARY KEY (business_on, seq)
) PARTITION BY RANGE (business_on);
-- explain reads a message's events.
CREATE INDEX message_events_message ON message_events (message_id);

-- Control.

CREATE TABLE message_moves (
    from_state text NOT NULL,
    to_state text NOT NULL,
    PRIMARY KEY (from_state, to_state)
);

CREATE TABLE pauses (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL in either column means all.
    portfolio_id text REFERENCES portfolios,
    channel text,
    until_at timestamptz,
    reason text NOT NULL,
    paused_by text NOT NULL,
    paused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    resumed_at timestamptz,
    resumed_by text
);
-- The claim asks for active pauses.
CREATE INDEX pauses_active ON pauses (portfolio_id, channel) WHERE resumed_at IS NULL;

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL DEFAULT '',
    detail jsonb NOT NULL DEFAULT '{}'
);
-- explain shows what people did to one thing.
CREATE INDEX audit_subject ON audit (subject);

CREATE TABLE clock_offset (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    offset_by interval NOT NULL DEFAULT '0'
);
INSERT INTO clock_offset DEFAULT VALUES;
