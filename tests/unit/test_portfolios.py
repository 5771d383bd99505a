"""Portfolio files: what is wrong with one is said with file, key and reason."""

from datetime import time
from pathlib import Path

import pytest

from worker.domain.rules.time_rules import Hours
from worker.portfolios.load import PolicyInvalid, load_all, load_one

ADAPTERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}
GOOD = """
extends = "default"
[portfolio]
id = "loans"
title = "Loans"
locale = "en-GB"
currency = "GBP"
timezone = "Europe/London"
region = "GB"
[creditor]
name = "Razorbill Credit Ltd"
hotline = "020 7946 0123"
email = "help@uk.example.com"
postal_address = "1 Example Street, London"
payment_ways = ["by bank transfer"]
pay_url = "https://pay.uk.example.com/"
dispute_route = "write to us"
hardship_route = "call us"
legal_basis = "clause 9"
further_steps = "court action"
late_fee_wording = "{daily_rate} a day"
credit_record_wording = "may be recorded"
[sender]
sms_from = "+15005550006"
email_from = "notice@uk.example.com"
"""


def write(folder: Path, text: str, name: str = "loans.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def with_more(text: str) -> str:
    """The good file with tables added; a table it has already is continued."""
    result = GOOD
    for table in text.strip().split("\n["):
        head, _, body = table.removeprefix("[").partition("]\n")
        at = f"\n[{head}]\n"
        result = result.replace(at, f"{at}{body}\n") if at in result else f"{result}{at}{body}\n"
    return result


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        load_one(write(folder, text), ADAPTERS)
    return caught.value.problems


def test_the_good_file_is_good_and_takes_over_the_default(tmp_path: Path) -> None:
    policy = load_one(write(tmp_path, GOOD), ADAPTERS).policy
    assert policy.portfolio.mode == "sandbox"
    assert policy.schedule.at == time(9)
    assert [tier.name for tier in policy.ordered_tiers()] == ["reminder", "stern", "legal_warning"]
    assert policy.providers == {"sms": ("twilio",), "email": ("smtp",), "in_app": ("inbox",)}


def test_the_shipped_portfolios_are_valid_and_reach_nobody() -> None:
    shipped = load_all(None, ADAPTERS)
    assert sorted(shipped) == ["cn", "uk", "us"]
    assert {version.policy.portfolio.mode for version in shipped.values()} == {"sandbox"}
    for version in shipped.values():
        legal = version.policy.tiers["legal_warning"]
        assert legal.requires_approval
        assert legal.requires is not None
        assert legal.requires.tier == "stern"


@pytest.mark.parametrize(
    ("line", "where", "why"),
    [
        ('titel = "x"', "portfolio.titel", "Extra inputs are not permitted"),
        ("[tiers.stern]\nammount_from = 1", "tiers.stern.ammount_from", "Extra inputs are not permitted"),
        ("[snd_window]\nsunday = []", "snd_window", "Extra inputs are not permitted"),
        ("[send_window]\nsundays = []", "send_window.sundays", "Extra inputs are not permitted"),
        ('[providers]\nsmss = "twilio"', "providers", "smss"),
    ],
)
def test_a_key_that_means_nothing_is_refused_by_name(tmp_path: Path, line: str, where: str, why: str) -> None:
    text = with_more(line if line.startswith("[") else f"[portfolio]\n{line}")
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f"loans.toml: {where}")
    assert why in problem


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"Europe/London"', '"Europe/Londn"', "portfolio.timezone: no such time zone: 'Europe/Londn'"),
        ('"Europe/London"', '""', "portfolio.timezone: no such time zone: ''"),
        ('"GBP"', '"GPB"', "portfolio.currency: no such currency: 'GPB'"),
        ('"GBP"', '"gbp"', "portfolio.currency: no such currency: 'gbp'"),
        ('"en-GB"', '"en-XX-YY"', "portfolio.locale: no such locale: 'en-XX-YY'"),
        ('"en-GB"', '""', "portfolio.locale: no such locale: ''"),
        ('region = "GB"', 'region = "UK"', "portfolio.region: no such region: 'UK'"),
        ('id = "loans"', 'id = "Loans!"', "portfolio.id: "),
        ('title = "Loans"', 'title = ""', "portfolio.title: "),
        ('region = "GB"', "", "portfolio.region: Field required"),
        ("help@uk.example.com", "help.example.com", "creditor.email: "),
        ("https://pay", "http://pay", "creditor.pay_url: "),
        ('["by bank transfer"]', "[]", "creditor.payment_ways: "),
        ('["by bank transfer"]', '"by bank transfer"', "creditor.payment_ways: "),
        ('further_steps = "court action"', "", "creditor.further_steps: Field required"),
        ("+15005550006", "0207 946 0123", "sender.sms_from: "),
        ('name = "Razorbill Credit Ltd"', "name = 7", "creditor.name: "),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_key_and_the_reason(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    (problem,) = problems(tmp_path, GOOD.replace(old, new, 1))
    assert problem.startswith(f"loans.toml: {said}")


@pytest.mark.parametrize(
    ("spans", "why"),
    [
        ('["09:00-12:00", "11:59-20:00"]', "ascend and not overlap"),
        ('["14:00-20:00", "09:00-12:00"]', "ascend and not overlap"),
        ('["20:00-09:00"]', "ends before it starts"),
        ('["09:00-09:00"]', "ends before it starts"),
        ('["20:00-24:00", "08:00-10:00"]', "ascend and not overlap"),
        ('["09:00-24:00", "10:00-11:00"]', "ascend and not overlap"),
        (
            '["00:00-00:00"]',
            "midnight at the end of a day is 24:00",
        ),  # meant as closed; it must not mean the whole day
        ('["9:00-20:00"]', "not of the form"),
        ('["09:00-25:00"]', "no such time of day"),
        ('["24:00-24:00"]', "ends before it starts"),
        ('["09:00 - 20:00"]', "not of the form"),
        ('"09:00-20:00"', "tuple"),
    ],
)
def test_hours_that_make_no_window_are_refused(tmp_path: Path, spans: str, why: str) -> None:
    (problem,) = problems(tmp_path, with_more(f"[send_window]\nsaturday = {spans}"))
    assert problem.startswith("loans.toml: send_window.saturday: ")
    assert why in problem


def test_hours_may_touch_and_reach_midnight(tmp_path: Path) -> None:
    text = with_more('[send_window]\nweekdays = ["00:00-09:00", "09:00-12:00", "13:00-24:00"]')
    rule = load_one(write(tmp_path, text), ADAPTERS).policy.send_window.to_pack().rules[0]
    assert isinstance(rule, Hours)
    weekday = ((0, 540), (540, 720), (780, 1440))
    assert rule.allow.days == (weekday,) * 5 + (((540, 1020),), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tiers.stern]\ndpd_from = 7", "tiers.stern.dpd_from: day 7 belongs to the tier before it too"),
        ("[tiers.stern]\ndpd_to = 60", "tiers.legal_warning.dpd_from: day 60 belongs to"),
        ("[tiers.stern]\ndpd_from = 10", "tiers.stern.dpd_from: days 8 to 9 belong to no tier"),
        ("[tiers.stern]\ndpd_to = 7", "tiers.stern: dpd_to 7 is before dpd_from 8"),
        ("[tiers.reminder]\ndpd_from = 0", "tiers.reminder.dpd_from: "),
        ("[tiers.stern]\namount_from = 0", "tiers.stern.amount_from: "),
        ('[tiers.stern]\nrequires = { tier = "legal_warning", days = 7 }', "tiers.stern.requires: "),
        (
            '[tiers.stern]\nrequires = { tier = "stern", days = 7 }',
            "tiers.stern.requires: 'stern' is",
        ),
        ('[tiers.stern]\nrequires = { tier = "polite", days = 7 }', "tiers.stern.requires: 'polite'"),
        ('[tiers.stern]\nrequires = { tier = "reminder" }', "tiers.stern.requires.days: Field required"),
        ("[tiers.extra]\nrepeat_every_days = 2", "tiers.extra.dpd_from: Field required"),
        ("[tiers.stern]\nmax_repeats = -1", "tiers.stern.max_repeats: "),
        ("[tiers.stern]\nexpires_after_h = 0", "tiers.stern.expires_after_h: "),
        ("[tiers.stern]\nchannels = []", "tiers.stern.channels: "),
        ('[tiers.stern]\nchannels = ["sms", "sms"]', "tiers.stern: a channel is named twice"),
        ('[tiers.stern]\nchannels = ["fax"]', "tiers.stern: no such channel: fax; there are sms, email"),
        ('[tiers.stern]\nchannels = ["letter"]', "tiers.stern.channels: providers names none for"),
        ('[providers]\nsms = "other"', "tiers.reminder.channels: no adapter for sms by other"),
        ('[tiers."Big Tier"]\ndpd_from = 1', "tiers.Big Tier"),
    ],
)
def test_tiers_that_do_not_fit_together_are_refused(tmp_path: Path, text: str, said: str) -> None:
    found = problems(tmp_path, with_more(text))
    assert found[0].startswith(f"loans.toml: {said}")


