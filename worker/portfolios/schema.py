"""The shape of a portfolio file, and what makes one invalid."""

from datetime import time
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from babel import Locale, UnknownLocaleError
from babel.numbers import list_currencies
from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, Field, field_validator, model_validator

from worker.domain.message import CHANNELS, Creditor, Sender
from worker.domain.tiers import Tier
from worker.domain.window import ZoneUnknown, zone_of
from worker.portfolios.allowlist import normalised
from worker.portfolios.creditor import CLAIMS_OF, CreditorConfig
from worker.portfolios.prices import Prices
from worker.portfolios.rules import Rules, Window
from worker.portfolios.senders import ProviderName, Providers, SenderAt, SenderConfig
from worker.portfolios.strict import Strict


def _zone(name: str) -> str:
    try:
        zone_of(name)
    except ZoneUnknown as error:
        raise ValueError(str(error)) from None
    return name


def _channel(name: str) -> str:
    if name not in CHANNELS:
        raise ValueError(f"no such channel: {name!r}; there are {', '.join(CHANNELS)}")
    return name


Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]
Count = Annotated[int, Field(strict=True, ge=0, le=36_500)]
Zone = Annotated[str, AfterValidator(_zone)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Channel = Annotated[str, AfterValidator(_channel)]


LEAST_LEAD_S = 420
"""Twilio refuses a scheduled message less than 300 s ahead; a batch may take most of two minutes."""


class Identity(Strict):
    """`[portfolio]`: which book this is and where it lives."""

    id: Name
    title: str = Field(min_length=1)
    locale: str
    """BCP 47; must have templates."""
    currency: str
    timezone: Zone
    """Business dates and the schedule are of this zone."""
    borrower_zone: Literal[""] | Zone = ""
    """Zone of borrowers who have none of their own; empty: they are not contacted."""
    region: str
    """ISO 3166 code by which phone numbers without a country code are read."""
    mode: Literal["sandbox", "allowlist", "live"] = "sandbox"
    allowlist: Annotated[tuple[str, ...], AfterValidator(normalised)] = ()
    """Addresses that mode `allowlist` may use."""

    @field_validator("locale")
    @classmethod
    def _known_locale(cls, value: str) -> str:
        try:
            Locale.parse(value, sep="-")
        except (UnknownLocaleError, ValueError):
            raise ValueError(f"no such locale: {value!r}") from None
        return value

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, value: str) -> str:
        if value not in list_currencies():
            raise ValueError(f"no such currency: {value!r}")
        return value

    @field_validator("region")
    @classmethod
    def _known_region(cls, value: str) -> str:
        if value not in SUPPORTED_REGIONS:
            raise ValueError(f"no such region: {value!r}")
        return value


class Schedule(Strict):
    """`[schedule]`: when the day's run is due, local time of the portfolio."""

    at: time = time(9)

    @field_validator("at")
    @classmethod
    def _to_the_minute(cls, value: time) -> time:
        if value.tzinfo or value.second or value.microsecond:
            raise ValueError("a local time of the form HH:MM")
        return value


class Requires(Strict):
    """An earlier tier that must have been sent before this one."""

    tier: Name
    days: Count


class TierConfig(Strict):
    """`[tiers.<name>]`."""

    dpd_from: Days
    dpd_to: Days | None = None
    amount_from: Decimal | None = Field(default=None, gt=0)
    requires: Requires | None = None
    repeat_every_days: Days = 1
    max_repeats: Count | None = None
    requires_approval: bool = False
    expires_after_h: int = Field(default=48, strict=True, ge=1, le=24 * 31)
    max_defer_h: int | None = Field(default=None, strict=True, ge=1, le=24 * 31)
    channels: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.dpd_to is not None and self.dpd_to < self.dpd_from:
            raise ValueError(f"dpd_to {self.dpd_to} is before dpd_from {self.dpd_from}")
        unknown = [c for c in self.channels if c not in CHANNELS]
        if unknown:
            raise ValueError(f"no such channel: {', '.join(unknown)}; there are {', '.join(CHANNELS)}")
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("a channel is named twice")
        return self

    def to_domain(self, name: str) -> Tier:
        fields = self.model_dump(exclude={"requires"})
        requires = self.requires
        return Tier(
            name=name,
            requires_tier=requires.tier if requires else None,
            requires_days=requires.days if requires else 0,
            **fields,
        )


