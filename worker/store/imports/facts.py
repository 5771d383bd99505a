"""Holds, suppressions, consents and past contacts: what decides whether and when someone may be contacted.

Each new or changed one touches its borrower, so that messages admitted before are decided again.
"""

from worker.store.imports.statements import (
    ACCOUNT_KNOWN,
    BOOK,
    BORROWER_KNOWN,
    COUNTS,
    PORTFOLIO_KNOWN,
    TOUCH,
    Statements,
)
from worker.store.promises import due_before
from worker.store.zones import BEGINS_IN, ENDS_IN

# Of a hold and the row that changes it: the same promise from the same day on, and one with the same end.
SAME_START = "(h.account_id, h.type, h.starts_at) IS NOT DISTINCT FROM (w.account_id, w.type, w.starts_at)"
SAME_END = "(h.ends_at, h.promised_amount) IS NOT DISTINCT FROM (w.ends_at, w.promised_amount)"

# A hold that a person lifted stays lifted while the file says of it what it said before. Once the file
# changes it, it counts anew: too many holds are safe, too few are not.
HOLDS = Statements(
    target="holds",
    staging="""hold_id text, borrower_id text, portfolio text, account_id text, type text, starts_on date,
        ends_on date, reason text, promised_amount numeric(20, 4)""",
    key=("hold_id",),
    check=f"""
SELECT i.line, concat_ws('; ', {BORROWER_KNOWN}, {PORTFOLIO_KNOWN}, {ACCOUNT_KNOWN},
    CASE WHEN h.borrower_id <> b.id THEN 'borrower_id: the hold is of another borrower' END,
    CASE WHEN i.ends_on < i.starts_on THEN 'ends_on: is before starts_on' END) AS reject
FROM incoming i {BOOK} LEFT JOIN holds h ON h.external_id = i.hold_id
WHERE i.reject IS NULL
""",  # noqa: S608  # parts of our own
    apply=f"""
WITH wanted AS MATERIALIZED (
    -- The last day counts in full: the hold ends at the midnight after it.
    SELECT i.line, i.hold_id, i.type, i.reason, i.promised_amount, b.id AS borrower_id, a.id AS account_id,
           CAST(i.starts_on AS timestamp) AT TIME ZONE {BEGINS_IN} AS starts_at,
           CAST(i.ends_on + 1 AS timestamp) AT TIME ZONE {ENDS_IN} AS ends_at
    FROM incoming i {BOOK} WHERE i.reject IS NULL
), changed AS (
    UPDATE holds h SET account_id = w.account_id, type = w.type, starts_at = w.starts_at, ends_at = w.ends_at,
           reason = w.reason, promised_amount = w.promised_amount, lifted_at = NULL, lifted_by = NULL,
           lift_reason = NULL, amount_due_before = coalesce(CASE WHEN {SAME_START}
               THEN h.amount_due_before END, {due_before("w")}),
           outcome = CASE WHEN {SAME_START} AND {SAME_END} THEN h.outcome END,
           judged_at = CASE WHEN {SAME_START} AND {SAME_END} THEN h.judged_at END
    FROM wanted w
    WHERE h.external_id = w.hold_id
      AND (h.account_id, h.type, h.starts_at, h.ends_at, h.reason, h.promised_amount)
          IS DISTINCT FROM (w.account_id, w.type, w.starts_at, w.ends_at, w.reason, w.promised_amount)
    RETURNING h.borrower_id
), inserted AS (
    INSERT INTO holds (external_id, borrower_id, account_id, type, starts_at, ends_at, reason, created_by,
                       promised_amount, amount_due_before)
    SELECT hold_id, borrower_id, account_id, type, starts_at, ends_at, reason, 'import', promised_amount,
           {due_before("w")}
    FROM wanted w
    WHERE NOT EXISTS (SELECT FROM holds h WHERE h.external_id = w.hold_id) ORDER BY line
    RETURNING borrower_id
), {TOUCH} {COUNTS}
""",  # noqa: S608  # parts of our own
)

# What a provider or a person recorded is not rewritten. An address that a person freed is suppressed again,
# unless the file's own date is older than that.
SUPPRESSIONS = Statements(
    target="suppressions",
    staging="channel text, address text, reason text, since date",
    key=("channel", "address"),
    check=None,
    apply=f"""
WITH wanted AS MATERIALIZED (
    SELECT i.*, CAST(i.since AS timestamp) AT TIME ZONE 'UTC' AS since_at FROM incoming i
    WHERE i.reject IS NULL AND NOT EXISTS (
        SELECT FROM suppressions s WHERE s.address = i.address AND s.channel = i.channel
           AND NOT s.sandbox AND s.lifted_at > CAST(i.since + 1 AS timestamp) AT TIME ZONE 'UTC')
), changed AS (
    UPDATE suppressions s SET reason = w.reason, created_at = coalesce(w.since_at, s.created_at)
    FROM wanted w
    WHERE s.address = w.address AND s.channel = w.channel AND s.lifted_at IS NULL AND s.source = 'import'
      AND NOT s.sandbox
      AND (s.reason, s.created_at) IS DISTINCT FROM (w.reason, coalesce(w.since_at, s.created_at))
    RETURNING s.channel, s.address
), inserted AS (
    INSERT INTO suppressions (channel, address, reason, source, created_by, created_at)
    SELECT channel, address, reason, 'import', 'import', coalesce(since_at, clock_timestamp())
    FROM wanted ORDER BY line
    ON CONFLICT (address, channel, sandbox) WHERE lifted_at IS NULL DO NOTHING
    RETURNING channel, address
), whose AS (
    SELECT b.id FROM inserted x JOIN borrowers b ON b.phone = x.address
    WHERE x.channel IN ('sms', 'voice', 'agent_call')
    UNION SELECT b.id FROM inserted x JOIN borrowers b ON b.email = x.address WHERE x.channel = 'email'
    UNION SELECT b.id FROM inserted x JOIN borrowers b ON b.external_id = x.address
    WHERE x.channel IN ('in_app', 'push', 'letter')
), touched AS (
    UPDATE borrowers SET facts_changed_at = clock_timestamp() WHERE id IN (SELECT id FROM whose)
) {COUNTS}
""",  # noqa: S608  # parts of our own
)

