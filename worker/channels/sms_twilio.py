"""SMS through Twilio's Messages API over one pooled session; the SDK reads listings and checks signatures."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, timedelta
from hashlib import sha256
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from twilio.base.exceptions import TwilioException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from worker.channels.base import (
    Accepted,
    Capabilities,
    ContentRejected,
    DeliveryError,
    Found,
    InvalidRecipient,
    Misconfigured,
    NotAccepted,
    OutcomeUnknown,
    ProviderConfig,
    Receipt,
    ReceiptStatus,
    SignatureInvalid,
    Transient,
    WebhookRequest,
)
from worker.channels.twilio_codes import SUPPRESSES, status
from worker.channels.twilio_http import API, TwilioHttp, basic, seconds
from worker.domain.message import InFlight, MessageRef, OutgoingMessage

RETRY_CALLBACKS: Final = "#rc=3&rp=all"
"""Twilio's own connection override, not part of what it signs: it asks three more times, after a 503 too."""
MAX_VALIDITY_S: Final = 36_000
"""Longest ValidityPeriod the Messages API takes; also its default."""
MIN_VALIDITY_S: Final = 60
"""With less than this left, Twilio's own queue could carry the message past the allowed hours."""
NOT_CANCELABLE: Final = "30409"
"""Twilio's code for a message that is past being cancelled."""
PAGE_SIZE: Final = 100
MAX_PAGES: Final = 20
"""More messages than this to one number in minutes means that the listing never ends."""
LISTING_SLACK: Final = timedelta(minutes=5)
"""How far Twilio's clock and ours may drift apart; what they are apart when it is asked is known."""
TRIAL_PREFIX: Final = "Sent from your Twilio trial account - "
"""Trial accounts get this in front of every body, in listings too."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_UNREADABLE = (TwilioException, ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What reading a 2xx raises that is not the JSON it should be."""


