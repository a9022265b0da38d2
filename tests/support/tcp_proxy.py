"""A TCP proxy on loopback, whose connections can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class TcpProxy:
    """Proxy of a port of this machine, from its construction to `close`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Close all connections, and refuse new ones until `restore`."""
        with self._lock:
            self._is_cut = True
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Accept connections again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """Close all connections, and end."""
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._is_cut:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                with self._lock:
                    self._open |= {client, server}
                other = threading.Thread(target=_copy, args=(server, client), daemon=True)
                other.start()
                _copy(client, server)
                other.join()
                with self._lock:
                    self._open -= {client, server}


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