def test_a_channel_with_a_provider_but_no_adapter_is_a_load_error_in_every_tier(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_one(write(tmp_path, GOOD), {"sms": {"twilio"}, "in_app": {"inbox"}})
    assert caught.value.problems == [
        "loans.toml: tiers.stern.channels: no adapter for email by smtp",
        "loans.toml: tiers.legal_warning.channels: no adapter for email by smtp",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            'sms_from = "+15005550006"',
            "loans.toml: sender: sms needs sms_from or messaging_service_sid",
        ),
        ('email_from = "notice@uk.example.com"', "loans.toml: sender: email needs email_from"),
    ],
)
def test_a_channel_in_use_needs_its_sender(tmp_path: Path, line: str, said: str) -> None:
    assert problems(tmp_path, GOOD.replace(line, "")) == [said]


def test_a_sender_is_needed_only_for_channels_in_use(tmp_path: Path) -> None:
    text = with_more('[tiers.stern]\nchannels = ["in_app"]\n[tiers.legal_warning]\nchannels = ["in_app"]')
    text = text.replace('sms_from = "+15005550006"', "").replace('email_from = "notice@uk.example.com"', "")
    text += '[tiers.reminder]\nchannels = ["in_app"]\n'
    assert load_one(write(tmp_path, text), ADAPTERS).policy.sender.sms_from == ""


@pytest.mark.parametrize(
    "line",
    [
        '[tiers.reminder]\ndpd_from = "one"',
        "[tiers.reminder]\ndpd_from = 1.5",
        "[tiers.reminder]\ndpd_from = true",
        "[tiers.stern]\nrequires_approval = 3",
        "[tiers.stern]\namount_from = nan",
        '[tiers.stern]\namount_from = "a lot"',
        "[schedule]\nat = 540",  # not nine hours, and not nine minutes past midnight
        '[schedule]\nat = "late"',
        "[schedule]\nat = 09:00:30",
        '[schedule]\nat = "09:00Z"',
        "[tiers]\nreminder = 5",
    ],
)
def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path, line: str) -> None:
    table, key = line.removeprefix("[").split("]\n")
    (problem,) = problems(tmp_path, with_more(line))
    assert problem.startswith(f"loans.toml: {table}.{key.split(' = ')[0]}: ")


def test_everything_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('"GBP"', '"XYZ"').replace('"en-GB"', '"zz"').replace('region = "GB"', 'region = "X"')
    assert len(problems(tmp_path, text)) == 3


def test_an_error_never_repeats_what_may_be_confidential(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD.replace("+15005550006", "my-secret"))
    assert "my-secret" not in problem
