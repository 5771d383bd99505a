"""The open stream: a popup reaches the app at once, whatever becomes of Redis, and is then delivered."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from worker import local
from worker.channels.base import ProviderConfig
from worker.channels.in_app_inbox import Inbox
from worker.domain.message import MessageRef, OutgoingMessage, Rendered, Sender
from worker.pipeline.send import send_due

NO_REDIS = "redis://127.0.0.1:1/0"


class Stream:
    """An app's open connection; reads in a thread, as an app does."""

    def __init__(self, response: httpx.Response) -> None:
        self.comments: queue.Queue[str] = queue.Queue()
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._response = response
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        event: dict[str, Any] = {}
        try:
            for line in self._response.iter_lines():
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.put(line)
                elif name:
                    event[name] = value
                elif event:
                    self._events.put({**event, "data": json.loads(event["data"])})
                    event = {}
        except httpx.HTTPError:
            pass
        self._events.put(None)

    def next(self, within_s: float = 8.0) -> dict[str, Any] | None:
        """The next event; None: the stream has ended."""
        return self._events.get(timeout=within_s)

    def is_quiet_for(self, seconds: float) -> bool:
        try:
            return self._events.get(timeout=seconds) is None
        except queue.Empty:
            return True


@contextmanager
def opened(web: Any, who: str, *, headers: dict[str, str] | None = None, **claims: Any) -> Iterator[Stream]:
    with httpx.Client(base_url=web.http.base_url, timeout=20) as client:
        sent = web.bearer(who, **claims) | (headers or {})
        with client.stream("GET", "/api/inbox/stream", headers=sent) as response:
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/event-stream")
            stream = Stream(response)
            try:
                yield stream
            finally:
                response.extensions["network_stream"].get_extra_info("socket").shutdown(2)
                stream.thread.join(5)


def announce(redis_url: str, who: str, ref: MessageRef, runtime: Any) -> None:
    message = OutgoingMessage(ref, "uk", "in_app", who, Rendered("x", "y"), Sender(), 600)
    inbox = Inbox.from_config(ProviderConfig({}, "", redis_url))

    async def once() -> None:
        await inbox.announce([message])
        await inbox.close()

    runtime.run(once())


def test_what_is_undelivered_is_written_at_connect_oldest_first(
    web: Any, mail: Any, book: Any, until: Any
) -> None:
    older = mail.message("in_app")
    book.at("2026-11-02T10:30Z")
    newer = mail.message("in_app")
    with opened(web, mail.who) as stream:
        first, second = stream.next(), stream.next()
        assert [first["event"], first["id"], second["id"]] == [
            "message",
            str(older.message_id),
            str(newer.message_id),
        ]
        assert (first["data"]["title"], first["data"]["body"]) == ("Your payment", "Please pay.")
        until(lambda: (mail.state(older), mail.state(newer)) == ("delivered", "delivered"))


def test_a_popup_sent_through_the_pipeline_reaches_an_open_app_at_once(
    web: Any, book: Any, story: Any, runtime: Any, version: Any, servers: Any, until: Any
) -> None:
    book.at("2026-11-02T10:00+00:00")
    borrower = book.borrower("pipeline", phone="+447700900999")
    book.account(borrower, "pipeline", due_on=date(2026, 10, 30))
    adapter = Inbox.from_config(ProviderConfig({}, "", servers.redis_url))
    runtime.adapter = lambda *_: adapter
    with opened(web, "pipeline") as stream:
        assert stream.is_quiet_for(0.3)
        story.plan(version)
        story.admit()
        began = time.monotonic()
        assert send_due(runtime, "in_app")["accepted"] == 1
        event = stream.next()
        # The test's service looks for itself once a minute while Redis is there, so this was a nudge.
        assert time.monotonic() - began < 5
        (row,) = book.messages(borrower_id=borrower, channel="in_app")
        assert event["id"] == str(row["id"])
        assert "£120.50" in event["data"]["body"]
        assert event["data"]["link"] == "https://pay.uk.example.com/"
        until(lambda: book.messages(id=row["id"])[0]["state"] == "delivered")
    runtime.run(adapter.close())


