"""`[prices]`: what contacts cost the lender, for simulations."""

from decimal import Decimal
from typing import Annotated

from babel.numbers import list_currencies
from pydantic import AfterValidator, Field

from worker.portfolios.strict import Strict


def _currency(value: str) -> str:
    if value not in list_currencies():
        raise ValueError(f"no such currency: {value!r}")
    return value


Price = Annotated[Decimal, Field(ge=0, lt=1_000_000)]


class Prices(Strict):
    """Of one message, or of one segment of an SMS. What has no price is counted, and adds no cost."""

    currency: Annotated[str, AfterValidator(_currency)]
    """What the providers bill in; need not be the portfolio's."""
    sms_segment: Price | None = None
    email: Price | None = None
    in_app: Price | None = None
    push: Price | None = None
    voice: Price | None = None
    letter: Price | None = None
    agent_call: Price | None = None

    def per_unit(self, channel: str) -> Decimal | None:
        """Of a segment for `sms`, of a message else; None: no price is known."""
        price: Decimal | None = getattr(self, "sms_segment" if channel == "sms" else channel)
        return price
