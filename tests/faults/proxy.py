"""Stands between two parts on loopback: lets pass, says nothing, cuts, or swallows one answer."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote


class Proxy:
    """Listens on `port`; every connection gets one of its own to `target`."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._forgotten: set[tuple[socket.socket, socket.socket]] = set()
        self._swallow: list[re.Pattern[bytes]] = []
        self.swallowed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()

    def forget(self) -> None:
        """The connections there are say nothing any more, and nobody is told; new ones are as before."""
        with self._lock:
            self._forgotten.update(self._pairs)

    def cut(self) -> int:
        """Ends every connection; returns how many."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(pair)
        return len(pairs)

    def swallow_answer_to(self, *requests: bytes) -> None:
        """The next request that matches gets through; its answer does not, and the connection ends. Once for
        each of these patterns.
        """
        self._swallow = [re.compile(request, re.DOTALL) for request in requests]

    def close(self) -> None:
        # Shut down first: closing alone does not wake whoever waits for the next connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._open.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.append(pair)
            drop = threading.Event()
            threading.Thread(target=self._pump, args=(pair, drop, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(pair, drop, False), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            return server
        return socket.create_connection(self._target)

    def _pump(self, pair: tuple[socket.socket, socket.socket], drop: threading.Event, asking: bool) -> None:
        source, sink = pair if asking else pair[::-1]
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                if pair in self._forgotten:
                    continue
                with self._lock:
                    met = [each for each in self._swallow if asking and each.search(data)]
                    if met:
                        self._swallow.remove(met[0])
                        drop.set()
                if not asking and drop.is_set():
                    self.swallowed += 1
                    break
                sink.sendall(data)
        _close(pair)


def _close(pair: tuple[socket.socket, socket.socket]) -> None:
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def proxy(target: tuple[str, int] | str) -> Iterator[Proxy]:
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()


def socket_of(database_url: str) -> str:
    """The Unix socket of a URL as the embedded PostgreSQL has it."""
    (folder,), (port,) = re.findall(r"host=([^&]+)", database_url), re.findall(r"port=(\d+)", database_url)
    return f"{unquote(folder)}/.s.PGSQL.{port}"


def through(database_url: str, port: int) -> str:
    """The same database by way of a proxy on this port."""
    (name,) = re.findall(r"/([^/?]+)\?", database_url)
    return f"postgresql+psycopg://postgres@127.0.0.1:{port}/{name}?sslmode=disable&gssencmode=disable"
