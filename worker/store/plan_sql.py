"""The statement that plans one shard: overdue accounts to tiers, to borrowers and channels, to messages.

One statement on purpose. The same rows decide which account is covered by a message and which is excluded
with a reason, so none can be in neither or in both.
"""

from sqlalchemy import text

SHARD = "borrower_id / :neighbours % :shards"
"""Where a borrower is admitted."""

TOLD = """
    -- What the account was told before, in the present delinquency and in this mode, by us or before us.
    -- Account by account, to which OFFSET 0 holds the planner: all that is said today looks cheaper to it
    -- while it takes the month for empty, and is read again for each shard. No date lies beyond tomorrow.
    SELECT o.id, x.tier, coalesce(CAST(x.sent_at AT TIME ZONE :timezone AS date), x.business_on) AS on_date,
           x.state IN ('sent', 'delivered') AS reached
    FROM overdue o CROSS JOIN LATERAL (
        SELECT ma.tier, m.sent_at, m.business_on, m.state FROM message_accounts ma CROSS JOIN LATERAL (
            SELECT * FROM messages m WHERE m.business_on = ma.business_on AND m.id = ma.message_id
              AND m.mode = :mode
              AND m.state IN ('sending', 'unconfirmed', 'sent', 'delivered', 'undelivered') OFFSET 0) m
        WHERE ma.account_id = o.id AND ma.business_on >= o.since
          AND ma.business_on <= (SELECT CAST(dunlin_now() AS date) + 1) OFFSET 0) x
    UNION ALL
    SELECT o.id, c.tier, CAST(c.at AT TIME ZONE :timezone AS date),
           c.outcome IN ('sent', 'delivered', 'opened', 'clicked', 'voicemail', 'connected', 'conversation')
    FROM overdue o CROSS JOIN LATERAL (
        SELECT * FROM contacts c WHERE c.account_id = o.id AND c.tier IS NOT NULL
          AND CAST(c.at AT TIME ZONE :timezone AS date) >= o.since OFFSET 0) c
"""
"""Reads `overdue` (id, since), :mode and :timezone; also for a rerun."""

