-- Many messages of one borrower that were sent by SMS in the sandbox, each with its attempt.

WITH made AS (
    INSERT INTO messages (business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, state, shard,
        planned_at, decide_at, admitted_at, send_at, send_before, expires_at, requires_approval, attempt_id,
        attempted_at, lease_token, sent_at, occurrence)
    SELECT DATE '2026-11-02' + n / 30000, uuidv7(), 'uk', :borrower, 'sms', 'reminder', 'sandbox', 'sent', 0, now, now, now, now,
        now + interval '1 hour', now + interval '1 day', false, uuidv7(), now, uuidv7(), now, n % 30000
    FROM (SELECT dunlin_now() AS now) t, generate_series(1, :count) n
    RETURNING business_on, id, attempt_id, lease_token
)
INSERT INTO attempts (business_on, id, message_id, n, token, worker, claimed_at, started_at)
SELECT business_on, attempt_id, id, 1, lease_token, 'tests', clock_timestamp(), clock_timestamp() FROM made
