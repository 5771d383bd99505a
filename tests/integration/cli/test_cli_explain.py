"""`dunlin explain` and `dunlin preview`: the whole story of an account, letter by letter."""

import json
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
TODAY = date(2026, 11, 23)
NASTY = "[red]x[/] [/] [link=file:///etc/passwd]y[/link]"


def tell(book: Any, story: Any, version: Any, sender: Any) -> None:
    """A past contact, a hold that ended, a suppression that was lifted, a message on its way."""
    book.at("2026-11-23T10:00Z")
    borrower = book.borrower()
    account = book.account(borrower, due_on=TODAY - timedelta(days=10))
    book.contact(borrower, account, "reminder", "2026-11-15T10:00Z")
    hold = book.hold(borrower, "dispute")
    book.run("UPDATE holds SET lifted_at = '2026-11-20Z', lifted_by = :by, reason = :by WHERE id = :id",
             by=NASTY, id=hold)  # fmt: skip
    book.run(
        "INSERT INTO suppressions (channel, address, reason, source, created_by, lifted_at, lifted_by, "
        "lift_reason) VALUES ('sms', '+447700900001', :t, 'import', :t, '2026-11-21Z', :t, :t)",
        t=NASTY,
    )
    story.plan(version)
    story.admit()
    rows = sender.claim("sms")
    sender.begin(rows)
    sender.finish(rows, "sent")


def test_explain_tells_everything_that_happened_in_order_and_why(
    dunlin: Command, book: Any, story: Any, version: Any, sender: Any
) -> None:
    tell(book, story, version, sender)
    told = dunlin("explain", "A1", "--texts", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    story_of = json.loads(told.stdout)
    steps = [(step["what"], step["detail"]) for step in story_of["timeline"]]
    for step in (
        ("past contact", "delivered"),
        ("hold begins", f"dispute: {NASTY}"),
        ("hold ends", "dispute"),
        ("address suppressed", f"{NASTY} (import)"),
        ("suppression lifted", NASTY),
        ("planned", "for 2026-11-23, sandbox"),
    ):
        assert step in steps
    sms = [step["what"] for step in story_of["timeline"] if step["channel"] == "sms" and "→" in step["what"]]
    assert sms == ["planned → scheduled", "scheduled → sending", "sending → sent"]
    assert [step["at"] for step in story_of["timeline"]] == sorted(
        step["at"] for step in story_of["timeline"]
    )
    assert story_of["account"]["external_id"] == "A1"
    assert [said["text"] for said in story_of["texts"]] == ["words"]


def test_explain_shows_people_the_same_story_with_every_letter_as_it_is(
    dunlin: Command, book: Any, story: Any, version: Any, sender: Any
) -> None:
    tell(book, story, version, sender)
    shown = dunlin("explain", "uk/A1", "--texts")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Account uk/A1 of borrower B1" in shown.stdout
    assert "\x1b" not in shown.stdout
    letters = "".join(c for c in shown.stdout if not c.isspace() and c not in "│┃")
    assert NASTY.replace(" ", "") in letters
    assert "sending→sent" in letters
    assert "words" in shown.stdout


@pytest.mark.parametrize("answer", ["approve", "decline"])
@pytest.mark.parametrize("of", ["the run", "each message"])
def test_explain_tells_who_approved_or_declined_and_why(
    dunlin: Command, book: Any, story: Any, version: Any, answer: str, of: str
) -> None:
    book.at("2026-11-23T10:00Z")
    borrower = book.borrower()
    account = book.account(borrower, due_on=TODAY - timedelta(days=80))
    book.contact(borrower, account, "stern", "2026-10-20T10:00Z")
    run = story.plan(version)
    book.run("UPDATE messages SET state = 'awaiting_approval', reason = 'requires_approval'")
    for subject in [run] if of == "the run" else [row["id"] for row in book.messages()]:
        said = dunlin(answer, str(subject), "--by", " 李雷 ", "--reason", f"case {NASTY}")
        assert said.returncode == 0, said
    told = json.loads(dunlin("explain", "A1", "--json").stdout)["timeline"]
    answers = [step for step in told if step["what"].startswith("awaiting_approval →")]
    what, reason = {"approve": ("planned", "approved"), "decline": ("cancelled", "declined")}[answer]
    assert {(step["what"], step["detail"], step["who"]) for step in answers} == {
        (f"awaiting_approval → {what}", f"{reason}: case {NASTY}", "李雷")
    }
    assert {row["reason"] for row in book.messages()} == {reason}


def test_explain_names_a_process_by_its_part(
    dunlin: Command, book: Any, story: Any, version: Any, sender: Any
) -> None:
    tell(book, story, version, sender)
    told = json.loads(dunlin("explain", "A1", "--json").stdout)["timeline"]
    assert {step["who"] for step in told if "→" in step["what"]} == {"tests"}


def test_explain_says_why_an_account_was_left_out(
    dunlin: Command, book: Any, story: Any, version: Any
) -> None:
    book.at("2026-11-23T10:00Z")
    borrower = book.borrower()
    book.account(borrower, due_on=TODAY - timedelta(days=10))
    book.hold(borrower)
    story.plan(version)
    assert "house.hold.dispute" in dunlin("explain", "A1").stdout


def test_preview_prints_the_words_and_how_many_segments_they_take(dunlin: Command, book: Any) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    shown = dunlin("preview", "A1", "--tier", "reminder", "--channel", "sms")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "£120.50" in shown.stdout
    assert "GSM-7" in shown.stdout
    assert "segment" in shown.stdout
    told = json.loads(dunlin("preview", "A1", "--tier", "stern", "--channel", "sms", "--json").stdout)
    assert told["segments"] >= 1
    assert "£120.50" in told["text"]


def test_preview_shows_a_name_as_it_is(dunlin: Command, book: Any) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    book.run("UPDATE borrowers SET name = :name", name=NASTY)
    shown = dunlin("preview", "A1", "--tier", "stern", "--channel", "email")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert NASTY in shown.stdout
    html = dunlin("preview", "A1", "--tier", "stern", "--channel", "email", "--html")
    assert html.stdout.lstrip().startswith(("Please", "<!DOCTYPE"))


@pytest.mark.parametrize(
    ("tier", "channel", "word"),
    [("shout", "sms", "shout"), ("stern", "fax", "fax"), ("stern", "letter", "letter")],
)
def test_preview_of_what_there_is_not_is_refused(
    dunlin: Command, refused: Callable[..., None], book: Any, tier: str, channel: str, word: str
) -> None:
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    refused(dunlin("preview", "A1", "--tier", tier, "--channel", channel), 4, word)


def test_an_account_whose_portfolio_has_no_file_any_more_is_explained_but_not_previewed(
    dunlin: Command, refused: Callable[..., None], book: Any
) -> None:
    book.run(
        "INSERT INTO portfolios (id, title, policy_hash, mode, currency, timezone, region) "
        "SELECT 'old', title, policy_hash, mode, currency, timezone, region FROM portfolios"
    )
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10), portfolio="old")
    assert dunlin("explain", "A1").returncode == 0
    refused(dunlin("preview", "A1", "--tier", "stern", "--channel", "sms"), 4, "old")
