"""An allowlist means the addresses that its author meant, or it is no allowlist."""

from pathlib import Path

import pytest

from worker.portfolios.load import PolicyInvalid, load_one
from worker.portfolios.schema import Policy

ADAPTERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}


def loaded(folder: Path, entry: str) -> Policy:
    file = folder / "loans.toml"
    file.write_text(
        f'extends = "uk"\n[portfolio]\nid = "loans"\nallowlist = ["B-1", "{entry}"]', encoding="utf-8"
    )
    return load_one(file, ADAPTERS).policy


@pytest.mark.parametrize(
    ("entry", "means"),
    [
        ("+44 7700 900102", ["+447700900102"]),
        ("＋44 (0)7700-900102", ["+447700900102"]),
        ("07700 900102", ["+447700900102"]),
        ("+1 202-555-0143", ["+12025550143"]),
        (" You@Example.COM ", ["you@example.com"]),
        ("B-TEST", ["B-TEST"]),
        ("借款人 7", ["借款人 7"]),
        ("1002", ["1002"]),
        ("7700900102", ["+447700900102", "7700900102"]),
        ("B-1", []),
    ],
)
def test_an_entry_is_kept_in_the_form_in_which_messages_use_it(
    tmp_path: Path, entry: str, means: list[str]
) -> None:
    policy = loaded(tmp_path, entry)
    assert policy.portfolio.allowlist == ("B-1", *means)
    assert Policy.model_validate(policy.body()) == policy


@pytest.mark.parametrize(
    "entry", ["+44 77OO 900102", "+44 7700", "you@example", "", "  ", "B\\t7", "b" * 129]
)
def test_an_entry_that_can_be_no_address_is_named_by_key_and_place_and_not_repeated(
    tmp_path: Path, entry: str
) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        loaded(tmp_path, entry)
    (problem,) = caught.value.problems
    assert problem.startswith("loans.toml: portfolio.allowlist: entry 2: ")
    assert not entry.strip() or entry not in problem
