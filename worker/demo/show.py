"""What a newcomer sees at the end of the demo."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection

from worker.demo.stage import Addresses
from worker.sandbox.client import SandboxClient
from worker.store import explain, settle, status

SHOWN = (("cn", "sms", "reminder"), ("us", "email", "stern"), ("uk", "in_app", "reminder"))


def outcome(console: Console, connection: Connection, runs: Sequence[UUID]) -> None:
    """Tier by channel by state, over all portfolios."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in status.message_counts(connection, runs):
        counts[row["tier"], row["channel"], row["state"]] += row["messages"]
    channels = sorted({channel for _, channel, _ in counts})
    table = Table(title="Messages by tier, channel and state", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("tier", "state"):
        table.add_column(column, no_wrap=True)
    for column in (*channels, "all"):
        table.add_column(column, justify="right", no_wrap=True)
    order = {"reminder": 0, "stern": 1, "legal_warning": 2}
    for tier in sorted({tier for tier, _, _ in counts}, key=lambda tier: order.get(tier, 9)):
        for state in sorted({state for of, _, state in counts if of == tier}):
            cells = [counts[tier, channel, state] for channel in channels]
            table.add_row(tier, state, *(str(cell) if cell else "·" for cell in cells), str(sum(cells)))
        table.add_section()
    sums = [sum(n for key, n in counts.items() if key[1] == channel) for channel in channels]
    table.add_row("all", "", *map(str, sums), str(sum(sums)), style="bold")
    console.print(table)


def reasons(console: Console, connection: Connection, runs: Sequence[UUID]) -> None:
    """Why something was not sent, or not contacted at all."""
    table = Table(title="Why not", title_justify="left", header_style="bold")
    table.add_column("what")
    table.add_column("reason")
    table.add_column("count", justify="right")
    counts: Counter[tuple[str, str]] = Counter()
    for row in status.message_counts(connection, runs):
        if row["reason"]:
            counts[f"message {row['state'].replace('_', ' ')}", row["reason"]] += row["messages"]
    for row in status.exclusion_counts(connection, runs):
        counts["account left out", row["reason"]] += row["accounts"]
    for (what, reason), count in sorted(counts.items()):
        table.add_row(what, reason, str(count))
    console.print(table)


def books(console: Console, connection: Connection, runs: Sequence[UUID]) -> bool:
    """The sums of promise 1 for each run; whether they agree."""
    table = Table(title="Nothing lost: the sums", title_justify="left", header_style="bold")
    for column in ("portfolio", "overdue", "in messages", "left out", "in both", "run", "agree"):
        table.add_column(column, justify="left" if column in ("portfolio", "run") else "right")
    ends = ("messages", "sent", "failed", "suppressed", "cancelled", "expired", "open")
    messages = Table(
        title="Their messages are the sum of",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    messages.add_column("portfolio")
    for column in ends:
        messages.add_column(column, justify="right")
    agree = True
    for run_id in runs:
        row, sums = status.run(connection, run_id), settle.books(connection, run_id)
        assert row is not None
        cells = (sums.overdue, sums.covered, sums.excluded, sums.both_ways)
        table.add_row(row.portfolio_id, *map(str, cells), row.state, "yes" if sums.agree else "NO")
        messages.add_row(row.portfolio_id, *(str(getattr(sums, name)) for name in ends))
        agree = agree and sums.agree
    console.print(table)
    console.print(messages)
    return agree


def journal(console: Console, connection: Connection, sandbox: SandboxClient, runs: Sequence[UUID]) -> bool:
    """The books against the provider's own: each message there once, and as many as we count as sent. Of
    those that are unconfirmed it may have any.
    """
    received = Counter(sandbox.counts()["messages"])
    doubled = sum(1 for count in received.values() if count > 1)
    ours: Counter[str] = Counter()
    for row in status.message_counts(connection, runs):
        if row["channel"] != "in_app":
            ours[row["state"]] += row["messages"]
    sent, unconfirmed = ours["sent"] + ours["delivered"] + ours["undelivered"], ours["unconfirmed"]
    console.print(
        f"The sandbox provider has {len(received)} messages of ours; we count {sent} as sent"
        f"{f' and {unconfirmed} as unconfirmed' if unconfirmed else ''}; received twice: {doubled}"
    )
    return doubled == 0 and sent <= len(received) <= sent + unconfirmed


def samples(console: Console, connection: Connection) -> None:
    """Three messages as they went out."""
    for portfolio, channel, tier in SHOWN:
        row = explain.sample_text(connection, portfolio, channel, tier)
        if row is not None:
            body = "\n\n".join(part for part in (row["subject"], row["text"]) if part)
            title = f"{portfolio} · {channel} · {tier}"
            console.print(Panel(Text(body), title=title, title_align="left", width=min(console.width, 100)))


def places(console: Console, addresses: Addresses) -> None:
    console.print(Text(f"Web service     {addresses.web}/readyz"))
    console.print(Text(f"Flower          {addresses.flower}  (login {addresses.flower_login})"))
    console.print(Text(f"Sandbox         {addresses.sandbox}/_sandbox/messages"))
