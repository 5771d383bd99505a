"""Rerun, approval, pauses, suppressions and unconfirmed messages, through the real command."""

import json
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
TODAY = date(2026, 11, 23)


def fill(book: Any, count: int = 3, days: int = 10) -> None:
    book.at("2026-11-23T10:00Z")
    for n in range(count):
        borrower = book.borrower(f"B{n}", phone=f"+44770090010{n}")
        book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=days))


def move(book: Any, state: str, borrower: str, channel: str = "sms") -> None:
    """Ends a scheduled message, as sending would."""
    book.run(
        "UPDATE messages m SET state = :state, reason = 'tests', sent_at = dunlin_now() FROM borrowers b "
        "WHERE b.id = m.borrower_id AND b.external_id = :borrower AND m.channel = :channel",
        state=state,
        borrower=borrower,
        channel=channel,
    )


@pytest.fixture
def run(book: Any, story: Any, version: Any) -> str:
    """A run of three borrowers on sms, email and in_app: one sms failed, one was sent, one is to go."""
    fill(book)
    made = story.plan(version)
    story.admit()
    move(book, "failed", "B0")
    move(book, "sent", "B1")
    return str(made)


def again(book: Any) -> list[tuple[str, str]]:
    """Borrower and channel of every message that a rerun made."""
    rows = book.rows(
        "SELECT b.external_id, m.channel FROM messages m JOIN borrowers b ON b.id = m.borrower_id "
        "JOIN runs r ON r.id = m.run_id WHERE r.rerun_of IS NOT NULL ORDER BY 1, 2"
    )
    return [tuple(row.values()) for row in rows]


def test_a_rerun_takes_up_what_failed_and_nothing_else_and_once(dunlin: Command, book: Any, run: str) -> None:
    dry = dunlin("rerun", run, "--dry-run", "--json")
    assert (dry.returncode, again(book)) == (0, [])
    made = dunlin("rerun", run, "--json")
    assert (made.returncode, made.stderr) == (0, "")
    assert again(book) == [("B0", "sms")]
    foreseen, done = json.loads(dry.stdout), json.loads(made.stdout)
    assert {**foreseen, "id": None, "dry_run": None} == {**done, "id": None, "dry_run": None}
    assert (done["accounts"], done["covered"], done["excluded"], done["messages"]) == (1, 1, 0, 1)
    twice = dunlin("rerun", run)
    assert "0 messages" in twice.stdout
    assert again(book) == [("B0", "sms")]


def test_what_was_sent_goes_again_only_by_force_with_a_reason(dunlin: Command, book: Any, run: str) -> None:
    assert dunlin("rerun", run, "--only", "sent").returncode == 4
    assert dunlin("rerun", run, "--force").returncode == 4
    forced = dunlin("rerun", run, "--force", "--reason", "[/]wrong text[/]", "--only", "sent")
    assert forced.returncode == 0, forced
    assert again(book) == [("B1", "sms")]
    (noted,) = book.rows("SELECT * FROM audit WHERE action = 'rerun'")
    assert noted["reason"] == "[/]wrong text[/]"
    assert noted["detail"]["force"] is True


def test_a_rerun_can_be_limited_to_a_channel_and_an_account(dunlin: Command, book: Any, run: str) -> None:
    move(book, "failed", "B0", "email")
    move(book, "failed", "B2", "email")
    made = dunlin("rerun", run, "--channel", "email", "--account", "A2")
    assert made.returncode == 0, made
    assert again(book) == [("B2", "email")]


def test_a_rerun_of_a_channel_that_there_is_not_is_refused(dunlin: Command, book: Any, run: str) -> None:
    refused = dunlin("rerun", run, "--channel", "fax")
    assert refused.returncode == 4, refused
    assert "fax" in refused.stderr
    assert again(book) == []


def test_a_pause_stops_claims_until_it_is_resumed(dunlin: Command, book: Any, run: str, sender: Any) -> None:
    paused = dunlin("pause", "--channel", "sms", "--reason", "[red]provider[/] [/]", "--by", "[b]Kim[/b]")
    assert (paused.returncode, paused.stderr) == (0, "")
    assert sender.claim("sms") == []
    shown = dunlin("status")
    assert "[red]provider[/] [/]" in shown.stdout
    assert "[b]Kim[/b]" in shown.stdout
    assert json.loads(dunlin("status", "--json").stdout)["pauses"][0]["reason"] == "[red]provider[/] [/]"
    assert "already" in dunlin("pause", "--channel", "sms", "--reason", "again").stdout

    assert dunlin("resume", "--channel", "email").returncode == 4
    assert dunlin("resume", "--channel", "sms", "--by", "Kim").returncode == 0
    assert len(sender.claim("sms")) == 1
    done = [(row["action"], row["actor"]) for row in book.rows("SELECT * FROM audit ORDER BY id")]
    assert (done[0], done[-1]) == (("pause", "[b]Kim[/b]"), ("resume", "Kim"))