def test_two_devices_of_one_borrower_both_get_a_nudged_popup(
    web: Any, mail: Any, runtime: Any, servers: Any
) -> None:
    with opened(web, mail.who) as phone, opened(web, mail.who) as tablet:
        assert phone.is_quiet_for(0.3)
        ref = mail.message("in_app")
        announce(servers.redis_url, mail.who, ref, runtime)
        assert [phone.next()["id"], tablet.next()["id"]] == [str(ref.message_id)] * 2


def test_a_nudge_for_somebody_elses_popup_shows_nothing(
    web: Any, mail: Any, runtime: Any, servers: Any
) -> None:
    stranger = type(mail)(mail.book)
    with opened(web, stranger.who) as stream:
        assert stream.is_quiet_for(0.3)
        ref = mail.message("in_app")
        announce(servers.redis_url, stranger.who, ref, runtime)
        assert stream.is_quiet_for(0.5)
    assert mail.state(ref) == "sent"


def test_a_repeated_nudge_shows_the_popup_once(web: Any, mail: Any, runtime: Any, servers: Any) -> None:
    with opened(web, mail.who) as stream:
        ref = mail.message("in_app")
        for _ in range(3):
            announce(servers.redis_url, mail.who, ref, runtime)
        assert stream.next()["id"] == str(ref.message_id)
        assert stream.is_quiet_for(0.5)


def test_reconnecting_with_the_last_events_id_repeats_nothing(web: Any, mail: Any, until: Any) -> None:
    ref = mail.message("in_app")
    with opened(web, mail.who) as stream:
        stream.next()
        until(lambda: mail.state(ref) == "delivered")
    with opened(web, mail.who, headers={"Last-Event-ID": str(ref.message_id)}) as stream:
        assert stream.is_quiet_for(0.5)
        newer = mail.message("in_app")
    assert mail.state(newer) == "sent"


def test_without_redis_the_stream_looks_for_itself(serve: Any, mail: Any, until: Any) -> None:
    web = serve(redis_url=NO_REDIS)
    with opened(web, mail.who) as stream:
        assert stream.is_quiet_for(0.3)
        ref = mail.message("in_app")
        assert stream.next()["id"] == str(ref.message_id)
        until(lambda: mail.state(ref) == "delivered")


def test_a_stream_survives_the_end_of_redis(serve: Any, mail: Any, tmp_path: Path) -> None:
    with local.valkey(tmp_path) as redis_url:
        web = serve(redis_url=redis_url)
        context = opened(web, mail.who)
        stream = context.__enter__()
        assert stream.is_quiet_for(0.3)
    try:
        ref = mail.message("in_app")
        assert stream.next()["id"] == str(ref.message_id)
    finally:
        context.__exit__(None, None, None)


def test_a_stream_waits_for_a_database_that_is_away(serve: Any) -> None:
    web = serve(database="postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with opened(web, "B1") as stream:
        assert stream.is_quiet_for(0.5)
        assert stream.thread.is_alive()


def test_a_silent_stream_says_that_it_lives(web: Any, mail: Any) -> None:
    with opened(web, mail.who) as stream:
        assert stream.comments.get(timeout=5).startswith(": ping")


def test_a_stream_ends_with_its_token(web: Any, mail: Any) -> None:
    # Ten seconds of leeway for clocks that differ are part of a token's life.
    with opened(web, mail.who, exp=int(time.time()) - 8) as stream:
        assert stream.next() is None


def test_a_borrower_may_hold_so_many_streams_and_gets_the_place_back(web: Any, mail: Any, until: Any) -> None:
    streams = [opened(web, mail.who) for _ in range(8)]
    try:
        for stream in streams:
            stream.__enter__()
        answer = web.http.get("/api/inbox/stream", headers=web.bearer(mail.who))
        assert answer.status_code == 429
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)

    def place_is_free() -> bool:
        with web.http.stream("GET", "/api/inbox/stream", headers=web.bearer(mail.who)) as response:
            return response.status_code == 200

    until(place_is_free)


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_a_stream_is_only_read(web: Any, mail: Any, method: str) -> None:
    answer = web.http.request(method, "/api/inbox/stream", headers=web.bearer(mail.who))
    assert answer.status_code == 405
