"""The page a person reads first. Whatever comes from data is escaped; nothing is loaded from anywhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from worker.pipeline.evidence.check import Checked, computed, is_removed
from worker.pipeline.evidence.plain import shown
from worker.pipeline.evidence.record import Record
from worker.store.evidence import Row

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Evidence</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { border: 1px solid #999; overflow-wrap: anywhere; padding: .2rem .5rem; text-align: left;
         vertical-align: top; }
pre { border-left: 4px solid #999; padding-left: 1rem; white-space: pre-wrap; }
.bad { border: 3px solid #b00; padding: .5rem 1rem; }
h3 { border-top: 2px solid #444; margin-top: 2rem; padding-top: .5rem; }
</style>
</head>
<body>
"""
_LISTS = (
    ("Runs that saw the account", "runs",
     "id business_on mode state account_was left_out_because requested_by reason started_at"),
    ("Past contacts with the borrower", "contacts", "at channel tier outcome account"),
    ("Messages to the borrower about other accounts", "other_messages",
     "business_on id portfolio_id channel tier state reason sent_at"),
    ("Holds", "holds",
     "type starts_at ends_at reason created_by created_at lifted_at lifted_by lift_reason outcome"),
    ("Suppressed addresses", "suppressions",
     "channel address reason source created_by created_at lifted_at lifted_by lift_reason"),
    ("Consents", "consents", "channel kind given_at revoked_at source"),
    ("What the borrower wrote", "inbound", "received_at provider word address"),
    ("Pauses while a message was open", "pauses",
     "portfolio_id channel reason paused_by paused_at until_at resumed_at resumed_by"),
    ("Who did what", "audit", "at actor action subject reason detail"),
)  # fmt: skip
"""Title, part and columns of what is shown as one table."""
_MESSAGE = (
    "state reason mode run_id planned_at admitted_at facts_seen_at send_at send_before expires_at sent_at "
    "requires_approval approved_at approved_by"
)
_OF_MESSAGE = (
    ("About", "message_accounts", "external_id tier dpd amount_due"),
    ("Verdicts", "verdicts", "at decision rules until_at rules_hash facts"),
    ("Events", "events", "at kind from_state to_state reason actor"),
    ("Attempts", "attempts", "n id claimed_at started_at finished_at outcome code provider provider_id"),
    ("Receipts", "receipts", "received_at status code provider_id moved_to raw"),
)
_VERSION = "kind name hash created_at"


def page(record: Record, checked: Checked, texts: Mapping[Any, str]) -> str:
    """The whole page; `texts` is the path of each attempt's text files, without their endings."""
    out = [_HEAD, f"<h1>Evidence on account {escape(record.name)}</h1>"]
    out.append(
        "<p>Everything that Dunlin knows about this account. The same is in the JSON files beside this page, "
        "for programs; the texts as sent are in <code>texts/</code>, the policies, rule packs and templates "
        "behind them in <code>versions/</code>. <code>manifest.json</code> says when and by whom this copy "
        "was made, and holds the SHA-256 of every file. All times are UTC.</p>"
    )
    out += _checks(checked)
    out += _whose(record)
    for row in record.parts["messages"]:
        out += _message(record, row, texts)
    for title, part, columns in _LISTS:
        out += [f"<h2>{title}</h2>", _table(columns, record.parts[part])]
    out += ["<h2>Versions</h2>", _table(_VERSION, record.versions)]
    return "\n".join([*out, "</body>", "</html>", ""])


def _checks(checked: Checked) -> Iterable[str]:
    yield (
        f"<p>{checked.texts} texts and {checked.receipts} receipts were compared with the hashes stored with "
        f"them; {checked.texts_removed} texts and {checked.receipts_removed} receipts were removed when "
        "their retention was over. A text's hash covers its text part, not its subject or HTML part.</p>"
    )
    for title, lines in (("Does not agree", checked.mismatches), ("Not kept", checked.not_kept)):
        if lines:
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            yield f'<div class="bad"><strong>{title}</strong><ul>{items}</ul></div>'


def _whose(record: Record) -> Iterable[str]:
    (account,), (borrower,), (portfolio,) = (
        record.parts[name] for name in ("account", "borrower", "portfolio")
    )
    removed = "removed: its retention is over"
    yield "<h2>Account and borrower, as known now</h2>"
    yield _fields(
        {
            "portfolio": f"{portfolio['id']}: {portfolio['title']}",
            "account": account["external_id"],
            "principal": f"{account['principal']} {portfolio['currency']}",
            "amount due": f"{account['amount_due']} {portfolio['currency']}",
            "due on": account["due_on"],
            "daily late rate": account["daily_late_rate"],
            "delinquent since": account["delinquent_since"],
            "closed on": account["closed_on"],
            "borrower": borrower["external_id"],
            "name": borrower["name"] or removed,
            "phone": borrower["phone"] or ("" if borrower["name"] else removed),
            "e-mail": borrower["email"] or ("" if borrower["name"] else removed),
            "time zone": borrower["zone"] or portfolio["borrower_zone"],
        }
    )
    yield f"<h2>Messages: {len(record.parts['messages'])}</h2>"


def _message(record: Record, row: Row, texts: Mapping[Any, str]) -> Iterable[str]:
    def own(part: str) -> list[Row]:
        return [x for x in record.parts[part] if x["message_id"] == row["id"]]

    yield f"<h3>{row['business_on']}: {escape(row['tier'])} by {escape(row['channel'])}, {row['id']}</h3>"
    yield _fields({name: row[name] for name in _MESSAGE.split()})
    for title, part, columns in _OF_MESSAGE:
        yield f"<p>{title}</p>{_table(columns, own(part))}"
    for content in own("contents"):
        yield from _text(content, texts[content["attempt_id"]])


def _text(content: Row, path: str) -> Iterable[str]:
    agrees = computed(content) == content["sha256"]
    if is_removed(content):
        yield f"<p>Text removed on {content['purged_at']:%Y-%m-%d}, sha256 {escape(content['sha256'])}</p>"
        return
    yield (
        f"<p>Attempt {content['attempt_id']} to {escape(shown(content['address']))}, sha256 "
        f"{escape(content['sha256'])}: {'the text agrees' if agrees else '<b>the text does not agree</b>'}. "
        f"Files: {escape(path)}.*</p>"
    )
    if content["subject"]:
        yield f"<p>Subject: {escape(content['subject'])}</p>"
    if content["text"] is not None:
        yield f"<pre>{escape(content['text'])}</pre>"


def _fields(values: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(shown(v))}</td></tr>" for name, v in values.items())
    return f"<table>{''.join(rows)}</table>"


def _table(columns: str, rows: Sequence[Row]) -> str:
    if not rows:
        return "<p>None.</p>"
    names = columns.split()
    head = "".join(f"<th>{name}</th>" for name in names)
    body = (f"<tr>{''.join(f'<td>{escape(shown(row[name]))}</td>' for name in names)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"