class Guards(Strict):
    """`[guards]`: what stops a portfolio's messages until a person, or a new book, says otherwise."""

    volume_factor: float = Field(default=1.5, ge=1, le=1000)
    """A run is held if it plans more than this many times the largest of the fourteen days before: half as
    much again is more than a cadence or a month's end makes, and less than a book loaded wrong.
    """
    volume_floor: int = Field(default=500, strict=True, ge=0)
    """And more than this many messages; fewer can be read one by one, and swing widely from day to day."""
    max_ledger_age_h: int | None = Field(default=None, strict=True, ge=1, le=24 * 366)
    """Nothing is sent from a book whose accounts file is older; None: however old it is."""


class Policy(Strict):
    """One portfolio's file, validated. Two equal files have one version."""

    portfolio: Identity
    schedule: Schedule = Schedule()
    send_window: Window = Window()
    rules: Rules = Rules()
    tiers: dict[Name, TierConfig] = Field(min_length=1)
    providers: dict[Channel, Providers]
    """Which provider carries a channel; of several, the first that can."""
    creditor: CreditorConfig
    sender: SenderConfig = SenderConfig()
    guards: Guards = Guards()
    senders: dict[Channel, dict[ProviderName, SenderAt]] = Field(default_factory=dict)
    prices: Prices | None = None
    """None: simulations show no cost."""

    @model_validator(mode="after")
    def _tiers_fit_together(self) -> Self:
        names = [tier.name for tier in self.ordered_tiers()]
        reached = 0
        for tier in self.ordered_tiers():
            key = f"tiers.{tier.name}.dpd_from"
            if tier.dpd_from <= reached:
                raise ValueError(f"{key}: day {tier.dpd_from} belongs to the tier before it too")
            if reached and tier.dpd_from > reached + 1:
                raise ValueError(f"{key}: days {reached + 1} to {tier.dpd_from - 1} belong to no tier")
            reached = tier.dpd_to if tier.dpd_to is not None else 10**6
            earlier = names[: names.index(tier.name)]
            if tier.requires_tier is not None and tier.requires_tier not in earlier:
                raise ValueError(f"tiers.{tier.name}.requires: {tier.requires_tier!r} is no earlier tier")
            for channel in tier.channels:
                if channel not in self.providers:
                    raise ValueError(f"tiers.{tier.name}.channels: providers names none for {channel!r}")
        return self

    @model_validator(mode="after")
    def _senders_are_named(self) -> Self:
        for channel in sorted({c for tier in self.tiers.values() for c in tier.channels}):
            for provider in self.providers[channel]:
                self._sender_is_named(channel, self.sender_identity(channel, provider))
        for channel, senders in self.senders.items():
            for provider, sender in senders.items():
                self._sender_fits(channel, provider, sender)
        return self

    def _sender_is_named(self, channel: str, sender: Sender) -> None:
        if channel == "sms" and not (sender.sms_from or sender.messaging_service_sid):
            raise ValueError("sender: sms needs sms_from or messaging_service_sid")
        if channel == "email" and not sender.email_from:
            raise ValueError("sender: email needs email_from")

    def _sender_fits(self, channel: str, provider: str, sender: SenderAt) -> None:
        key = f"senders.{channel}.{provider}"
        if provider not in self.providers.get(channel, ()):
            raise ValueError(f"{key}: providers.{channel} does not name it")
        if sender.unconfirmed == "resend" and channel != "email":
            raise ValueError(f"{key}.unconfirmed: only a mail may be sent again, under its Message-ID")
        if sender.fence == "none":
            return
        if not self.sender_identity(channel, provider).messaging_service_sid:
            raise ValueError(f"{key}.fence: send_at needs a messaging_service_sid")
        if self.portfolio.mode != "sandbox" and sender.fence_lead_s < LEAST_LEAD_S:
            raise ValueError(f"{key}.fence_lead_s: less than {LEAST_LEAD_S} s leave the worker no time")

    def ordered_tiers(self) -> tuple[Tier, ...]:
        """Mildest first."""
        tiers = (config.to_domain(name) for name, config in self.tiers.items())
        return tuple(sorted(tiers, key=lambda tier: tier.dpd_from))

    def creditor_words(self) -> Creditor:
        return Creditor(**self.creditor.model_dump(exclude={"claims"}))

    def claims_of_wordings(self) -> dict[str, tuple[str, ...]]:
        """What each wording under `[creditor]` claims; those that are not named claim nothing."""
        return CLAIMS_OF | self.creditor.claims

    def sender_at(self, channel: str, provider: str) -> SenderAt:
        return self.senders.get(channel, {}).get(provider, SenderAt())

    def sender_identity(self, channel: str, provider: str) -> Sender:
        """Who a message is from at this provider."""
        return Sender(**self.sender_at(channel, provider).over(self.sender).model_dump())

    def body(self) -> dict[str, Any]:
        """The whole policy as JSON, for `versions`."""
        return self.model_dump(mode="json")
