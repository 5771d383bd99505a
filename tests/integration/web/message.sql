-- One message with one attempt and its text, as the pipeline leaves them at a given moment.

INSERT INTO messages (business_on, id, run_id, portfolio_id, borrower_id, channel, tier, mode, state, reason, shard,
    planned_at, decide_at, admitted_at, send_at, send_before, expires_at, requires_approval, attempt_id, attempted_at,
    lease_token, lease_until, sent_at, occurrence)
SELECT :on, :id, uuidv7(), 'uk', :borrower, :channel, 'reminder', :mode, CAST(:state AS text), :reason, 0,
    now, now, now, now, now + interval '1 hour', now + CAST(:lives AS interval), false, :attempt, now, :token,
    CASE WHEN :state = 'sending' THEN clock_timestamp() + interval '1 minute' END,
    CASE WHEN :state IN ('sent', 'delivered', 'undelivered') THEN now END,
    (SELECT count(*) FROM messages WHERE borrower_id = :borrower)
FROM (SELECT dunlin_now() AS now) t;

INSERT INTO attempts (business_on, id, message_id, n, token, worker, claimed_at, started_at)
VALUES (:on, :attempt, :id, 1, :token, 'tests', clock_timestamp(), clock_timestamp());

INSERT INTO message_contents (business_on, attempt_id, message_id, address, subject, text, extra, sha256, template_hash)
VALUES (:on, :attempt, :id, :address, 'Your payment', 'Please pay.', jsonb_build_object(
    'amount_due', '£120.50', 'days_overdue', '3 days', 'due_date', '30 October 2026',
    'pay_url', 'https://pay.uk.example.com/'), '', '');

INSERT INTO message_accounts (business_on, message_id, account_id, tier, dpd, amount_due)
SELECT :on, :id, a.id, 'reminder', 3, 120.5 FROM accounts a WHERE a.borrower_id = :borrower
