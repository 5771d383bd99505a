"""`[providers]`, `[sender]`, `[senders.<channel>.<provider>]`: who carries a channel, under which name."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from worker.portfolios.strict import Strict

ProviderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


def _in_order(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Providers = Annotated[tuple[ProviderName, ...], BeforeValidator(_in_order), Field(min_length=1)]
"""One name, or several in the order in which they are used."""

SmsFrom = Annotated[str, Field(pattern=r"^(\+\d{7,15})?$")]
ServiceSid = Annotated[str, Field(pattern=r"^(MG[0-9a-f]{32})?$")]


class SenderConfig(Strict):
    """`[sender]`: the identities messages go out under."""

    sms_from: SmsFrom = ""
    messaging_service_sid: ServiceSid = ""
    email_from: str = ""
    email_reply_to: str = ""


class SenderAt(Strict):
    """`[senders.<channel>.<provider>]`: what differs for this sender at this provider."""

    sms_from: SmsFrom | None = None
    """None, for this and the other identities: as `[sender]` says."""
    messaging_service_sid: ServiceSid | None = None
    email_from: str | None = None
    email_reply_to: str | None = None
    per_second: float | None = Field(default=None, gt=0, le=10_000, allow_inf_nan=False)
    """Messages per second, over all workers; None: what the adapter takes for usual."""
    fence: Literal["none", "send_at"] = "none"
    """send_at: the provider is told to wait until a fixed time, and refuses what reaches it too late."""
    fence_lead_s: int = Field(default=900, strict=True, ge=1, le=7200)
    """How long it is told to wait. Twilio wants more than 300."""
    unconfirmed: Literal["hold", "resend"] = "hold"
    """What becomes of a mail that may have gone out: a person decides, or it goes again under the same
    Message-ID.
    """

    def over(self, sender: SenderConfig) -> SenderConfig:
        """The identity at this provider."""
        own = {
            name: value for name in SenderConfig.model_fields if (value := getattr(self, name)) is not None
        }
        return sender.model_copy(update=own)

    @model_validator(mode="after")
    def _has_time(self) -> Self:
        if self.fence == "none" and "fence_lead_s" in self.model_fields_set and self.fence_lead_s != 900:
            raise ValueError("fence_lead_s means nothing without fence")
        return self
