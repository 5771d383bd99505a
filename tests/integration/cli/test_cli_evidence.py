"""`dunlin evidence`: what was sent through the sandbox comes out word for word, with hashes and reasons."""

import csv
import hashlib
import io
import json
import stat
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.channels.base import Channel, ProviderConfig
from worker.channels.registry import adapters
from worker.domain.message import MessageRef
from worker.pipeline import control
from worker.pipeline.purge import purge
from worker.pipeline.send import send_due
from worker.portfolios.load import hash_of as policy_hash
from worker.rendering.catalogue import hash_of as template_hash
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig
from worker.store.receipts import Applied, Word, apply

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
TODAY = date(2026, 11, 23)
NASTY = "=<script>alert('1')</script>"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=30.0)) as running:
        yield running


@pytest.fixture
def wired(runtime: Any, sandbox: SandboxProcess, servers: Any) -> Iterator[Any]:
    """The runtime with real adapters that talk to the sandbox."""
    sandbox.client.reset()
    made: dict[tuple[str, str], Channel] = {}
    options = {
        "twilio": {
            "account_sid": "AC" + "0" * 32,
            "auth_token": "sandbox",
            "base_url": sandbox.client.base_url,
        },
        "smtp": {"host": "127.0.0.1", "port": str(sandbox.ports.smtp), "tls": "none"},
        "inbox": {},
    }

    def adapter(channel: str, name: str, _mode: str) -> Channel:
        if (channel, name) not in made:
            config = ProviderConfig(options[name], "http://127.0.0.1:9", servers.redis_url)
            made[channel, name] = adapters()[channel, name].from_config(config)
        return made[channel, name]

    runtime.adapter = adapter
    yield runtime
    for each in made.values():
        runtime.run(each.close())


@pytest.fixture
def sent(book: Any, story: Any, version: Any, wired: Any) -> Any:
    """A stern notice by SMS, e-mail and popup, a receipt, and all that can stand beside it."""
    book.at("2026-11-23T10:00Z")
    borrower = book.borrower()
    account = book.account(borrower, due_on=TODAY - timedelta(days=10))
    book.run("UPDATE borrowers SET name = :name", name=NASTY)
    book.contact(borrower, account, "reminder", "2026-11-15T10:00Z")
    hold = book.hold(borrower, "dispute")
    book.run(
        "UPDATE holds SET lifted_at = '2026-11-20Z', lifted_by = 'ann', reason = :r WHERE id = :id",
        r=NASTY,
        id=hold,
    )
    book.run(
        "INSERT INTO consents (borrower_id, channel, kind, given_at, source) "
        "VALUES (:b, 'sms', 'written', '2026-01-01Z', 'branch')",
        b=borrower,
    )
    story.plan(version)
    story.admit()
    for channel in ("sms", "email", "in_app"):
        assert send_due(wired, channel) == {"accepted": 1}
    receipt(book, "delivered")
    control.pause(book.engine, portfolio=None, channel="sms", reason="tests", by="eve")
    control.suppress(
        book.engine, channel="sms", address="+447700900001", region="", reason="opted_out", by="bob"
    )
    return book


def receipt(book: Any, status: str) -> None:
    (row,) = book.messages(channel="sms")
    ref = MessageRef(row["business_on"], row["id"], row["attempt_id"])
    raw = {"To": "+447700900001", "MessageStatus": status, "MessageSid": row["provider_id"]}
    with book.engine.begin() as connection:
        word = Word(ref, "twilio", row["provider_id"], status, "", raw)
        assert apply(connection, [word]) == [Applied.MOVED]


def export(dunlin: Command, out: Path, account: str = "A1", code: int = 0) -> dict[str, bytes]:
    """The files of a copy, each checked against the manifest."""
    made = dunlin("evidence", account, "--out", str(out), "--by", "carol", "--json")
    assert made.returncode == code, made
    files = read(out)
    manifest = json.loads(files["manifest.json"])
    assert json.loads(made.stdout)["manifest_sha256"] == hashlib.sha256(files["manifest.json"]).hexdigest()
    named = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    assert named == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != "manifest.json"
    }
    return files


def read(out: Path) -> dict[str, bytes]:
    if out.suffix == ".zip":
        with zipfile.ZipFile(out) as archive:
            assert archive.testzip() is None
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert archive.namelist() == sorted(archive.namelist())
            return {name: archive.read(name) for name in archive.namelist()}
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def rows(files: Mapping[str, bytes], name: str) -> list[Any]:
    return list(json.loads(files[f"{name}.json"]))


