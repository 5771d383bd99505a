"""The tables as SQLAlchemy sees them. The migrations make them; a test holds the two together.

Functions and triggers are in the migrations alone.
"""

from worker.store.models.attempts import Attempt, InboundMessage, Receipt, StrayReceipt
from worker.store.models.base import Base
from worker.store.models.book import (
    Account,
    Borrower,
    Consent,
    Contact,
    Hold,
    Portfolio,
    Suppression,
    Version,
)
from worker.store.models.control import Audit, ClockOffset, Epoch, MessageMove, Pause
from worker.store.models.messages import Message, MessageAccount, MessageContent, MessageEvent, MessageVerdict
from worker.store.models.runs import Run, RunExclusion, RunShard
from worker.store.models.senders import Sender

__all__ = [
    "Account",
    "Attempt",
    "Audit",
    "Base",
    "Borrower",
    "ClockOffset",
    "Consent",
    "Contact",
    "Epoch",
    "Hold",
    "InboundMessage",
    "Message",
    "MessageAccount",
    "MessageContent",
    "MessageEvent",
    "MessageMove",
    "MessageVerdict",
    "Pause",
    "Portfolio",
    "Receipt",
    "Run",
    "RunExclusion",
    "RunShard",
    "Sender",
    "StrayReceipt",
    "Suppression",
    "Version",
]
