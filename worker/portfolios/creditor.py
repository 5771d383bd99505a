"""`[creditor]`: who writes, in the lender's own words, and what those words claim."""

from email_validator import EmailNotValidError, validate_email
from pydantic import Field, field_validator

from worker.domain.rules.vocabulary import CLAIMS
from worker.portfolios.strict import Strict

CLAIMS_OF: dict[str, tuple[str, ...]] = {
    "credit_record_wording": ("credit_report",),
    "legal_steps": ("legal_action",),
}
"""What wordings claim unless `[creditor.claims]` says otherwise; the others claim nothing."""


class CreditorConfig(Strict):
    """`[creditor]`: who writes, in the lender's own words."""

    name: str = Field(min_length=1)
    sms_signature: str = Field(default="", max_length=16)
    hotline: str = Field(min_length=1)
    email: str
    postal_address: str = Field(min_length=1)
    payment_ways: tuple[str, ...] = Field(min_length=1)
    pay_url: str = Field(pattern=r"^https://")
    dispute_route: str = Field(min_length=1)
    hardship_route: str = Field(min_length=1)
    legal_basis: str = Field(min_length=1)
    further_steps: str = Field(min_length=1)
    late_fee_wording: str = Field(min_length=1)
    credit_record_wording: str = Field(min_length=1)
    # Whether one of these may be empty depends on the locale and the rule packs: see pipeline/content.py.
    legal_steps: str = ""
    rights_and_duties: str = ""
    account_query_route: str = ""
    debt_advice_route: str = ""
    collector_disclosure_initial: str = ""
    collector_disclosure: str = ""
    claims: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """What a wording claims, in words of the rule packs; replaces `CLAIMS_OF` for the wordings it names."""

    @field_validator("email")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return validate_email(value, check_deliverability=False, test_environment=True).normalized
        except EmailNotValidError as error:
            raise ValueError(str(error)) from None

    @field_validator("claims")
    @classmethod
    def _known_claims(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        wordings = cls.model_fields.keys() - {"claims"}
        for wording, claims in value.items():
            if wording not in wordings:
                raise ValueError(f"no such wording: {wording!r}; there are {', '.join(sorted(wordings))}")
            for claim in claims:
                if claim not in CLAIMS:
                    raise ValueError(f"no such claim: {claim!r}; there are {', '.join(sorted(CLAIMS))}")
        return value
