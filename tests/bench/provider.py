"""A provider that costs next to nothing: answers every POST with 201 and an id, and counts them.

The sandbox plays Twilio faithfully and is slower than what is measured; here both sides talk to this.
"""

import asyncio
import json
import sys
from uuid import uuid4

import httptools
import uvloop


class Answering(asyncio.Protocol):
    """One connection of a client."""

    taken = 0
    latency_s = 0.0

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_message_complete(self) -> None:
        assert self._transport is not None
        if self._parser.get_method() == b"POST":
            Answering.taken += 1
            status, answer = (
                b"201 Created",
                {"sid": "SM" + uuid4().hex, "status": "queued", "error_code": None},
            )
        else:
            status, answer = b"200 OK", {"taken": Answering.taken}
        body = json.dumps(answer).encode()
        said = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        if self.latency_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency_s, self._transport.write, said % (status, len(body), body))
        else:
            self._transport.write(said % (status, len(body), body))


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    Answering.latency_s = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    sys.exit(uvloop.run(serve()))
