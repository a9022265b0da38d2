"""An HTTP proxy in front of the service that loses, delays and cuts what workers send."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

SECONDS = 30.0
"""Maximum duration of a connection."""


class ReportProxy:
    """A proxy for connections with one request each, at `url`.

    `target` returns the port of the service. While `is_cut` is set, connections are accepted, and
    nothing more. The next `lose` answers are not passed on, although the service has handled the
    requests, and each answer takes `delay` seconds longer. `acknowledged` has the key and the data of
    each event whose arrival a worker learned of.
    """

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self.is_cut, self.delay, self.lose = threading.Event(), 0.0, 0
        self.lost_answers = 0
        self.acknowledged: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> ReportProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A closed listener does not wake its `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + SECONDS
        while self._open and time.monotonic() < deadline:
            time.sleep(0.01)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(SECONDS)
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = read_request(connection)
            self._wait_while_cut(connection)
            with socket.create_connection(("127.0.0.1", self._target()), SECONDS) as upstream:
                upstream.sendall(request)
                answer = b"".join(iter(lambda: upstream.recv(1 << 16), b""))
            time.sleep(self.delay)
            self._wait_while_cut(connection)
            if answer and self._passes():
                self._acknowledge(request, answer)
                connection.sendall(answer)
        with self._lock:
            self._open.discard(connection)

    def _wait_while_cut(self, connection: socket.socket) -> None:
        """Wait until the cut is over; then a connection from before it is dead."""
        if self.is_cut.is_set():
            while self.is_cut.is_set() and connection.fileno() >= 0:
                time.sleep(0.01)
            raise ConnectionError("cut")

    def _passes(self) -> bool:
        with self._lock:
            self.lose -= 1
            self.lost_answers += self.lose >= 0
            return self.lose < 0

    def _acknowledge(self, request: bytes, answer: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        if answer.startswith(b"HTTP/1.1 200") and b"/events " in head.splitlines()[0]:
            for event in json.loads(body)["events"]:
                self.acknowledged.append((event["key"], event.get("data", {})))


def read_request(connection: socket.socket) -> bytes:
    """Return the bytes of a request with a `Content-Length`."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().splitlines()
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    while len(body) < length:
        more = receive(connection)
        body, data = body + more, data + more
    return data


def receive(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionError("closed")
    return data
