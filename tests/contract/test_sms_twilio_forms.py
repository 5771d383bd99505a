"""What TwilioSms refuses to build, whose callbacks it believes, and how it reads Twilio's words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from uuid import UUID

import pytest
from twilio.request_validator import RequestValidator
from twilio.rest.api.v2010.account.message import MessageInstance

from worker.channels.base import (
    ContentRejected,
    DeliveryError,
    InvalidRecipient,
    Misconfigured,
    ProviderConfig,
    Receipt,
    ReceiptStatus,
    SignatureInvalid,
    Throttled,
    Transient,
    WebhookRequest,
)
from worker.channels.sms_twilio import TwilioSms
from worker.channels.twilio_codes import REFUSALS, STATUSES, SUPPRESSES, refusal, retry_after_s
from worker.domain.message import MessageRef, OutgoingMessage, Rendered, Sender

ACCOUNT = "AC" + "0" * 32
REF = MessageRef(date(2026, 11, 2), UUID(int=1), UUID(int=2))
MESSAGE = OutgoingMessage(
    REF, "cards", "sms", "+12025550142", Rendered("Please pay."), Sender(sms_from="+12025550100"), 3600
)
OPTIONS = {"account_sid": ACCOUNT, "auth_token": "new", "previous_auth_token": "old"}
URL = f"https://dunlin.example.com/webhooks/twilio/status?b=2026-11-02&m={UUID(int=1)}&a={UUID(int=2)}"
FORM = {"AccountSid": ACCOUNT, "MessageSid": "SM1", "MessageStatus": "delivered", "To": "+12025550142"}


def adapter(public_url: str = "https://dunlin.example.com", **options: str) -> TwilioSms:
    return TwilioSms.from_config(ProviderConfig(OPTIONS | options, public_url, ""))


REFUSED: dict[str, tuple[OutgoingMessage, type[DeliveryError]]] = {
    "no plus": (replace(MESSAGE, address="12025550142"), InvalidRecipient),
    "too short": (replace(MESSAGE, address="+120255"), InvalidRecipient),
    "too long": (replace(MESSAGE, address="+1202555014212345"), InvalidRecipient),
    "blanks": (replace(MESSAGE, address="+1 202 555 0142"), InvalidRecipient),
    "foreign digits": (replace(MESSAGE, address="+١٢٠٢٥٥٥٠١٤٢"), InvalidRecipient),
    "trailing line end": (replace(MESSAGE, address="+12025550142\n"), InvalidRecipient),
    "no text": (replace(MESSAGE, rendered=Rendered("")), ContentRejected),
    "blank text": (replace(MESSAGE, rendered=Rendered(" \n")), ContentRejected),
    "1601 characters": (replace(MESSAGE, rendered=Rendered("x" * 1601)), ContentRejected),
    "59 seconds left": (replace(MESSAGE, send_before_s=59), Transient),
    "no sender": (replace(MESSAGE, sender=Sender(email_from="mail@example.com")), Misconfigured),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_twilio_cannot_carry_is_refused_before_it_is_sent(name: str) -> None:
    message, expected = REFUSED[name]
    with pytest.raises(expected):
        adapter().build(message)


@pytest.mark.parametrize(
    "message",
    [
        replace(MESSAGE, address="+1202555"),
        replace(MESSAGE, address="+120255501421234"),
        replace(MESSAGE, rendered=Rendered("逾" * 1600)),
        replace(MESSAGE, send_before_s=60),
    ],
)
def test_the_last_good_value_of_each_limit_is_built(message: OutgoingMessage) -> None:
    assert adapter().build(message)["To"] == message.address


MISSING: dict[str, tuple[TwilioSms, str]] = {
    "account": (adapter(account_sid=""), "account_sid is missing"),
    "account of another kind": (adapter(account_sid="SK1"), "account_sid does not begin with AC"),
    "token": (adapter(auth_token=""), "auth_token is missing"),
    "half an API key": (adapter(api_key_sid="SK1"), "api_key_secret"),
    "base URL": (adapter(base_url="api.twilio.com"), "base_url"),
    "public URL": (adapter(""), "public_url"),
    "timeout": (adapter(timeout_s="soon"), "timeout_s"),
    "no timeout at all": (adapter(connect_timeout_s="0"), "connect_timeout_s"),
}


@pytest.mark.parametrize("name", MISSING)
def test_check_names_the_setting_that_is_wrong(name: str) -> None:
    sms, said = MISSING[name]
    with pytest.raises(Misconfigured, match=said):
        sms.check()


def test_check_accepts_a_complete_configuration() -> None:
    adapter(api_key_sid="SK1", api_key_secret="s", base_url="http://127.0.0.1:8026").check()


def callback(
    *, key: str = "new", url: str = URL, signed_url: str = URL, changed: Mapping[str, str] | None = None,
    form: Mapping[str, str] = FORM, signature: str | None = None,
) -> WebhookRequest:  # fmt: skip
    """A genuine callback, unless told otherwise: `changed` is done to the form after signing."""
    signed = RequestValidator(key).compute_signature(signed_url, form)
    headers = {"X-Twilio-Signature": signed if signature is None else signature}
    return WebhookRequest(url, dict(form) | dict(changed or {}), {}, headers if signature != "" else {})


LOWER = {name.lower(): value for name, value in callback().headers.items()}
SIGNED: dict[str, tuple[WebhookRequest, bool]] = {
    "by the token": (callback(), True),
    "by the token before the rotation": (callback(key="old"), True),
    "header in lower case": (replace(callback(), headers=LOWER), True),
    "with a parameter that is new to us": (callback(form=FORM | {"RawDlrDoneDate": "2611021500"}), True),
    "by another token": (callback(key="other"), False),
    "not at all": (callback(signature=""), False),
    "badly": (callback(signature="bm9uc2Vuc2U="), False),
    "with no ASCII": (callback(signature="é"), False),
    "body changed": (callback(changed={"MessageStatus": "failed"}), False),
    "parameter added": (callback(changed={"ErrorCode": "21610"}), False),
    "query changed": (callback(url=URL.replace("2026-11-02", "2026-11-03")), False),
    "other host": (callback(signed_url=URL.replace("dunlin.", "elsewhere.")), False),
    "other account": (callback(form=FORM | {"AccountSid": "AC" + "1" * 32}), False),
    "no account": (callback(form={"MessageSid": "SM1"}), False),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED)
def test_only_what_twilio_signed_for_this_account_is_believed(name: str) -> None:
    request, genuine = SIGNED[name]
    if genuine:
        assert adapter().parse_receipt(request).provider_id == "SM1"
    else:
        with pytest.raises(SignatureInvalid):
            adapter().parse_receipt(request)


def test_without_a_token_nothing_is_believed() -> None:
    with pytest.raises(SignatureInvalid):
        adapter(auth_token="", previous_auth_token="").parse_receipt(callback(key=""))


def test_a_receipt_says_what_became_of_which_attempt() -> None:
    form = FORM | {"MessageStatus": "undelivered", "ErrorCode": "30005"}
    expected = Receipt(REF, "SM1", ReceiptStatus.UNDELIVERED, "30005", "invalid_recipient", form)
    assert adapter().parse_receipt(callback(form=form)) == expected


@pytest.mark.parametrize("query", ["", "?b=2026-11-02", "?b=x&m=1&a=2", f"?b=2026-11-02&m={UUID(int=1)}&a="])
def test_a_receipt_without_our_names_is_kept_without_a_reference(query: str) -> None:
    url = URL.split("?", maxsplit=1)[0] + query
    receipt = adapter().parse_receipt(callback(url=url, signed_url=url))
    assert (receipt.ref, receipt.provider_id) == (None, "SM1")


@pytest.mark.parametrize(
    ("code", "reason"),
    [("21610", "opted_out"), ("30005", "invalid_recipient"), ("30006", "invalid_recipient"),
     ("21614", "invalid_recipient"), ("30003", ""), ("30007", ""), ("30500", ""), ("31999", ""), ("²", "")],
)  # fmt: skip
def test_only_a_lasting_fault_of_the_address_suppresses_it(code: str, reason: str) -> None:
    receipt = adapter().parse_receipt(callback(form=FORM | {"MessageStatus": "failed", "ErrorCode": code}))
    assert receipt.suppress == reason


def test_every_status_of_twilios_message_has_a_word_of_ours() -> None:
    published = {word for name, word in vars(MessageInstance.Status).items() if name.isupper()}
    assert published - set(STATUSES) == {"receiving", "received"}, "of inbound messages only"


def test_a_status_that_is_new_to_us_moves_nothing() -> None:
    receipt = adapter().parse_receipt(callback(form=FORM | {"MessageStatus": "teleported"}))
    assert receipt.status is ReceiptStatus.ACCEPTED


@pytest.mark.parametrize("code", REFUSALS)
def test_every_known_code_is_raised_as_its_class_whatever_the_4xx(code: int) -> None:
    for http_status in (400, 401, 403, 404):
        error = refusal(http_status, f'{{"code": {code}}}', None)
        assert type(error) is REFUSALS[code][0]
        assert error.code == str(code)


def test_a_code_suppresses_by_receipt_only_what_it_suppresses_by_refusal() -> None:
    kinds = {"invalid_recipient": "InvalidRecipient", "opted_out": "RecipientOptedOut"}
    both = [code for code in SUPPRESSES if int(code) in REFUSALS and SUPPRESSES[code]]
    assert both
    assert [c for c in both if REFUSALS[int(c)][0].__name__ != kinds[SUPPRESSES[c]]] == []


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [(None, 30, 30), ("", 30, 30), ("soon", 30, 30), ("-5", 30, 30), ("nan", 30, 30), ("٥", 30, 30),
     ("0", 1, 1), (" 7 ", 7, 7), ("7200", 3600, 3600), ("9" * 400, 3600, 3600),
     ("Mon, 02 Nov 2126 15:00:00 -0000", 3600, 3600), ("Mon, 02 Nov 99999 15:00:00 GMT", 30, 30)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_within_an_hour(header: str | None, least: int, most: int) -> None:
    assert least <= retry_after_s(header) <= most


@pytest.mark.parametrize(("ahead", "least", "most"), [(300, 200, 300), (-3600, 1, 1), (7200, 3600, 3600)])
def test_a_date_to_retry_after_is_counted_from_now(ahead: int, least: int, most: int) -> None:
    date_header = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    assert least <= retry_after_s(date_header) <= most


@pytest.mark.parametrize("wrong", [-3600, 3600])
def test_it_is_counted_from_their_own_clock_where_ours_is_wrong(wrong: int) -> None:
    theirs = datetime.now(UTC) + timedelta(seconds=wrong)
    retry_after, answered = (
        format_datetime(at, usegmt=True) for at in (theirs + timedelta(seconds=90), theirs)
    )
    assert retry_after_s(retry_after, answered) == 90
    error = refusal(429, "", retry_after, answered)
    assert isinstance(error, Throttled)
    assert error.retry_after_s == 90


def test_a_429_carries_its_wait() -> None:
    error = refusal(429, "", "7")
    assert isinstance(error, Throttled)
    assert error.retry_after_s == 7
