"""From a claimed row to the words that go out and the provider's form of them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping

from worker.channels.base import Channel
from worker.domain.links import unsubscribe_url
from worker.domain.message import AccountFacts, MessageFacts, MessageRef, OutgoingMessage
from worker.pipeline.policies import LoadedPolicy
from worker.pipeline.runtime import Runtime
from worker.rendering.facts import popup_extra
from worker.store.begin import Content


@dataclass(frozen=True, slots=True)
class Composed:
    """One claimed message, ready to be posted."""

    row: RowMapping
    adapter: Channel
    outgoing: OutgoingMessage
    payload: Any
    content: Content


def compose(
    runtime: Runtime, row: RowMapping, channel: str, loaded: LoadedPolicy, adapter: Channel
) -> Composed:
    """Renders with today's amounts and builds the provider's form.

    Raises:
        TemplateBroken, TemplateMissing: nothing can be said.
        DeliveryError: the provider cannot carry it.
    """
    ref = MessageRef(row["business_on"], row["id"], row["attempt_id"])
    link = ""
    if channel == "email":
        link = unsubscribe_url(runtime.public_url, runtime.unsubscribe_key, ref.business_on, ref.message_id)
    facts = facts_of(row, channel, loaded, link)
    rendered = runtime.catalogue.render(facts)
    outgoing = OutgoingMessage(
        ref=ref,
        portfolio=loaded.policy.portfolio.id,
        channel=channel,
        address=row["address"],
        rendered=rendered,
        sender=loaded.sender(channel, adapter.provider),
        send_before_s=int(row["send_before_s"]),
        leaves_at=row["leaves_at"],
        unsubscribe_url=link,
        extra=popup_extra(facts) if channel == "in_app" else {},
    )
    content = Content(
        business_on=ref.business_on,
        message_id=ref.message_id,
        attempt_id=ref.attempt_id,
        address=outgoing.address,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        extra=json.dumps(outgoing.extra, ensure_ascii=False) if outgoing.extra else "{}",
        sha256=hashlib.sha256(rendered.text.encode()).hexdigest(),
    )
    return Composed(row, adapter, outgoing, adapter.build(outgoing), content)


def facts_of(row: Mapping[Any, Any], channel: str, loaded: LoadedPolicy, link: str) -> MessageFacts:
    """The claimed row as a template sees it."""
    identity, tier = loaded.policy.portfolio, loaded.policy.tiers.get(row["tier"])
    return MessageFacts(
        locale=identity.locale,
        currency=identity.currency,
        tier=row["tier"],
        channel=channel,
        debtor_name=row["name"],
        accounts=tuple(_account(*values) for values in row["accounts"]),
        creditor=loaded.creditor,
        as_of_on=row["today"],
        unsubscribe_url=link,
        # Not the row's: a policy that asks for no yes must not announce what needs one.
        requires_approval=tier is not None and tier.requires_approval,
    )


def _account(
    external_id: str, principal: str, due: str, due_on: str, dpd: int, rate: str | None
) -> AccountFacts:
    late_rate = None if rate is None else Decimal(rate)
    return AccountFacts(
        external_id, Decimal(principal), Decimal(due), date.fromisoformat(due_on), dpd, late_rate
    )