def test_what_went_to_the_provider_is_in_the_copy_byte_for_byte_with_everything_that_led_to_it(
    dunlin: Command, sent: Any, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    files = export(dunlin, tmp_path / "a1.zip")
    abouts = [
        json.loads(files[name]) for name in sorted(files) if name.startswith("texts/") and "json" in name
    ]
    assert sorted(about["channel"] for about in abouts) == ["email", "in_app", "sms"]
    stems = {json.loads(files[n])["channel"]: n.removesuffix(".json") for n in files if n.startswith("texts/")
             and n.endswith(".json")}  # fmt: skip
    for about in abouts:
        text = files[f"{stems[about['channel']]}.txt"]
        assert hashlib.sha256(text).hexdigest() == about["sha256"] == about["sha256_computed"]
    (sms,) = sandbox.client.messages(channel="sms")
    (email,) = sandbox.client.messages(channel="email")
    assert files[f"{stems['sms']}.txt"].decode() == sms["text"]
    assert files[f"{stems['email']}.txt"].decode().strip() == email["text"].replace("\r\n", "\n").strip()
    assert b"<html" in files[f"{stems['email']}.html"].lower()
    assert {about["channel"]: about["address"] for about in abouts}["email"] == "b1@example.com"

    (run,) = rows(files, "runs")
    assert run["account_was"] == "in messages"
    assert {row["state"] for row in rows(files, "messages")} == {"sent", "delivered"}
    assert all(row["send_before"] and row["facts_seen_at"] for row in rows(files, "messages"))
    moves = [row["to_state"] for row in rows(files, "events")]
    assert moves.count("sending") == 3
    assert moves[-1] == "delivered"
    assert [row["outcome"] for row in rows(files, "attempts")] == ["accepted"] * 3
    assert rows(files, "receipts")[0]["raw"]["To"] == "+447700900001"
    assert [row["outcome"] for row in rows(files, "contacts")] == ["delivered"]
    assert [row["lifted_by"] for row in rows(files, "holds")] == ["ann"]
    assert [row["created_by"] for row in rows(files, "suppressions")] == ["bob"]
    assert [row["kind"] for row in rows(files, "consents")] == ["written"]
    assert [row["actor"] for row in rows(files, "audit")] == ["eve", "bob"]


def test_the_policy_and_the_templates_behind_a_text_are_in_the_copy_under_their_hashes(
    dunlin: Command, sent: Any, tmp_path: Path
) -> None:
    files = export(dunlin, tmp_path / "copy")
    kept = [json.loads(content) for name, content in files.items() if name.startswith("versions/")]
    bodies = {row["kind"]: (row["hash"], row["body"]) for row in kept}
    assert bodies.keys() == {"policy", "pack", "pack_set", "template"}
    assert bodies["policy"][0] == policy_hash(bodies["policy"][1]) == rows(files, "runs")[0]["policy_hash"]
    assert bodies["template"][0] == template_hash(bodies["template"][1])
    manifest = json.loads(files["manifest.json"])
    assert (manifest["checks"]["mismatches"], manifest["checks"]["not_kept"]) == ([], [])
    assert manifest["made"]["by"] == "carol"


def test_two_copies_of_one_state_differ_in_nothing_but_the_manifest_and_each_leaves_an_audit_row(
    dunlin: Command, sent: Any, tmp_path: Path
) -> None:
    first, second = export(dunlin, tmp_path / "1.zip"), export(dunlin, tmp_path / "2")
    assert {name for name in first | second if first.get(name) != second.get(name)} == {"manifest.json"}
    done = sent.rows("SELECT actor, subject, detail FROM audit WHERE action = 'evidence' ORDER BY id")
    assert [(row["actor"], row["subject"]) for row in done] == [("carol", "uk/A1")] * 2
    digests = [hashlib.sha256(files["manifest.json"]).hexdigest() for files in (first, second)]
    assert [row["detail"]["manifest_sha256"] for row in done] == digests
    earlier = json.loads(second["manifest.json"])["earlier_copies"]
    assert [copy["detail"]["manifest_sha256"] for copy in earlier] == digests[:1]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("UPDATE message_contents SET text = text || '.' WHERE address LIKE '+%'", "the text has sha256"),
        ("UPDATE message_contents SET text = NULL WHERE address LIKE '+%'", "no purge removed it"),
        ("DELETE FROM message_contents WHERE address LIKE '+%'", "its text is not kept"),
        ('UPDATE receipts SET raw = raw || \'{"To": "+44"}\'', "not as it was received"),
        ("UPDATE versions SET body = body || '{\"x\": \"y\"}' WHERE kind = 'template'", "another hash"),
    ],
)
def test_what_was_changed_after_it_was_written_is_named_and_ends_with_3(
    dunlin: Command, sent: Any, tmp_path: Path, change: str, word: str
) -> None:
    sent.run(change)
    made = dunlin("evidence", "A1", "--out", str(tmp_path / "copy"))
    assert made.returncode == 3
    assert len(made.stderr.splitlines()) == 1
    assert word in made.stderr
    assert word in (tmp_path / "copy" / "index.html").read_text()
    assert word in str(json.loads((tmp_path / "copy" / "manifest.json").read_text())["checks"]["mismatches"])