def test_a_pause_that_is_over_by_itself_is_not_ended_again(dunlin: Command, book: Any, run: str) -> None:
    for until in ("clock_timestamp() - interval '1 minute'", "clock_timestamp() + interval '1 hour'"):
        book.run(
            "INSERT INTO pauses (portfolio_id, channel, reason, paused_by, until_at) "
            f"VALUES ('uk', 'sms', 'throttled', 'tests', {until})"
        )
    ended = dunlin("resume", "--json")
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"ended": 1, "in_force": 0})
    assert dunlin("resume").returncode == 4


def test_what_is_done_by_hand_can_be_read_by_programs(dunlin: Command, book: Any, awaiting: str) -> None:
    def said(*arguments: str) -> Any:
        done = dunlin(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout)

    first = str(book.messages()[0]["id"])
    assert said("approve", first, "--by", "Kim", "--reason", "seen") == {"approved": 1}
    assert said("decline", awaiting, "--by", "Kim", "--reason", "no case") == {"declined": 5}
    assert said("pause", "--reason", "x") == {"added": True}
    assert said("pause", "--reason", "x") == {"added": False}
    assert said("resume") == {"ended": 1, "in_force": 0}
    address = ("+447700900100", "--channel", "sms", "--reason", "asked")
    assert said("suppress", "add", *address) == {"added": True}
    assert said("suppress", "lift", *address) == {"lifted": True}
    hold = said("hold", "add", "dispute", "--account", "A0", "--reason", "x")["id"]
    assert said("hold", "lift", str(hold), "--reason", "x") == {"id": hold, "lifted": True}


def test_one_request_key_is_one_rerun_however_often_it_is_asked(dunlin: Command, book: Any, run: str) -> None:
    ask = ("rerun", run, "--request-key", "ticket 17")
    first = json.loads(dunlin(*ask, "--json").stdout)
    assert (first["messages"], first["made_before"]) == (1, False)
    second = dunlin(*ask, "--json")
    assert (second.returncode, json.loads(second.stdout)) == (0, first | {"made_before": True})
    assert f"rerun {first['id']} had made 1 messages" in dunlin(*ask).stdout
    assert again(book) == [("B0", "sms")]


def test_a_pause_of_everything_and_one_of_a_portfolio_both_stop_it(
    dunlin: Command, book: Any, run: str, sender: Any
) -> None:
    dunlin("pause", "--reason", "all")
    dunlin("pause", "--portfolio", "uk", "--reason", "uk")
    assert dunlin("resume", "--portfolio", "uk").returncode == 0
    assert sender.claim("sms") == []
    assert dunlin("resume").returncode == 0
    assert len(sender.claim("sms")) == 1


@pytest.mark.parametrize(
    ("channel", "typed", "used"),
    [
        ("sms", "+44 7700 900102", "+447700900102"),
        ("sms", "+44 (0)7700-900102", "+447700900102"),
        ("email", "B2@Example.COM", "b2@example.com"),
    ],
)
def test_an_address_is_suppressed_in_the_form_in_which_messages_use_it(
    dunlin: Command, book: Any, run: str, channel: str, typed: str, used: str
) -> None:
    reason = "[/]asked[/]"
    added = dunlin("suppress", "add", typed, "--channel", channel, "--reason", reason, "--by", "Kim")
    assert added.returncode == 0, added
    assert [row["state"] for row in book.messages(channel=channel)].count("cancelled") == 1
    (listed,) = json.loads(dunlin("suppress", "list", "--json").stdout)
    assert (listed["channel"], listed["address"], listed["created_by"]) == (channel, used, "Kim")
    table = dunlin("suppress", "list").stdout
    assert used in table
    assert reason in table
    assert "already" in dunlin("suppress", "add", typed, "--channel", channel).stdout

    assert dunlin("suppress", "lift", typed, "--channel", channel, "--reason", "mistake").returncode == 0
    assert json.loads(dunlin("suppress", "list", "--json").stdout) == []
    audit = json.dumps([dict(row) for row in book.rows("SELECT * FROM audit")], default=str)
    assert used not in audit


