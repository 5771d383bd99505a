"""The bare loop, one process of it: claim 500 rows, format, POST over aiohttp, update. No rules, no Celery.

What a message costs at least, if nothing is ever checked, retried, explained or recovered.
"""

import asyncio
import os
import sys

import aiohttp
import uvloop
from sqlalchemy import Connection, text

from worker.store.engine import make_engine

BATCH = 500
CONNECTIONS = 50
TABLE = """
CREATE TABLE IF NOT EXISTS bare (
    id bigint PRIMARY KEY, phone text NOT NULL, name text NOT NULL, amount numeric NOT NULL,
    dpd int NOT NULL, state text NOT NULL, provider_id text);
TRUNCATE bare;
INSERT INTO bare SELECT a.id, b.phone, b.name, a.amount_due, 5, 'scheduled', NULL
FROM accounts a JOIN borrowers b ON b.id = a.borrower_id LIMIT :scale;
CREATE INDEX IF NOT EXISTS bare_due ON bare (id) WHERE state = 'scheduled';
ANALYZE bare
"""
CLAIM = text("""
UPDATE bare SET state = 'sending' WHERE id IN (
    SELECT id FROM bare WHERE state = 'scheduled' ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING id, phone, name, amount, dpd
""")
DONE = text("""
UPDATE bare b SET state = 'sent', provider_id = v.provider_id
FROM unnest(CAST(:ids AS bigint[]), CAST(:provider_ids AS text[])) AS v(id, provider_id) WHERE b.id = v.id
""")


def fill(connection: Connection, scale: int) -> None:
    """As many rows as messages are to be sent."""
    for statement in TABLE.split(";"):
        connection.execute(text(statement), {"scale": scale} if ":scale" in statement else {})


async def work() -> None:
    engine = make_engine(os.environ["DUNLIN_DATABASE_URL"], "bare")
    url = f"{os.environ['BENCH_PROVIDER_URL']}/2010-04-01/Accounts/AC0/Messages.json"
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(row: object) -> tuple[int, str]:
            number, phone, name, amount, dpd = row  # type: ignore[misc]
            said = f"Razorbill Credit: {name}, {amount} GBP are {dpd} days overdue. Pay: https://pay.uk.example.com/"
            form = {"To": phone, "From": "+15005550006", "Body": said}
            async with session.post(url, data=form) as answer:
                return number, (await answer.json())["sid"]

        while True:
            with engine.begin() as connection:
                rows = connection.execute(CLAIM, {"limit": BATCH}).all()
            if not rows:
                break
            sent: list[tuple[int, str]] = []
            for start in range(0, len(rows), CONNECTIONS):
                sent += await asyncio.gather(*(post(row) for row in rows[start : start + CONNECTIONS]))
            with engine.begin() as connection:
                ids, provider_ids = zip(*sent, strict=True)
                connection.execute(DONE, {"ids": list(ids), "provider_ids": list(provider_ids)})
    engine.dispose()


if __name__ == "__main__":
    sys.exit(uvloop.run(work()))
