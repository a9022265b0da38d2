"""HTTP requests as bytes, sent over a socket of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 8
"""Seconds without a byte from the server after which a request counts as hanging."""


@dataclass
class Reply:
    """A response, or status 0 if the server closed the connection without one."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> Any:
        """The error object of OpenAI's API, or None."""
        with contextlib.suppress(ValueError, AttributeError):
            return json.loads(self.body).get("error")
        return None


@dataclass
class RawRequest:
    """A request as bytes.

    Attributes:
        data: The bytes.
        expected: Statuses that the response must have, if they are known.
        key: API key that the request has, if any.
        half_close: Close the sending side after the request, as when it is cut off.
        malformed: The request is not HTTP, so the HTTP parser may answer, or nobody.
    """

    data: bytes
    expected: tuple[int, ...] = ()
    key: str = ""
    half_close: bool = False
    malformed: bool = False

    @property
    def method(self) -> str:
        return self.data.partition(b" ")[0].decode("latin-1")


def build(
    method: str,
    path: str | bytes,
    body: bytes = b"",
    headers: tuple[tuple[str, str | bytes], ...] = (),
    key: str = "",
) -> bytes:
    """Return a request with a `Content-Length`, unless the headers have a length of their own."""
    target = path if isinstance(path, bytes) else path.encode("latin-1", "replace")
    lines = [method.encode("latin-1", "replace") + b" " + target + b" HTTP/1.1"]
    names = {name.lower() for name, _ in headers}
    given = [] if "host" in names else [("Host", "127.0.0.1")]
    if key and "authorization" not in names:
        given.append(("Authorization", f"Bearer {key}"))
    if not {"content-length", "transfer-encoding"} & names and (body or method == "POST"):
        given.append(("Content-Length", str(len(body))))
    if "connection" not in names:
        given.append(("Connection", "close"))
    for name, value in (*given, *headers):
        text = value if isinstance(value, bytes) else value.encode("latin-1", "replace")
        lines.append(name.encode("latin-1", "replace") + b": " + text)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def send(url: str, request: RawRequest) -> Reply:
    """Send a request and return the response. Interim responses are skipped."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), TIMEOUT) as link:
        with contextlib.suppress(OSError):  # the server may answer before it has read everything
            link.sendall(request.data)
            if request.half_close:
                link.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(link, method=request.method)
        try:
            response.begin()
            return Reply(response.status, response.read(), dict(response.getheaders()))
        except (http.client.HTTPException, ConnectionError):
            # No status line, or a connection that was closed before it.
            return Reply(0)