@pytest.fixture
def awaiting(book: Any, story: Any, version: Any) -> str:
    """A run of legal warnings that wait for a person's yes."""
    fill(book, days=80)
    for borrower in book.rows("SELECT id, borrower_id FROM accounts"):
        book.contact(borrower["borrower_id"], borrower["id"], "stern", "2026-10-20T10:00Z")
    made = story.plan(version)
    story.admit()
    assert {row["state"] for row in book.messages()} == {"awaiting_approval"}
    return str(made)


def test_a_yes_needs_somebody_else_and_a_name_and_is_kept(
    dunlin: Command, book: Any, awaiting: str, story: Any
) -> None:
    assert "awaiting_approval 6" in dunlin("status").stdout
    for nobody in ("tests", "", "  "):
        assert dunlin("approve", awaiting, "--by", nobody).returncode == 4, repr(nobody)
    first = str(book.messages()[0]["id"])
    assert "1 message" in dunlin("approve", first, "--by", "Kim", "--reason", "[/]").stdout
    assert "5 message" in dunlin("approve", awaiting, "--by", "Kim").stdout
    assert dunlin("approve", awaiting, "--by", "Kim").returncode == 4
    story.admit()
    assert {row["state"] for row in book.messages()} == {"scheduled"}
    assert {row["approved_by"] for row in book.messages()} == {"Kim"}


def test_a_no_cancels_and_needs_a_reason(dunlin: Command, book: Any, awaiting: str) -> None:
    assert dunlin("decline", awaiting, "--by", "Kim").returncode == 2
    assert dunlin("decline", awaiting, "--by", "Kim", "--reason", " ").returncode == 4
    assert "6 message" in dunlin("decline", awaiting, "--by", "Kim", "--reason", "no case").stdout
    assert {(row["state"], row["reason"]) for row in book.messages()} == {("cancelled", "declined")}


def test_an_unconfirmed_message_is_listed_and_settled_by_a_person(
    dunlin: Command, book: Any, run: str, sender: Any
) -> None:
    rows = sender.claim("email")
    sender.begin(rows)
    sender.finish(rows, "unconfirmed")
    listed = json.loads(dunlin("unconfirmed", "list", "--json").stdout)
    assert len(listed) == 3
    message = listed[0]["id"]
    assert message in dunlin("unconfirmed", "list").stdout
    settle = ("unconfirmed", "resolve", message, "--as", "sent")
    assert dunlin(*settle).returncode == 2
    assert dunlin(*settle, "--reason", " ").returncode == 4
    settled = dunlin(*settle, "--reason", "their log says so", "--by", "Kim", "--json")
    assert (settled.returncode, json.loads(settled.stdout)) == (0, {"message": message, "as": "sent"}), (
        settled
    )
    assert dunlin(*settle, "--reason", "again").returncode == 4
    assert book.one("SELECT state FROM messages WHERE id = CAST(:id AS uuid)", id=message) == "sent"
    assert book.one("SELECT actor FROM audit") == "Kim"


def test_status_shows_senders_that_do_not_send_and_resume_frees_those_that_wait_for_a_person(
    dunlin: Command, book: Any, run: str
) -> None:
    book.run(
        "INSERT INTO senders (portfolio_id, channel, provider, state, reason, retry_at) VALUES "
        "('uk', 'sms', 'twilio', 'open', 'no certain answers', clock_timestamp() + interval '1 minute'), "
        "('uk', 'email', 'smtp', 'open', 'misconfigured: 535', NULL)"
    )
    shown = json.loads(dunlin("status", "--json").stdout)["open_senders"]
    assert {(sender["provider"], sender["reason"]) for sender in shown} == {
        ("twilio", "no certain answers"),
        ("smtp", "misconfigured: 535"),
    }
    assert "Not sending" in dunlin("status").stdout
    assert dunlin("resume", "--channel", "email").returncode == 0
    left = json.loads(dunlin("status", "--json").stdout)["open_senders"]
    assert [sender["provider"] for sender in left] == ["twilio"]


def test_what_nobody_heard_of_is_counted_and_what_is_unconfirmed_too_long_is_said_to_be_overdue(
    dunlin: Command, book: Any, run: str, sender: Any
) -> None:
    rows = sender.claim()
    sender.begin(rows)
    sender.finish(rows, "unconfirmed", reason="outcome_unknown", next_provider="twilio")
    book.at("2026-11-28T10:00Z")
    waiting = json.loads(dunlin("status", "--json").stdout)["waiting"]
    assert (waiting["unconfirmed"], waiting["unconfirmed_overdue"], waiting["unreceipted"]) == (1, 1, 1)
    (row,) = json.loads(dunlin("unconfirmed", "list", "--json").stdout)
    assert (row["provider"], row["overdue"]) == ("twilio", True)
    assert "by twilio: outcome_unknown, overdue" in dunlin("unconfirmed", "list").stdout