PLAN = text(f"""
WITH tier AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:tiers AS jsonb)) AS t(
        rank int, name text, dpd_from int, dpd_to int, amount_from numeric, requires_tier text,
        requires_days int, repeat_every_days int, max_repeats int, requires_approval boolean,
        expires_after_h int, channels jsonb)
), clock AS MATERIALIZED (
    SELECT dunlin_now() AS now
), overdue AS MATERIALIZED (
    SELECT a.id, a.borrower_id, a.amount_due, CAST(:business_on AS date) - a.due_on AS dpd,
           coalesce(a.delinquent_since, a.due_on + 1) AS since
    FROM accounts a
    WHERE a.portfolio_id = :portfolio AND a.borrower_id >= :borrower_from AND a.borrower_id < :borrower_to
      AND (CAST(:accounts AS bigint[]) IS NULL OR a.id = ANY(CAST(:accounts AS bigint[])))
      AND a.amount_due > 0 AND a.closed_on IS NULL AND a.due_on < CAST(:business_on AS date)
), held AS MATERIALIZED (
    SELECT o.id, min(h.type) AS type
    FROM overdue o CROSS JOIN clock c CROSS JOIN LATERAL (
        SELECT * FROM holds h
        WHERE h.borrower_id = o.borrower_id AND (h.account_id IS NULL OR h.account_id = o.id)
          AND h.lifted_at IS NULL AND h.starts_at <= c.now AND (h.ends_at IS NULL OR h.ends_at > c.now)
        OFFSET 0) h
    GROUP BY o.id
), told AS ({TOLD}), history AS MATERIALIZED (
    SELECT id, tier, max(on_date) AS last_on, count(DISTINCT on_date) AS times,
           min(on_date) FILTER (WHERE reached) AS reached_on
    FROM told GROUP BY id, tier
), unlocked AS (
    -- Tiers whose required earlier tier went out long enough ago.
    SELECT h.id, t.rank FROM history h JOIN tier t
        ON t.requires_tier = h.tier AND h.reached_on <= CAST(:business_on AS date) - t.requires_days
), own AS (
    SELECT o.id, max(t.rank) AS rank FROM overdue o JOIN tier t
        ON o.dpd BETWEEN t.dpd_from AND coalesce(t.dpd_to, 2147483647) OR o.amount_due >= t.amount_from
    GROUP BY o.id
), chosen AS (
    -- The most severe tier that may be sent: its own, or a milder one while the required notice is missing.
    SELECT w.id, max(t.rank) AS rank FROM own w JOIN tier t ON t.rank <= w.rank
    LEFT JOIN unlocked u ON u.id = w.id AND u.rank = t.rank
    WHERE t.requires_tier IS NULL OR u.id IS NOT NULL
    GROUP BY w.id
), judged AS MATERIALIZED (
    SELECT o.*, t.rank, t.name AS tier, CASE
            WHEN CAST(:overtaken AS boolean) THEN 'superseded'
            WHEN d.id IS NOT NULL THEN 'house.hold.' || d.type
            WHEN t.rank IS NULL THEN 'no_tier'
            WHEN h.times > t.max_repeats THEN 'repeats_exhausted'
            WHEN h.last_on > CAST(:business_on AS date) - t.repeat_every_days THEN 'cadence'
        END AS excluded
    FROM overdue o LEFT JOIN held d ON d.id = o.id LEFT JOIN chosen c ON c.id = o.id
    LEFT JOIN tier t ON t.rank = c.rank LEFT JOIN history h ON h.id = o.id AND h.tier = t.name
), borrower AS (
    SELECT borrower_id, max(rank) AS rank FROM judged WHERE excluded IS NULL GROUP BY borrower_id
), busy AS MATERIALIZED (
    -- Something of theirs may be with a provider on this channel, or waits for a person's yes, or has it.
    SELECT DISTINCT m.borrower_id, m.channel FROM messages m
    WHERE m.portfolio_id = :portfolio AND m.borrower_id >= :borrower_from AND m.borrower_id < :borrower_to
      AND (m.state IN ('sending', 'unconfirmed') OR (m.mode = :mode  -- of another: a change of mode ends it
           AND (m.state = 'awaiting_approval'
                OR (m.state IN ('planned', 'scheduled') AND m.approved_at IS NOT NULL))))
), made AS (
    INSERT INTO messages (business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, shard,
                          planned_at, decide_at, expires_at, requires_approval)
    SELECT CAST(:business_on AS date), :run_id, :portfolio, b.borrower_id, k.channel, t.name, :mode,
           b.{SHARD}, c.now, c.now, c.now + make_interval(hours => t.expires_after_h),
           t.requires_approval
    FROM borrower b JOIN tier t ON t.rank = b.rank
    CROSS JOIN LATERAL jsonb_array_elements_text(t.channels) WITH ORDINALITY AS k(channel, position)
    CROSS JOIN clock c
    LEFT JOIN busy x ON x.borrower_id = b.borrower_id AND x.channel = k.channel
    WHERE x.borrower_id IS NULL
    ORDER BY b.borrower_id, k.position
    ON CONFLICT DO NOTHING
    RETURNING id, borrower_id, channel
), superseded AS (
    -- Only where something new stands in its place: two days down is one message, and none is dropped.
    UPDATE messages m SET state = 'cancelled', reason = 'superseded' FROM made n
    WHERE m.portfolio_id = :portfolio AND m.borrower_id >= :borrower_from AND m.borrower_id < :borrower_to
      AND m.borrower_id = n.borrower_id AND m.channel = n.channel
      AND m.business_on < CAST(:business_on AS date) AND m.state IN ('planned', 'scheduled')
      AND NOT CAST(:dry_run AS boolean)
), linked AS (
    INSERT INTO message_accounts (business_on, message_id, account_id, tier, dpd, amount_due)
    SELECT CAST(:business_on AS date), m.id, j.id, j.tier, j.dpd, j.amount_due
    FROM made m JOIN judged j ON j.borrower_id = m.borrower_id AND j.excluded IS NULL
    RETURNING account_id
), covered AS (
    SELECT DISTINCT account_id FROM linked
), left_out AS (
    INSERT INTO run_exclusions (run_id, account_id, reason)
    SELECT :run_id, j.id, coalesce(j.excluded, 'in_flight')
    FROM judged j LEFT JOIN covered v ON v.account_id = j.id
    WHERE v.account_id IS NULL AND CAST(:accounts AS bigint[]) IS NULL
    RETURNING 1
), taken_in AS (
    -- Planned anew: what was left out at first may be covered now, and must not be both.
    DELETE FROM run_exclusions e USING covered v
    WHERE CAST(:accounts AS bigint[]) IS NOT NULL AND e.run_id = :run_id AND e.account_id = v.account_id
)
SELECT (SELECT count(*) FROM judged) AS overdue, (SELECT count(*) FROM covered) AS covered,
       (SELECT count(*) FROM left_out) AS excluded, (SELECT count(*) FROM made) AS messages
""")  # noqa: S608  # a part of our own

CUT_SHARDS = text("""
WITH owing AS (
    SELECT borrower_id, row_number() OVER (ORDER BY borrower_id) - 1 AS n
    FROM (SELECT DISTINCT borrower_id FROM accounts
          WHERE portfolio_id = :portfolio AND amount_due > 0 AND closed_on IS NULL
            AND due_on < CAST(:business_on AS date)) AS d
), cut AS (
    SELECT n / :size AS shard_no, min(borrower_id) AS first, count(*) * :channels AS at_most
    FROM owing GROUP BY 1
    UNION ALL SELECT 0, 0, 0 WHERE NOT EXISTS (SELECT FROM owing)
)
INSERT INTO run_shards (run_id, shard_no, borrower_from, borrower_to, at_most)
SELECT :run_id, shard_no, CASE WHEN shard_no = 0 THEN 0 ELSE first END,
       coalesce(lead(first) OVER (ORDER BY shard_no), 9223372036854775807), at_most
FROM cut
""")
"""Each borrower gets one message on each channel of their tier at most, of which none has more than
:channels.
"""

LOCK_OPEN = text("""
SELECT count(*) FROM (
    SELECT 1 FROM messages
    WHERE portfolio_id = :portfolio AND borrower_id >= :borrower_from AND borrower_id < :borrower_to
      AND state IN ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed')
    ORDER BY business_on, id FOR UPDATE
) AS open
""")
"""Before planning: until its transaction ends, no message of the shard's borrowers is claimed or settled.

Otherwise an older one could leave between the moment at which planning looks and that at which it acts.
"""

START_DELINQUENCIES = text("""
UPDATE accounts SET delinquent_since = due_on + 1
WHERE portfolio_id = :portfolio AND borrower_id >= :borrower_from AND borrower_id < :borrower_to
  AND amount_due > 0 AND closed_on IS NULL AND due_on < CAST(:business_on AS date) AND delinquent_since IS
  NULL
""")
