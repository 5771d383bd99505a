"""What no lender's message may claim, whatever packs its portfolio names: one more pack in every stack."""

from worker.domain.rules.hard_rules import Claim
from worker.domain.rules.pack import Pack
from worker.domain.rules.rule import Strength

_NEVER = (
    "arrest",
    "authority_impersonation",
    "borrow_to_repay",
    "fees_not_owed",
    "fictitious_blacklist",
    "public_shaming",
    "wrong_amount",
)
_WITH_APPROVAL = ("debt_sale", "garnishment_or_seizure", "legal_action", "visit")

CLAIMS = Pack(
    id="house-claims",
    title="What no message may claim, or only with approval or the fact",
    status="active",
    rules=(
        *(Claim(id="house.claim.never", strength=Strength.HOUSE, claim=name, always=True) for name in _NEVER),
        *(
            Claim(
                id="house.claim.approval",
                strength=Strength.HOUSE,
                claim=name,
                needs_approval=frozenset({"legal"}),
            )
            for name in _WITH_APPROVAL
        ),
        Claim(
            id="house.claim.credit_report",
            strength=Strength.HOUSE,
            claim="credit_report",
            needs_fact=frozenset({"reports_to_credit_bureau"}),
        ),
        Claim(
            id="house.claim.attorney",
            strength=Strength.HOUSE,
            claim="from_attorney",
            needs_fact=frozenset({"sender_is_attorney"}),
        ),
    ),
)
