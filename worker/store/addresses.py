"""Where a borrower's address for a channel is kept."""

ADDRESS = """CASE m.channel
        WHEN 'sms' THEN b.phone WHEN 'voice' THEN b.phone WHEN 'agent_call' THEN b.phone
        WHEN 'email' THEN b.email
        WHEN 'in_app' THEN b.external_id
    END"""
"""SQL over a message `m` and its borrower `b`; NULL: none known. The inbox is addressed by the borrower's
id.
"""
