"""Who carries a portfolio's messages on a channel now: the policy's providers in order, their breakers and
rates.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from worker.channels.base import Channel
from worker.channels.rate import Grant
from worker.domain.breaker import BAD, CAREFUL_CHUNK, PROBES, Breaker
from worker.pipeline.outcomes import Result, Route, answer_of
from worker.pipeline.runtime import Runtime
from worker.portfolios.senders import SenderAt
from worker.store import claim, outcome, senders
from worker.store.claim import DuePortfolio, Share
from worker.store.engine import autocommit

SANDBOX_PER_SECOND = 2000.0
"""The stand-in needs no sparing, and yet may ask for less."""

log = structlog.get_logger()


@dataclass(slots=True)
class Carrier:
    """One sender of a portfolio, as it is used for one batch."""

    share: Share
    adapter: Channel
    mode: str
    terms: SenderAt
    route: Route
    breaker: Breaker
    wanted: int
    """Messages that are due for it, up to a batch."""
    heard: bool = False
    """True once a provider's answer was added to the breaker."""

    @property
    def probing(self) -> bool:
        """It is half open, and this process has the right to try it."""
        return self.breaker.state == "half_open"

    @property
    def lead_s(self) -> float | None:
        """How long the provider is told to wait; None: it sends at once."""
        able = self.adapter.capabilities.recall
        return float(self.terms.fence_lead_s) if able and self.terms.fence == "send_at" else None

    @property
    def chunk(self) -> int:
        """Requests under way at once: few while there is trouble, because each may become unconfirmed."""
        most = self.adapter.capabilities.concurrency
        return most if self.breaker.clean else min(most, CAREFUL_CHUNK)

    @property
    def _rate(self) -> float | None:
        usual = self.adapter.capabilities.per_second
        if usual is not None and self.mode == "sandbox":
            usual = SANDBOX_PER_SECOND
        return self.terms.per_second or usual

    @property
    def _key(self) -> str:
        return f"{self.share.portfolio}:{self.share.channel}:{self.share.provider}:{self.mode}"

    def take(self, runtime: Runtime) -> Grant:
        """What the rate lets through of what is due."""
        if self._rate is None:
            return Grant(self.wanted, float(self.wanted), 0.0)
        return runtime.limiter.take(self._key, self._rate, self.wanted)

    def give_back(self, runtime: Runtime, count: int) -> None:
        """What was taken and is not used."""
        if self._rate is not None:
            runtime.limiter.give_back(self._key, count)

    def slow(self, runtime: Runtime, retry_after_s: float) -> None:
        """The provider asked this sender, and no other, for less."""
        if self._rate is not None:
            runtime.limiter.slow(self._key, self._rate, retry_after_s)
        log.warning("sender.throttled", **self._names(), retry_after_s=retry_after_s)

    def hear(self, runtime: Runtime, results: Iterable[Result]) -> None:
        """Tells the breaker what the provider answered; where that changes nothing, nothing is written."""
        answers = "".join(answer_of(result) for result in results)
        if not answers:
            return
        self.heard = True
        if self.breaker.clean and BAD not in answers:
            return
        share = self.share
        try:
            with runtime.engine.begin() as connection:
                before, self.breaker = senders.hear(
                    connection, share.portfolio, share.channel, share.provider, answers, "no certain answers"
                )
        except DBAPIError as error:
            log.error("sender.not_heard", **self._names(), error=type(error).__name__)
            return
        if before.state != self.breaker.state:
            say = log.error if self.breaker.state == "open" else log.warning
            say("sender.changed", **self._names(), was=before.state, state=self.breaker.state)

    def release(self, runtime: Runtime) -> None:
        """Gives the right to try it back, if it was not tried."""
        if self.probing and not self.heard:
            share = self.share
            with autocommit(runtime.engine) as connection:
                senders.not_tried(connection, share.portfolio, share.channel, share.provider)

    def misconfigured(self, runtime: Runtime, code: str) -> None:
        """Nothing goes through it until a person has put it right and resumes. If no other provider is left,
        the channel pauses. One alarm, however many messages found out.
        """
        share, reason = self.share, f"misconfigured: {code}"
        with runtime.engine.begin() as connection:
            waiting = senders.waiting_for_a_person(connection, share.portfolio, share.channel)
            left = set(share.providers) - waiting - {share.provider}
            if left:
                new = senders.shut(connection, share.portfolio, share.channel, share.provider, reason)
            else:
                new = outcome.pause(
                    connection, portfolio=share.portfolio, channel=share.channel, reason=reason, by="dunlin"
                )
        self.heard = bool(left)
        if new:
            log.error("sender.shut" if left else "channel.paused", **self._names(), code=code)

    def _names(self) -> dict[str, str]:
        share = self.share
        return {"portfolio": share.portfolio, "channel": share.channel, "provider": share.provider}


def carriers(
    runtime: Runtime, connection: Connection, channel: str, portfolio: DuePortfolio
) -> Iterator[Carrier]:
    """The providers that may carry something now, in the policy's order.

    The first that can carries everything that has to go to none in particular. One whose breaker is open is
    left out, and its messages stay scheduled; when its time has come, one process may try it with a few.
    """
    policy = runtime.policies.one(connection, portfolio.policy_hash).policy
    order = policy.providers.get(channel, ())
    known = {name: portfolio.breakers.get(name, Breaker()) for name in order}
    usable = [name for name in order if known[name].state == "closed"]
    free = True
    for provider in order:
        share = Share(portfolio.id, channel, provider, order, free)
        later = [name for name in usable if order.index(name) > order.index(provider)]
        others = [name for name in usable if name != provider]
        route = Route(provider, later[0] if later else None, others[0] if others else None)
        carrier = Carrier(
            share=share,
            adapter=runtime.adapter(channel, provider, portfolio.mode),
            mode=portfolio.mode,
            terms=policy.sender_at(channel, provider),
            route=route,
            breaker=known[provider],
            wanted=0,
        )
        if _may_carry(runtime, connection, carrier):
            free = False
            yield carrier
        elif carrier.breaker.state == "closed":
            free = False


def _may_carry(runtime: Runtime, connection: Connection, carrier: Carrier) -> bool:
    """Counts what is due for it; takes the right to try, if it is open and its time has come."""
    share = carrier.share
    carrier.wanted = claim.due(connection, share, runtime.timing.claim_batch)
    if not carrier.wanted or carrier.breaker.state == "closed":
        return carrier.wanted > 0
    lease_s = runtime.timing.lease_s
    if not senders.try_again(connection, share.portfolio, share.channel, share.provider, lease_s):
        return False
    carrier.breaker = Breaker("half_open", carrier.breaker.recent, carrier.breaker.trips)
    carrier.wanted = min(carrier.wanted, PROBES)
    return True
