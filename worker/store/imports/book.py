"""Borrowers and accounts: what the lender's ledger says of who owes what."""

from worker.store.imports.statements import BOOK, BORROWER_KNOWN, COUNTS, PORTFOLIO_KNOWN, Statements

BORROWERS = Statements(
    target="borrowers",
    staging="""borrower_id text, name text, zone text, phone text, email text, agreed_hours text,
        closed_hours text""",
    key=("borrower_id",),
    check=None,
    apply=f"""
WITH said AS MATERIALIZED (
    -- A file that does not speak of somebody's hours leaves them as they are.
    SELECT i.line, i.borrower_id, i.name, i.zone, i.phone, i.email,
           nullif(coalesce(i.agreed_hours, b.agreed_hours), 'none') AS agreed_hours,
           nullif(coalesce(i.closed_hours, b.closed_hours), 'none') AS closed_hours, b.id AS known
    FROM incoming i LEFT JOIN borrowers b ON b.external_id = i.borrower_id WHERE i.reject IS NULL
), changed AS (
    UPDATE borrowers b SET name = i.name, zone = i.zone, phone = i.phone, email = i.email,
           agreed_hours = i.agreed_hours, closed_hours = i.closed_hours, facts_changed_at = clock_timestamp()
    FROM said i
    WHERE b.id = i.known
      AND (b.name, b.zone, b.phone, b.email, b.agreed_hours, b.closed_hours) IS DISTINCT FROM
          (i.name, i.zone, i.phone, i.email, i.agreed_hours, i.closed_hours)
    RETURNING 1
), inserted AS (
    INSERT INTO borrowers (external_id, name, zone, phone, email, agreed_hours, closed_hours)
    SELECT i.borrower_id, i.name, i.zone, i.phone, i.email, i.agreed_hours, i.closed_hours FROM said i
    WHERE i.known IS NULL ORDER BY i.line
    RETURNING 1
) {COUNTS}
""",  # noqa: S608  # parts of our own
)

ACCOUNTS = Statements(
    target="accounts",
    staging="""account_id text, portfolio text, borrower_id text, principal numeric(20, 4),
        amount_due numeric(20, 4), currency text, due_on date, daily_late_rate numeric(12, 9),
        delinquent_since date""",
    key=("portfolio", "account_id"),
    check=f"""
SELECT i.line, concat_ws('; ', {BORROWER_KNOWN}, {PORTFOLIO_KNOWN},
    CASE WHEN i.currency <> p.currency THEN 'currency: the portfolio is in ' || p.currency END,
    CASE WHEN a.borrower_id <> b.id THEN 'borrower_id: the account is of another borrower' END,
    CASE WHEN i.delinquent_since > CAST(dunlin_now() AT TIME ZONE p.timezone AS date)
         THEN 'delinquent_since: lies in the future' END) AS reject
FROM incoming i {BOOK}
WHERE i.reject IS NULL
""",  # noqa: S608  # parts of our own
    apply=f"""
WITH days AS MATERIALIZED (
    SELECT id, CAST(dunlin_now() AT TIME ZONE timezone AS date) AS today FROM portfolios
), wanted AS MATERIALIZED (
    -- A delinquency keeps its first day while it lasts. Closing an account ended its own.
    SELECT i.*, b.id AS owner, a.id AS known, CASE WHEN i.amount_due > 0 AND i.due_on < d.today
               THEN coalesce(a.delinquent_since, i.delinquent_since, i.due_on + 1) END AS since
    FROM incoming i JOIN days d ON d.id = i.portfolio JOIN borrowers b ON b.external_id = i.borrower_id
    LEFT JOIN accounts a ON a.portfolio_id = i.portfolio AND a.external_id = i.account_id
    WHERE i.reject IS NULL
), changed AS (
    UPDATE accounts a SET principal = w.principal, amount_due = w.amount_due, due_on = w.due_on,
           daily_late_rate = w.daily_late_rate, delinquent_since = w.since, closed_on = NULL,
           changed_at = clock_timestamp()
    FROM wanted w
    WHERE a.id = w.known
      AND (a.principal, a.amount_due, a.due_on, a.daily_late_rate, a.delinquent_since, a.closed_on)
          IS DISTINCT FROM
          (w.principal, w.amount_due, w.due_on, w.daily_late_rate, w.since, CAST(NULL AS date))
    RETURNING 1
), inserted AS (
    INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on,
                          daily_late_rate, delinquent_since, created_at)
    SELECT portfolio, owner, account_id, principal, amount_due, due_on, daily_late_rate, since, dunlin_now()
    FROM wanted WHERE known IS NULL ORDER BY line
    RETURNING 1
) {COUNTS}
""",  # noqa: S608  # parts of our own
)
