"""The open stream: a popup reaches the app at once, whatever becomes of Redis, and is then delivered."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from worker import local
from worker.channels.base import ProviderConfig
from worker.channels.in_app_inbox import Inbox, nudge_channel
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


def announce(sender: Any, who: str, ref: MessageRef) -> None:
    message = OutgoingMessage(ref, "uk", "in_app", who, Rendered("x", "y"), Sender(), 600)
    sender.run(sender.adapter("in_app", "inbox", "live").announce([message]))


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


@pytest.fixture
def sender(runtime: Any, servers: Any) -> Iterator[Any]:
    """A process that sends popups."""
    adapter = Inbox.from_config(ProviderConfig({}, "", servers.redis_url))
    runtime.adapter = lambda *_: adapter
    yield runtime
    runtime.run(adapter.close())


def test_a_popup_sent_through_the_pipeline_reaches_an_open_app_at_once(
    web: Any, mail: Any, book: Any, story: Any, sender: Any, version: Any, until: Any
) -> None:
    with opened(web, mail.who) as stream:
        assert stream.is_quiet_for(0.3)
        story.plan(version)
        story.admit()
        assert send_due(sender, "in_app")["accepted"] >= 1
        # The service looks for itself once a minute while Redis is there, so only a nudge can be this quick.
        event = stream.next(within_s=10)
        (row,) = book.messages(borrower_id=mail.borrower, channel="in_app")
        assert event["id"] == str(row["id"])
        assert "£120.50" in event["data"]["body"]
        assert event["data"]["link"] == "https://pay.uk.example.com/"
        until(lambda: book.messages(id=row["id"])[0]["state"] == "delivered")


def test_two_devices_of_one_borrower_both_get_a_nudged_popup(web: Any, mail: Any, sender: Any) -> None:
    with opened(web, mail.who) as phone, opened(web, mail.who) as tablet:
        assert phone.is_quiet_for(0.3)
        ref = mail.message("in_app")
        announce(sender, mail.who, ref)
        assert [phone.next()["id"], tablet.next()["id"]] == [str(ref.message_id)] * 2


def test_a_nudge_for_somebody_elses_popup_shows_nothing(web: Any, mail: Any, sender: Any) -> None:
    stranger = type(mail)(mail.book)
    with opened(web, stranger.who) as stream:
        assert stream.is_quiet_for(0.3)
        ref = mail.message("in_app")
        announce(sender, stranger.who, ref)
        assert stream.is_quiet_for(0.5)
    assert mail.state(ref) == "sent"


def test_a_repeated_nudge_shows_the_popup_once(web: Any, mail: Any, sender: Any) -> None:
    with opened(web, mail.who) as stream:
        ref = mail.message("in_app")
        for _ in range(3):
            announce(sender, mail.who, ref)
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


def test_nudges_arrive_again_after_the_connection_to_redis_was_cut(
    web: Any, mail: Any, sender: Any, servers: Any, until: Any
) -> None:
    with Redis.from_url(servers.redis_url) as redis, opened(web, mail.who) as stream:
        channel = nudge_channel(mail.who)
        until(lambda: redis.pubsub_numsub(channel)[0][1] == 1)
        redis.client_kill_filter(_type="pubsub")
        until(lambda: redis.pubsub_numsub(channel)[0][1] == 0)
        until(lambda: redis.pubsub_numsub(channel)[0][1] == 1)
        assert stream.is_quiet_for(0.5)
        ref = mail.message("in_app")
        announce(sender, mail.who, ref)
        assert stream.next()["id"] == str(ref.message_id)


def test_who_left_is_not_subscribed_for_any_longer(web: Any, mail: Any, servers: Any, until: Any) -> None:
    with Redis.from_url(servers.redis_url) as redis:
        subscribers = lambda: redis.pubsub_numsub(nudge_channel(mail.who))[0][1]  # noqa: E731
        with opened(web, mail.who):
            until(lambda: subscribers() == 1)
        until(lambda: subscribers() == 0)


def test_a_stream_waits_for_a_database_that_is_away(serve: Any) -> None:
    web = serve(database="postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with opened(web, "B1") as stream:
        assert stream.is_quiet_for(0.5)
        assert stream.thread.is_alive()


def test_a_popup_whose_delivery_could_not_be_noted_is_written_once_and_noted_later(
    serve: Any, mail: Any, book: Any, until: Any
) -> None:
    web, ref = serve(redis_url=NO_REDIS), mail.message("in_app")
    book.run(
        "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = 'cannot_connect_now'; END $$"
    )
    book.run("CREATE TRIGGER away BEFORE UPDATE ON messages FOR EACH STATEMENT EXECUTE FUNCTION away()")
    with opened(web, mail.who) as stream:
        assert stream.next()["id"] == str(ref.message_id)
        assert stream.is_quiet_for(0.6)
        book.run("DROP TRIGGER away ON messages")
        until(lambda: mail.state(ref) == "delivered")
        assert stream.is_quiet_for(0.3)


def test_a_silent_stream_says_that_it_lives(web: Any, mail: Any) -> None:
    with opened(web, mail.who) as stream:
        assert stream.comments.get(timeout=5).startswith(": ping")


def test_a_stream_ends_with_its_token(web: Any, mail: Any) -> None:
    # Ten seconds of leeway for clocks that differ are part of a token's life.
    with opened(web, mail.who, exp=int(time.time()) - 9) as stream:
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
