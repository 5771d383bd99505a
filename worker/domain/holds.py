"""Holds: what each type means, who acts on it, and which states it stands for in rule packs.

Every active hold stops collection messages as `house.hold.<type>`, whatever the packs say. A pack can only
add its own ids to that, and decide messages of other purposes.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class HoldType(StrEnum):
    """Why a borrower, or one of their accounts, must not be collected from."""

    DISPUTE = "dispute"
    """They object to the debt or to its amount. Operations answer it, then lift the hold."""
    HARDSHIP = "hardship"
    """In financial difficulty, or keeping an arrangement made because of it. Whoever agrees and reviews
    arrangements acts.
    """
    BANKRUPTCY = "bankruptcy"
    """A court's stay, or an order like it, is in force. The legal team acts, through the court."""
    DECEASED = "deceased"
    """The borrower has died. Whoever deals with estates acts; only they speak to the executor."""
    ATTORNEY = "attorney"
    """A lawyer acts for the borrower. The legal team acts, through that lawyer."""
    CEASE_CONTACT = "cease_contact"
    """They said that they will have no further contact. Lifted only when they say so themselves."""
    PROMISE_TO_PAY = "promise_to_pay"
    """They promised to pay by the hold's last day. Nobody acts: it ends there, and upkeep judges it."""
    BREATHING_SPACE = "breathing_space"
    """A statutory breathing space runs. The debt adviser who opened it acts, and ends it."""
    IDENTITY_THEFT = "identity_theft"
    """They say that somebody else made the debt. Whoever investigates fraud acts, then lifts the hold."""
    MINOR = "minor"
    """The borrower is under age. The legal team acts, through parents or guardian."""
    INCAPACITATED = "incapacitated"
    """The borrower cannot act in law. The legal team acts, through the guardian."""
    MENTAL_CAPACITY_LIMITED = "mental_capacity_limited"
    """A limit of mental capacity was notified. Trained staff act; the hold stays while it lasts."""
    MENTAL_HEALTH_CRISIS_MORATORIUM = "mental_health_crisis_moratorium"
    """A mental health crisis moratorium runs. The debt adviser who opened it acts, and ends it."""
    REPAYMENT_PLAN_IN_PREPARATION = "repayment_plan_in_preparation"
    """A debt adviser prepares a repayment plan. Operations give it reasonable time, then lift the hold."""
    COLLECTION_SUSPENDED_AGREED = "collection_suspended_agreed"
    """Both sides agreed to suspend collection: illness, disaster, a death. It ends on the agreed day."""
    STATUTE_BARRED_AND_REFUSED = "statute_barred_and_refused"
    """Too old to be sued for, and they said that they will not pay. It stays; the legal team decides."""
    ORIGINAL_CREDITOR_REQUESTED = "original_creditor_requested"
    """They asked who the original creditor is. Operations send name and address, then lift the hold."""


class PromiseOutcome(StrEnum):
    """What the ledger says of a promise to pay, once it is over and a newer book has been imported."""

    KEPT = "kept"
    """Nothing that was due by its end is still overdue, or at least the promised amount was paid."""
    BROKEN = "broken"
    """Neither. Operations may call; Dunlin's own messages take their usual course."""


_T = HoldType
_OBJECTED = frozenset({"disputed", "disputed_in_validation_period", "disputed_valid_grounds"})
"""A hold does not say when and on which grounds they object: all that packs tell apart is taken as true."""

PACK_STATES: Mapping[HoldType, frozenset[str]] = {
    _T.DISPUTE: _OBJECTED,
    _T.HARDSHIP: frozenset({"hardship", "hardship_arrangement_current"}),
    _T.BANKRUPTCY: frozenset({"bankruptcy"}),
    _T.DECEASED: frozenset({"deceased"}),
    _T.ATTORNEY: frozenset({"attorney_represented"}),
    _T.CEASE_CONTACT: frozenset({"cease_communication", "contact_refused"}),
    _T.PROMISE_TO_PAY: frozenset({"promise_to_pay"}),
    _T.BREATHING_SPACE: frozenset({"breathing_space"}),
    # Who says that it is not their debt also disputes it.
    _T.IDENTITY_THEFT: frozenset({"identity_theft"}) | _OBJECTED,
    _T.MINOR: frozenset({"minor"}),
    _T.INCAPACITATED: frozenset({"incapacitated"}),
    _T.MENTAL_CAPACITY_LIMITED: frozenset({"mental_capacity_limited"}),
    _T.MENTAL_HEALTH_CRISIS_MORATORIUM: frozenset({"mental_health_crisis_moratorium"}),
    _T.REPAYMENT_PLAN_IN_PREPARATION: frozenset({"repayment_plan_in_preparation"}),
    _T.COLLECTION_SUSPENDED_AGREED: frozenset({"collection_suspended_agreed"}),
    _T.STATUTE_BARRED_AND_REFUSED: frozenset({"statute_barred_and_refused", "time_barred"}),
    _T.ORIGINAL_CREDITOR_REQUESTED: frozenset({"original_creditor_requested"}),
}
"""The states that an active hold of each type makes true. None of them is one on which a pack loosens: that
somebody cannot be reached, agreed to be written to at work, or has a lawyer who does not answer, is a fact of
its own and no hold. Nor are refusals by third parties and employers: they close an address, not an account.
"""


def pack_states(types: Iterable[str]) -> frozenset[str]:
    """The states that active holds of these types make true.

    Raises:
        ValueError: there is no such type.
    """
    return frozenset().union(*(PACK_STATES[HoldType(name)] for name in types))
