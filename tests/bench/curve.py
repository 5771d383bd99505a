"""What planning costs against what is overdue, and against the size of the book around it.

Run it with `make bench` (SCALE=1000000: 10 k, 100 k and 1 M overdue, and 100 k overdue in books of 1 M and of
10 M).
"""

import argparse
import statistics
import time
from pathlib import Path

import ground

from worker import logs


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--scale", type=int, default=100_000, help="overdue accounts at the end of the curve"
    )
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    logs.configure("console", "WARNING")
    scale, small = chosen.scale, chosen.scale // 10
    with ground.ground() as stage:
        curve = [_point(stage, n, n, chosen.runs) for n in (scale // 100, small, scale)]
        books = [_point(stage, small, book, chosen.runs) for book in (scale, 10 * scale)]
    ratio = books[1]["plan_s"]["median"] / books[0]["plan_s"]["median"]
    ground.keep(chosen.out, {"curve": curve, "books": books, "ratios": {"book_of_ten": ratio}})


def _point(stage: ground.Ground, overdue: int, book: int, runs: int) -> dict[str, object]:
    ground.fill(stage.engine, overdue, book=book)
    took = []
    for _ in range(runs):
        ground.empty(stage.engine)
        began = time.perf_counter()
        planned = ground.plan_day(stage)
        took.append(time.perf_counter() - began)
        if planned != overdue:
            raise SystemExit(f"{planned} messages were planned for {overdue} overdue accounts")
    print(f"{overdue:,} overdue in a book of {book:,}: {statistics.median(took):.2f} s", flush=True)
    return {"overdue": overdue, "book": book, "plan_s": ground.spread(took)}


if __name__ == "__main__":
    main()
