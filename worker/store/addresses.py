"""Where a borrower's address for a channel is kept, and whether it may be used."""

ADDRESS = """CASE m.channel
        WHEN 'sms' THEN b.phone WHEN 'voice' THEN b.phone WHEN 'agent_call' THEN b.phone
        WHEN 'email' THEN b.email
        WHEN 'in_app' THEN b.external_id
    END"""
"""SQL over a message `m` and its borrower `b`; NULL: none known. The inbox is addressed by the borrower's
id.
"""

SUPPRESSION = f"""SELECT s.reason FROM suppressions s
            WHERE s.address = {ADDRESS} AND s.channel = m.channel AND s.lifted_at IS NULL
              AND (NOT s.sandbox OR m.mode = 'sandbox') ORDER BY s.sandbox LIMIT 1"""  # noqa: S608  # constants of ours
"""SQL over the same rows: why the address must not be used; no row: it may be."""
