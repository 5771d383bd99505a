"""Portfolio files: found, read, laid over one another, and named by what they say."""

import tomllib
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from worker.portfolios.load import SHIPPED, PolicyInvalid, Version, load_all, load_one, version_of
from worker.portfolios.schema import Policy

ADAPTERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}
GOOD = """
extends = "uk"
[portfolio]
id = "loans"
title = "Loans"
"""


def write(folder: Path, text: str, name: str = "loans.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        load_one(write(folder, text), ADAPTERS)
    return caught.value.problems


@pytest.mark.parametrize("content", [b"[portfolio", b"a = 1\na = 2", b'x = "\xff"', b"\x00"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "loans.toml"
    file.write_bytes(content)
    with pytest.raises(PolicyInvalid, match=r"^loans\.toml: "):
        load_one(file, ADAPTERS)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.toml").mkdir()
    for name in ("a.toml", "b.toml"):
        with pytest.raises(PolicyInvalid, match=rf"^{name}: "):
            load_one(tmp_path / name, ADAPTERS)


def test_a_folder_without_portfolios_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match="no portfolio files"):
        load_all(tmp_path, ADAPTERS)
    write(tmp_path, (SHIPPED / "default.toml").read_text(encoding="utf-8"), "default.toml")
    with pytest.raises(PolicyInvalid, match="no portfolio files"):
        load_all(tmp_path, ADAPTERS)
    with pytest.raises(PolicyInvalid, match="no such folder"):
        load_all(tmp_path / "nowhere", ADAPTERS)


def test_one_bad_file_of_two_loads_nothing_and_each_is_named(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "good.toml")
    write(tmp_path, GOOD + 'currency = "XYZ"', "bad.toml")
    write(tmp_path, "=", "worse.toml")
    with pytest.raises(PolicyInvalid) as caught:
        load_all(tmp_path, ADAPTERS)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["bad.toml", "worse.toml"]


def test_two_files_with_one_id_are_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "a.toml")
    write(tmp_path, GOOD, "b.toml")
    with pytest.raises(PolicyInvalid) as caught:
        load_all(tmp_path, ADAPTERS)
    assert caught.value.problems == ["b.toml: portfolio.id: 'loans' is taken"]


def test_extending_changes_only_what_the_file_names(tmp_path: Path) -> None:
    text = GOOD + '[tiers.stern]\namount_from = 777\n[send_window]\nsunday = ["10:00-12:00"]\n'
    policy = load_one(write(tmp_path, text), ADAPTERS).policy
    below = tomllib.loads((SHIPPED / "default.toml").read_text(encoding="utf-8"))
    assert policy.tiers["stern"].amount_from == Decimal(777)
    assert policy.tiers["stern"].dpd_from == below["tiers"]["stern"]["dpd_from"]
    assert list(policy.tiers["stern"].channels) == below["tiers"]["stern"]["channels"]
    assert policy.send_window.sunday == ("10:00-12:00",)
    assert list(policy.send_window.weekdays) == below["send_window"]["weekdays"]
    assert policy.tiers["legal_warning"].requires_approval
    assert policy.portfolio.title == "Loans"
    assert policy.portfolio.currency == "GBP"


def test_a_list_is_replaced_and_not_added_to(tmp_path: Path) -> None:
    policy = load_one(write(tmp_path, GOOD + '[tiers.stern]\nchannels = ["email"]\n'), ADAPTERS).policy
    assert policy.tiers["stern"].channels == ("email",)


def test_a_base_may_itself_extend_another(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "uk"\n[tiers.stern]\namount_from = 55\n', "house.toml")
    policy = load_one(write(tmp_path, GOOD.replace('"uk"', '"house"')), ADAPTERS).policy
    assert policy.tiers["stern"].amount_from == Decimal(55)
    assert policy.tiers["reminder"].dpd_to == 7


def test_a_default_of_the_house_stands_in_for_the_shipped_one_and_may_extend_it(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "default"\n[schedule]\nat = "07:30"\n', "default.toml")
    write(tmp_path, (SHIPPED / "uk.toml").read_text(encoding="utf-8"))
    policy = load_all(tmp_path, ADAPTERS)["uk"].policy
    assert policy.schedule.at == time(7, 30)
    assert policy.tiers["reminder"].dpd_to == 7


@pytest.mark.parametrize("base", ['"nowhere"', '"loans"', '""', "5"])
def test_a_base_that_is_not_there_is_named(tmp_path: Path, base: str) -> None:
    (problem,) = problems(tmp_path, GOOD.replace('"uk"', base))
    assert problem == f"loans.toml: extends: there is no {base.strip(chr(34))}.toml"


def test_two_files_that_extend_each_other_are_refused_and_not_followed_for_ever(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "loans"\n', "house.toml")
    found = problems(tmp_path, GOOD.replace('"uk"', '"house"'))
    assert all("extends" in problem for problem in found)


def test_files_that_say_the_same_have_one_version(tmp_path: Path) -> None:
    first = load_one(write(tmp_path, GOOD, "a.toml"), ADAPTERS)
    commented = "# words\n" + GOOD.replace("[portfolio]", "\n# more\n[portfolio]").replace('"', "'")
    assert load_one(write(tmp_path, commented, "b.toml"), ADAPTERS).hash == first.hash
    moved = GOOD.replace('id = "loans"\n', "") + 'id = "loans"\n'
    assert load_one(write(tmp_path, moved, "c.toml"), ADAPTERS).hash == first.hash
    spelled_out = GOOD + "[schedule]\nat = 09:00:00\n[tiers.stern]\namount_from = 20_000\n"
    assert load_one(write(tmp_path, spelled_out, "d.toml"), ADAPTERS).hash == first.hash


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    plain = load_one(write(tmp_path, GOOD, "a.toml"), ADAPTERS)
    file = tmp_path / "b.toml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_one(file, ADAPTERS) == plain


@pytest.mark.parametrize(
    "line",
    [
        'region = "IE"',
        'mode = "live"',
        '[creditor]\nname = "X"',
        "[schedule]\nat = 09:01:00",
        "[tiers.stern]\ndpd_to = 59\namount_from = 20000.01",
    ],
)
def test_any_difference_is_another_version(tmp_path: Path, line: str) -> None:
    first = load_one(write(tmp_path, GOOD, "a.toml"), ADAPTERS)
    assert load_one(write(tmp_path, f"{GOOD}{line}\n", "b.toml"), ADAPTERS).hash != first.hash


@pytest.mark.parametrize("name", ["cn", "uk", "us"])
def test_a_policy_read_back_from_its_stored_body_is_the_same_version(name: str) -> None:
    version: Version = load_one(SHIPPED / f"{name}.toml", ADAPTERS)
    body: dict[str, Any] = version.policy.body()
    assert version_of(Policy.model_validate(body)) == version
    backwards = {**body, "tiers": dict(reversed(body["tiers"].items()))}
    assert version_of(Policy.model_validate(backwards)).hash == version.hash


def test_tiers_are_ordered_by_their_days_and_not_by_their_place_in_the_file(tmp_path: Path) -> None:
    text = (
        GOOD
        + '[tiers.gentle]\ndpd_from = 1\ndpd_to = 2\nchannels = ["sms"]\n[tiers.reminder]\ndpd_from = 3\n'
    )
    policy = load_one(write(tmp_path, text), ADAPTERS).policy
    assert list(policy.tiers) == ["reminder", "stern", "legal_warning", "gentle"]
    assert [tier.name for tier in policy.ordered_tiers()] == ["gentle", "reminder", "stern", "legal_warning"]