# A revocation stands until consent is given anew, even if the file has not heard of it.
CONSENTS = Statements(
    target="consents",
    staging="""borrower_id text, channel text, kind text, given_at timestamptz, revoked_at timestamptz,
        source text""",
    key=("borrower_id", "channel", "kind"),
    check=f"""
SELECT i.line, concat_ws('; ', {BORROWER_KNOWN},
    CASE WHEN i.revoked_at < i.given_at THEN 'revoked_at: is before given_at' END) AS reject
FROM incoming i LEFT JOIN borrowers b ON b.external_id = i.borrower_id
WHERE i.reject IS NULL
""",  # noqa: S608  # parts of our own
    apply=f"""
WITH wanted AS MATERIALIZED (
    SELECT i.line, b.id AS borrower_id, i.channel, i.kind, i.given_at, i.source,
           coalesce(i.revoked_at, CASE WHEN c.revoked_at >= i.given_at THEN c.revoked_at END) AS revoked_at
    FROM incoming i JOIN borrowers b ON b.external_id = i.borrower_id
    LEFT JOIN consents c ON c.borrower_id = b.id AND c.channel = i.channel AND c.kind = i.kind
    WHERE i.reject IS NULL
), changed AS (
    UPDATE consents c SET given_at = w.given_at, revoked_at = w.revoked_at, source = w.source
    FROM wanted w
    WHERE c.borrower_id = w.borrower_id AND c.channel = w.channel AND c.kind = w.kind
      AND (c.given_at, c.revoked_at, c.source) IS DISTINCT FROM (w.given_at, w.revoked_at, w.source)
    RETURNING c.borrower_id
), inserted AS (
    INSERT INTO consents (borrower_id, channel, kind, given_at, revoked_at, source)
    SELECT borrower_id, channel, kind, given_at, revoked_at, source FROM wanted ORDER BY line
    ON CONFLICT (borrower_id, channel, kind) DO NOTHING
    RETURNING borrower_id
), {TOUCH} {COUNTS}
""",  # noqa: S608  # parts of our own
)

# The row is kept as it stands: it was a contact, and counts as one towards every limit of contacts.
_NO_SUCH_TIER = """
WITH known AS MATERIALIZED (
    SELECT p.id, t.name FROM portfolios p JOIN versions v ON v.hash = p.policy_hash
    CROSS JOIN LATERAL jsonb_object_keys(v.body -> 'tiers') AS t(name)
)
SELECT i.line, 'tier: no such tier in the portfolio''s policy (counts as a contact of no tier)' AS warning
FROM incoming i
WHERE i.tier IS NOT NULL AND NOT EXISTS (
    SELECT FROM known k WHERE k.name = i.tier AND (i.portfolio IS NULL OR k.id = i.portfolio))
"""

CONTACTS = Statements(
    target="contacts",
    warn=_NO_SUCH_TIER,
    staging="""contact_id text, borrower_id text, portfolio text, account_id text, at timestamptz,
        channel text, tier text, outcome text, purpose text, direction text""",
    key=("contact_id",),
    check=f"""
SELECT i.line, concat_ws('; ', {BORROWER_KNOWN}, {PORTFOLIO_KNOWN}, {ACCOUNT_KNOWN},
    CASE WHEN c.borrower_id <> b.id THEN 'borrower_id: the contact is of another borrower' END,
    CASE WHEN i.at > dunlin_now() + interval '5 minutes'
         THEN 'at: lies in the future' END) AS reject
FROM incoming i {BOOK} LEFT JOIN contacts c ON c.external_id = i.contact_id
WHERE i.reject IS NULL
""",  # noqa: S608  # parts of our own
    apply=f"""
WITH wanted AS MATERIALIZED (
    SELECT i.line, i.contact_id, i.at, i.channel, i.tier, i.outcome, b.id AS borrower_id, a.id AS account_id,
           coalesce(i.purpose, 'collection') AS purpose, coalesce(i.direction, 'out') AS direction
    FROM incoming i {BOOK} WHERE i.reject IS NULL
), changed AS (
    UPDATE contacts c SET account_id = w.account_id, at = w.at, channel = w.channel, tier = w.tier,
           outcome = w.outcome, purpose = w.purpose, direction = w.direction
    FROM wanted w
    WHERE c.external_id = w.contact_id
      AND (c.account_id, c.at, c.channel, c.tier, c.outcome, c.purpose, c.direction) IS DISTINCT FROM
          (w.account_id, w.at, w.channel, w.tier, w.outcome, w.purpose, w.direction)
    RETURNING c.borrower_id
), inserted AS (
    INSERT INTO contacts
        (external_id, borrower_id, account_id, at, channel, tier, outcome, purpose, direction)
    SELECT contact_id, borrower_id, account_id, at, channel, tier, outcome, purpose, direction FROM wanted w
    WHERE NOT EXISTS (SELECT FROM contacts c WHERE c.external_id = w.contact_id) ORDER BY line
    RETURNING borrower_id
), {TOUCH} {COUNTS}
""",  # noqa: S608  # parts of our own
)