def test_the_page_runs_nothing_and_the_table_starts_no_formula(
    dunlin: Command, sent: Any, tmp_path: Path
) -> None:
    sent.run("UPDATE contacts SET outcome = '@SUM(1)'")
    files = export(dunlin, tmp_path / "copy")
    page = files["index.html"].decode()
    assert NASTY not in page
    assert "&lt;script&gt;" in page
    cells = [
        cell for row in csv.reader(io.StringIO(files["timeline.csv"].decode("utf-8-sig"))) for cell in row
    ]
    assert "'@SUM(1)" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_file_names_stay_in_the_folder_whatever_ids_are_called_and_only_their_owner_reads_them(
    dunlin: Command, sent: Any, tmp_path: Path
) -> None:
    sent.run("UPDATE accounts SET external_id = '../../../../tmp/A1'")
    sent.run("ALTER TABLE messages DISABLE TRIGGER USER")
    sent.run("UPDATE messages SET channel = '../../sms' WHERE channel = 'sms'")
    folder = tmp_path / "copy"
    files = export(dunlin, folder, account="../../../../tmp/A1")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert not [name for name in files if ".." in name or name.count("/") > 1 or name.startswith("/")]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_empty_folder_is_filled_and_anything_else_that_exists_is_left_alone(
    dunlin: Command, refused: Callable[..., None], book: Any, tmp_path: Path
) -> None:
    book.account(book.borrower(), due_on=TODAY)
    (tmp_path / "empty").mkdir()
    assert rows(export(dunlin, tmp_path / "empty"), "messages") == []
    before = read(tmp_path / "empty")
    (tmp_path / "taken.zip").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out, word in (
        ("empty", "exists already"),
        ("taken.zip", "exists already"),
        ("link", "exists already"),
        ("no/such/copy", "there is no folder"),
        ("taken.zip/copy", "there is no folder"),
    ):
        refused(dunlin("evidence", "A1", "--out", str(tmp_path / out)), 4, word)
    refused(dunlin("evidence", "A2", "--out", str(tmp_path / "copy")), 4, "no such account")
    assert read(tmp_path / "empty") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link", "taken.zip"]
    assert book.one("SELECT count(*) FROM audit") == 1


def test_an_account_that_was_left_out_is_told_with_its_run_and_reason(
    dunlin: Command, book: Any, story: Any, version: Any, tmp_path: Path
) -> None:
    book.at("2026-11-23T10:00Z")
    borrower = book.borrower()
    book.account(borrower, due_on=TODAY - timedelta(days=10))
    book.hold(borrower)
    story.plan(version)
    files = export(dunlin, tmp_path / "copy.zip")
    (run,) = rows(files, "runs")
    assert (run["account_was"], run["left_out_because"]) == ("left out", "house.hold.dispute")
    assert "house.hold.dispute" in files["index.html"].decode()


def test_after_a_purge_the_copy_still_tells_what_happened_and_when_the_texts_went(
    dunlin: Command, sent: Any, tmp_path: Path
) -> None:
    before = export(dunlin, tmp_path / "before.zip")
    sent.run("UPDATE accounts SET closed_on = '2026-12-01', amount_due = 0")
    now = datetime.fromisoformat("2035-01-02T00:00Z")
    assert purge(sent.engine, {"uk": 3}, now).texts == 3
    after = export(dunlin, tmp_path / "after.zip")
    said = [
        content.decode() for name, content in before.items() if name.startswith("texts/") and ".txt" in name
    ]
    everything = b"".join(after.values()).decode()
    for private in (*said, "b1@example.com", "+4477009"):
        assert private not in everything
    assert json.loads(after["account.json"])["borrower"]["name"] == ""
    page = after["index.html"].decode()
    for row in rows(before, "attempts"):
        name = next(n for n in before if row["id"] in n and n.endswith(".json"))
        digest = json.loads(before[name])["sha256"]
        assert f"Text removed on 2035-01-02, sha256 {digest}" in page
        assert json.loads(after[name])["removed_by_purge"]
    assert rows(after, "events") == rows(before, "events")
    assert rows(after, "messages") == rows(before, "messages")
    assert [row["status"] for row in rows(after, "receipts")] == ["delivered"]
    assert "purge.finished" in {row["action"] for row in rows(after, "audit")}
    checks = json.loads(after["manifest.json"])["checks"]
    assert (checks["texts"], checks["texts_removed"], checks["mismatches"]) == (0, 3, [])
    explained = dunlin("explain", "A1", "--texts")
    assert explained.stdout.count("text removed on 2035-01-02, sha256 ") == 3