class TwilioSms:
    """SMS by Twilio. A POST has no idempotency key: what may have arrived is asked for, never sent again."""

    channel: ClassVar[str] = "sms"
    provider: ClassVar[str] = "twilio"
    capabilities: ClassVar[Capabilities] = Capabilities(
        receipts=True,
        lookup=True,
        idempotent=False,
        max_length=1600,
        concurrency=50,
        per_second=100.0,  # of the API: Twilio itself queues what a number may not send yet
        recall=True,
    )

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        options = config.options
        self._account_sid = options.get("account_sid", "")
        self._http = TwilioHttp(options, self.capabilities.concurrency)
        user = options.get("api_key_sid") or self._account_sid
        password = options.get("api_key_secret") or options.get("auth_token", "")
        client = Client(
            user,
            password,
            self._account_sid,
            http_client=self._http,
            environment={"": ""},  # an empty one would make the SDK read ours, TWILIO_EDGE included
        )
        self._messages = client.messages
        self._url = f"{self._http.base_url}/2010-04-01/Accounts/{self._account_sid}/Messages.json"
        self._headers = {
            "Authorization": basic(user, password),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        tokens = (options.get("auth_token"), options.get("previous_auth_token"))
        self._validators = [RequestValidator(token) for token in tokens if token]

    @classmethod
    def from_config(cls, config: ProviderConfig) -> "TwilioSms":
        return cls(config)

    def check(self) -> None:
        """Names every setting that is missing or wrong; asks Twilio nothing.

        Raises:
            Misconfigured: with the names of the settings, never their values.
        """
        options = self._config.options
        wrong = [f"{name} is missing" for name in ("account_sid", "auth_token") if not options.get(name)]
        if self._account_sid and not self._account_sid.startswith("AC"):
            wrong.append("account_sid does not begin with AC")
        if bool(options.get("api_key_sid")) != bool(options.get("api_key_secret")):
            wrong.append("api_key_sid and api_key_secret belong together")
        urls = {"base_url": options.get("base_url") or API, "public_url": self._config.public_url}
        for name, url in urls.items():
            if not url.startswith(("https://", "http://")):
                wrong.append(f"{name} is no http or https URL")
        if wrong:
            raise Misconfigured("sms.twilio: " + "; ".join(wrong))
        for name in ("timeout_s", "connect_timeout_s"):
            seconds(options, name, 1.0)

    def build(self, message: OutgoingMessage) -> dict[str, str]:
        """The form that creates a Message resource.

        Raises:
            ContentRejected: no text, or more than Twilio carries.
            InvalidRecipient: the address is not an E.164 number.
            Misconfigured: the portfolio names no sender.
            Transient: the allowed interval is all but over.
        """
        text, sender, ref = message.rendered.text, message.sender, message.ref
        if not _E164.fullmatch(message.address):
            raise InvalidRecipient("address is no E.164 number")
        if not text.strip() or len(text) > self.capabilities.max_length:
            raise ContentRejected(f"text of {len(text)} characters, not 1 to {self.capabilities.max_length}")
        if message.send_before_s < MIN_VALIDITY_S:
            raise Transient(f"window closes in under {MIN_VALIDITY_S} s")
        if not (sender.messaging_service_sid or sender.sms_from):
            raise Misconfigured("the policy names neither messaging_service_sid nor sms_from")
        if message.leaves_at and not sender.messaging_service_sid:
            raise Misconfigured("a scheduled message needs messaging_service_sid")
        form = {
            "To": message.address,
            "Body": text,
            "StatusCallback": f"{self._config.public_url}/webhooks/twilio/status"
            f"?b={ref.business_on}&m={ref.message_id}&a={ref.attempt_id}{RETRY_CALLBACKS}",
            "ValidityPeriod": str(min(MAX_VALIDITY_S, message.send_before_s)),
        }
        if message.leaves_at:
            form["ScheduleType"] = "fixed"
            form["SendAt"] = message.leaves_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if sender.messaging_service_sid:
            return form | {"MessagingServiceSid": sender.messaging_service_sid}
        return form | {"From": sender.sms_from}

    async def send(self, payload: Mapping[str, str]) -> Accepted:
        """One POST. A `DeliveryError` says whether Twilio may have the message."""
        answer = await self._http.post(self._url, payload, self._headers)
        try:
            created = json.loads(answer)
            sid, said = created["sid"], status(created.get("status"))
        except _UNREADABLE as error:
            raise OutcomeUnknown(f"unreadable 2xx: {type(error).__name__}") from None  # it holds the answer
        if not (isinstance(sid, str) and sid):
            raise OutcomeUnknown("2xx without a sid")
        return Accepted(sid, said)

    async def find(self, attempt: InFlight) -> Found | None:
        """Looks for the attempt's text among what Twilio holds for the number.

        No date filter: Twilio filters by the day sent, which a queued message does not have yet. Pages come
        newest first and are read until one holds nothing younger than the attempt.

        Raises:
            Transient: the listing could not be read, which says nothing about the message.
        """
        since = attempt.started_at - LISTING_SLACK
        try:
            page = await self._messages.page_async(to=attempt.address, page_size=PAGE_SIZE)
            since -= self._ahead(attempt)
            for _ in range(MAX_PAGES):
                recent = [each for each in page if not each.date_created or each.date_created >= since]
                for listed in recent:
                    if _is(listed, attempt):
                        return Found(listed.sid, status(listed.status), str(listed.error_code or ""))
                page = await page.next_page_async() if recent else None
                if page is None:
                    return None
        except DeliveryError as error:
            raise Transient(f"listing failed: {error}", code=error.code) from error
        except _UNREADABLE as error:
            raise Transient(f"listing unreadable: {type(error).__name__}") from None  # it holds the answer
        raise Transient(f"listing has more than {MAX_PAGES} pages")

    def _ahead(self, attempt: InFlight) -> timedelta:
        """How far the clock of `started_at` is ahead of Twilio's, which dates what it lists."""
        answered_at = self._http.answered_at
        if attempt.asked_at is None or answered_at is None:
            return timedelta(0)
        return max(timedelta(0), attempt.asked_at - answered_at)

    async def recall(self, provider_id: str) -> bool:
        """Cancels a scheduled message. True, too, if it was cancelled before.

        Raises:
            DeliveryError: nobody knows whether it was.
        """
        message = self._messages(provider_id)
        try:
            try:
                changed = await message.update_async(status="canceled")
            except NotAccepted as error:
                if error.code != NOT_CANCELABLE:
                    raise
                changed = await message.fetch_async()
        except _UNREADABLE as error:
            raise OutcomeUnknown(f"unreadable 2xx: {type(error).__name__}") from None  # it holds the answer
        return status(changed.status) is ReceiptStatus.CANCELLED

    async def announce(self, messages: Sequence[OutgoingMessage]) -> None:
        """Nobody of ours waits for an SMS."""

    def parse_receipt(self, request: WebhookRequest) -> Receipt:
        """A status callback. Names of the attempt come from the signed URL."""
        form = request.form
        signature = next((v for k, v in request.headers.items() if k.lower() == "x-twilio-signature"), "")
        # A list, not a generator: the time must not tell which token it was.
        valid = [validator.validate(request.url, form, signature) for validator in self._validators]
        if not any(valid) or form.get("AccountSid") != self._account_sid:
            raise SignatureInvalid("not signed by Twilio for this account")
        code = form.get("ErrorCode", "")
        return Receipt(
            ref=_ref(request.url),
            provider_id=form.get("MessageSid", ""),
            status=status(form.get("MessageStatus")),
            code=code,
            suppress=SUPPRESSES.get(code, ""),
            raw=dict(form),
        )

    async def close(self) -> None:
        await self._http.close()


def _is(listed: Any, attempt: InFlight) -> bool:
    text = (listed.body or "").removeprefix(TRIAL_PREFIX)
    if sha256(text.encode()).hexdigest() != attempt.body_sha256:
        return False
    if attempt.sender.messaging_service_sid:
        return bool(listed.messaging_service_sid == attempt.sender.messaging_service_sid)
    return bool(listed.from_ == attempt.sender.sms_from)


def _ref(url: str) -> MessageRef | None:
    query = dict(parse_qsl(urlsplit(url).query))
    try:
        return MessageRef(date.fromisoformat(query["b"]), UUID(query["m"]), UUID(query["a"]))
    except (KeyError, ValueError):
        return None
