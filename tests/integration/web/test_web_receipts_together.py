"""Many receipts at once, in few transactions: what is wrong with one of them is not the others' trouble."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine, text


def test_a_receipt_that_cannot_be_stored_among_many_harms_none_of_them(
    web: Any, mail: Any, book: Any, engine: Engine, until: Any
) -> None:
    refs = [mail.message() for _ in range(12)]
    form = {"Unstorable": "\x00"}
    with ThreadPoolExecutor(12) as threads, engine.connect() as connection:
        # The first waits for the table, and the others meanwhile for the first.
        connection.execute(text("LOCK TABLE receipts IN ACCESS EXCLUSIVE MODE"))
        sent = [threads.submit(web.receipt, ref, **(form if n == 5 else {})) for n, ref in enumerate(refs)]
        until(lambda: book.one("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0)
        connection.rollback()
        answers = [each.result().status_code for each in sent]
    assert answers == [500 if n == 5 else 204 for n in range(12)]
    assert [mail.state(ref) for ref in refs] == ["sent" if n == 5 else "delivered" for n in range(12)]
    assert [mail.receipts(ref) for ref in refs] == [0 if n == 5 else 1 for n in range(12)]


def test_a_message_that_somebody_holds_keeps_no_other_receipt_waiting(
    web: Any, mail: Any, engine: Engine
) -> None:
    held, free = mail.message(), [mail.message() for _ in range(20)]
    with ThreadPoolExecutor(21) as threads, engine.connect() as connection:
        hold = text("SELECT FROM messages WHERE id = :id FOR UPDATE")
        connection.execute(hold, {"id": held.message_id})
        waiting = threads.submit(web.receipt, held)
        answers = [each.status_code for each in threads.map(web.receipt, free)]
        assert answers == [204] * 20
        assert not waiting.done()
        connection.rollback()
        assert waiting.result().status_code == 204
    assert [mail.state(ref) for ref in (held, *free)] == ["delivered"] * 21
    assert (mail.receipts(held), mail.events(held, "state")) == (1, 1)
