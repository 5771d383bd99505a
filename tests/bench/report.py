"""Writes what the benchmarks found into `docs/`: a table beside the budgets, and the curve as a plot.

Run it with `make bench`, after the others.
"""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "dunlin"
from matplotlib import pyplot as plt  # noqa: E402  # the backend first

BUDGETS: dict[str, tuple[str, str, float]] = {
    "plan_vs_insert": ("planning against a bare INSERT … SELECT of as many rows", "≤", 2.5),
    "book_of_ten": ("planning in a book ten times as large, the same accounts overdue", "≤", 1.3),
    "pipeline_vs_bare": ("messages per second against the bare loop", "≥", 0.6),
    "pipeline_vs_obvious": ("messages per second against the obvious way", "≥", 12.0),
    "round_trips_per_1000": ("requests to the database for each 1,000 messages", "≤", 20.0),
    "first_message_vs_run": ("time to the first message against the whole run", "≤", 0.1),
    "memory_growth": ("memory of a process at the end against after 10,000 messages each", "≤", 1.1),
    "receipts_vs_sent": ("receipts per second, alone, against messages sent per second", "≥", 0.25),
    "two_hosts_vs_one": ("a run with two worker hosts, times as fast as with one", "≥", 1.5),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    options.add_argument("--docs", type=Path, default=Path("docs"))
    chosen = options.parse_args()
    figures = json.loads(chosen.figures.read_text(encoding="utf-8"))
    ratios = figures["ratios"]
    ratios["round_trips_per_1000"] = figures["round_trips_per_1000"]
    ratios["receipts_vs_sent"] = (
        figures["receipts"]["receipts_per_s"] / figures["sides"]["pipeline"]["per_s"]["median"]
    )
    chosen.figures.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    chosen.docs.mkdir(exist_ok=True)
    lines = [*_head(figures), *_budgets(ratios), *_sides(figures), *_steps(figures), *_planning(figures)]
    text = "\n".join([*lines, *_whole(figures), ""])
    (chosen.docs / "bench.md").write_text(text, encoding="utf-8")
    _plot(figures, chosen.docs / "planning.svg")
    print(text)


def _head(figures: dict[str, Any]) -> list[str]:
    return [
        "# Measured",
        "",
        (
            f"Written by `make bench SCALE={figures['scale']}` on {datetime.now(UTC).date()}; "
            f"{_machine()}. Everything ran on this one machine: workers, PostgreSQL, Redis and the provider. "
            "Rates differ from machine to machine, so the budgets are ratios of medians taken in one run."
        ),
        "",
    ]


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}"


def _budgets(ratios: dict[str, Any]) -> list[str]:
    rows = ["| what | measured | budget | |", "| --- | ---: | ---: | --- |"]
    for name, (what, sign, limit) in BUDGETS.items():
        value = ratios[name]
        kept = value <= limit if sign == "≤" else value >= limit
        rows.append(f"| {what} | {value:.2f} | {sign} {limit:g} | {'kept' if kept else '**missed**'} |")
    return [*rows, ""]


def _sides(figures: dict[str, Any]) -> list[str]:
    rows = [
        "| side by side | messages/s (least to most) | CPU of its processes, µs per message |",
        "| --- | ---: | ---: |",
    ]
    for name, side in figures["sides"].items():
        rows.append(f"| {name} | {_spread(side['per_s'])} | {_spread(side['cpu_us'])} |")
    rows.append(
        f"| receipts, one web process | {figures['receipts']['receipts_per_s']:,.0f} "
        f"| {figures['receipts']['web_cpu_us_per_receipt']:,.0f} |"
    )
    return [*rows, ""]


def _steps(figures: dict[str, Any]) -> list[str]:
    rows = ["| step | CPU, µs per message (least to most) |", "| --- | ---: |"]
    rows += [f"| {name} | {_spread(value)} |" for name, value in figures["steps_us"].items()]
    return [
        *rows,
        "",
        f"One process by itself admits {_spread(figures['admitted_per_s'])} messages a second.",
        "",
    ]


def _planning(figures: dict[str, Any]) -> list[str]:
    rows = [
        "![Planning time](planning.svg)",
        "",
        "| overdue | in a book of | plan, s |",
        "| ---: | ---: | ---: |",
    ]
    points = (*figures["curve"], *figures["books"])
    rows += [f"| {p['overdue']:,} | {p['book']:,} | {_spread(p['plan_s'], 2)} |" for p in points]
    rate = figures["steps"]["accounts_planned_per_s"]
    return [*rows, "", f"All tiers and channels: {rate:,.0f} overdue accounts planned per second.", ""]


def _whole(figures: dict[str, Any]) -> list[str]:
    whole, hosts = figures["whole"], figures["hosts_s"]
    last = whole["memory"][-1]["mib"].values()
    return [
        (
            f"One run of {whole['messages']:,} messages, planned, admitted and sent by one worker: "
            f"{whole['took_s']:,.0f} s, the first message after {whole['first_message_s']:.1f} s; its "
            f"processes held {', '.join(f'{mib:.0f}' for mib in last)} MiB at the end, and the database "
            f"{whole['bytes_per_message'] / 1000:.1f} kB for each message, indexes included."
        ),
        "",
        (
            "Against a provider that answers after 200 ms: one worker "
            f"{_spread(hosts['1'], 1)} s, two workers {_spread(hosts['2'], 1)} s, no message lost or twice."
        ),
    ]


def _spread(value: dict[str, float], digits: int = 0) -> str:
    return f"{value['median']:,.{digits}f} ({value['least']:,.{digits}f}–{value['most']:,.{digits}f})"


def _plot(figures: dict[str, Any], to: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for points, across, label in (
        (figures["curve"], "overdue", "everything in the book is overdue"),
        (figures["books"], "book", f"{figures['books'][0]['overdue']:,} overdue, the book grows"),
    ):
        xs, ys = [p[across] for p in points], [p["plan_s"] for p in points]
        off = [[y["median"] - y["least"] for y in ys], [y["most"] - y["median"] for y in ys]]
        axes.errorbar(xs, [y["median"] for y in ys], yerr=off, marker="o", capsize=3, label=label)
    axes.set(xscale="log", yscale="log", xlabel="accounts", ylabel="planning, seconds", title=_machine())
    axes.title.set_fontsize(8)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(to, metadata={"Date": None})


if __name__ == "__main__":
    main()
