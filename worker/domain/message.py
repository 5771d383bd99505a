"""The values that travel along a message's path: facts seen, text rendered, what goes to a provider."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

CHANNELS = ("sms", "email", "in_app", "push", "voice", "letter", "agent_call")
"""Every channel a policy may name; which of them can be used depends on the adapters installed."""


@dataclass(frozen=True, slots=True)
class MessageRef:
    """Names one attempt of one message everywhere: in the database, at the provider, in a callback."""

    business_on: date
    message_id: UUID
    attempt_id: UUID


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """One overdue account as the claim saw it. Money is in the message's currency."""

    external_id: str
    principal: Decimal
    amount_due: Decimal
    due_on: date
    dpd: int
    """Days past due on the local business date of the send."""
    daily_late_rate: Decimal | None
    """Fraction charged per day, from the contract (0.0005 is 0.05 % a day); None: no late fee is charged."""


@dataclass(frozen=True, slots=True)
class Creditor:
    """Who writes, in the portfolio's own words: texts come from the policy, never from code."""

    name: str
    sms_signature: str
    """Short registered name; Chinese SMS carry it as 【…】 in front."""
    hotline: str
    email: str
    postal_address: str
    payment_ways: tuple[str, ...]
    pay_url: str
    """Official page to pay on; also the popup's deep link."""
    dispute_route: str
    hardship_route: str
    legal_basis: str
    further_steps: str
    """What may follow, without a word of legal action."""
    late_fee_wording: str
    """May use {daily_rate} and {annual_rate}, filled from the account."""
    credit_record_wording: str
    legal_steps: str = ""
    """What may follow where a person approves the message; empty: as `further_steps`."""
    rights_and_duties: str = ""
    account_query_route: str = ""
    debt_advice_route: str = ""
    collector_disclosure_initial: str = ""
    """That a debt is to be collected, and what answers are used for."""
    collector_disclosure: str = ""
    """Who is collecting. Which of these words may be empty, the rules of the portfolio say."""


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """All that a template may say. Rendered when the message goes, so amounts and days are of that day."""

    locale: str
    """BCP 47, for example zh-CN, en-US, en-GB."""
    currency: str
    tier: str
    channel: str
    debtor_name: str
    accounts: tuple[AccountFacts, ...]
    """Never empty; most days past due first."""
    creditor: Creditor
    as_of_on: date
    unsubscribe_url: str = ""
    requires_approval: bool = False
    """Its tier needs a person's yes: `legal_steps` stand where other tiers say `further_steps`."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The words of one message. `text` is the SMS, the e-mail's plain part, or the popup's body."""

    text: str = field(repr=False)
    subject: str | None = field(repr=False, default=None)
    """E-mail subject or popup title."""
    html: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Sender:
    """Identity a message goes out under, from the portfolio's policy; an adapter reads what it needs."""

    sms_from: str = ""
    messaging_service_sid: str = ""
    email_from: str = ""
    """Address with an optional display name: Name <mail@example.com>."""
    email_reply_to: str = ""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What an adapter gets: the whole of one attempt, nothing to look up."""

    ref: MessageRef
    portfolio: str
    channel: str
    address: str = field(repr=False)
    """E.164 number, e-mail address, or the borrower's external id for the inbox."""
    rendered: Rendered
    sender: Sender
    send_before_s: int
    """Whole seconds until the allowed interval ends: the provider must not deliver later than that."""
    leaves_at: datetime | None = None
    """When the provider is to send it, by the real clock; what is late for that it refuses. None: at once."""
    unsubscribe_url: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    """Facts for structured channels (the popup's amount, days, link), already formatted."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """What is known of an attempt whose outcome is not: enough to ask the provider about it."""

    ref: MessageRef
    address: str = field(repr=False)
    body_sha256: str
    sender: Sender
    started_at: datetime
    asked_at: datetime | None = None
    """Now, by the clock that wrote `started_at`; None: that clock is taken to be right."""
