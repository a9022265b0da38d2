"""The SDK's client and its HTTP client: environment variables, proxies, redirects and limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Literal
from urllib.parse import urlsplit

import openai

from ftkit._local import is_loopback
from ftkit.client.payloads import MAX_FILE, OTHER_HOST

TIMEOUT = 600.0
"""Default seconds to wait for a whole JSON response, and for progress of any other."""

CONNECT_TIMEOUT = 5.0
"""Maximum seconds to wait for a connection."""

RETRIES = 2
"""Default of the number of times that the SDK sends a request again."""

MAX_RESPONSE = 64 << 20
"""Maximum bytes of a JSON response or of a stream of events, decompressed."""

MAX_ADAPTER = 4 << 30
"""Maximum bytes of a file of a model's adapter, which is held in memory."""

PROGRESS = 64 << 10
"""Bytes of a file that must arrive within the timeout."""

MAX_REDIRECTS = 5
"""Maximum number of redirects of a request."""

STREAM_ENCODINGS = ("", "identity")
"""Content encodings that are read of a stream of events."""

ENCODINGS = (*STREAM_ENCODINGS, "gzip", "deflate")
"""Content encodings that are read.

gzip and deflate expand at most 1032:1; br and zstd have no such bound.
"""

CROSS_ORIGIN_HEADERS = (
    "host",
    "accept",
    "accept-encoding",
    "connection",
    "user-agent",
    "x-stainless-raw-response",
)
"""Headers that a request keeps when it is redirected to another host. The SDK reads the last."""

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Hosts that are never reached through a proxy."""

Kind = Literal["json", "events", "file"]
"""Kinds of responses: a JSON value, a stream of events, or the content of a file."""

# openai 2 uses httpx and openai 3 httpx2, and both may be installed: the base class of the SDK's
# client tells which one it is.
_base_client: Any = next(
    base for base in openai.DefaultHttpxClient.__mro__ if base.__name__ == "Client"
)
httpx: Any = import_module(_base_client.__module__.partition(".")[0])
"""The HTTP library of the SDK: httpx for openai 2, httpx2 for openai 3."""


class RefusedResponseError(openai.OpenAIError):
    """A response is too large, too slow, or leads to another host."""


class IsolatedSdk(openai.OpenAI):
    """SDK client that sends no headers from `OPENAI_*` environment variables."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Each copy made by `with_options` reads the variables again.
        self.organization = self.project = self.admin_api_key = None
        self._custom_headers = options.get("default_headers") or {}


class GuardedHttpClient(openai.DefaultHttpxClient):
    """HTTP client that bypasses proxies on loopback, checks redirects and limits responses."""

    def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        """Send a request, follow redirects that keep it safe, and return the response.

        Raises:
            RefusedResponseError: The response is too large or too slow, has an unknown encoding,
                or redirects too often, to another method, or with a body to another host.
        """
        options["follow_redirects"] = False
        request.headers["Accept-Encoding"] = "gzip, deflate"
        for _ in range(MAX_REDIRECTS + 1):
            response = super().send(request, stream=True, **options)
            if response.next_request is None:
                return _limit_response(response, request, stream)
            response.close()
            request = _redirected(request, response.next_request)
        raise RefusedResponseError(f"it redirects more than {MAX_REDIRECTS} times")

    def __del__(self) -> None:
        """Close the connections, as the SDK's own client does."""
        with suppress(Exception):  # the interpreter may be exiting
            self.close()


class _WatchedStream(httpx.SyncByteStream):  # type: ignore[misc] # of either library
    """Bytes of a response, with limits on their number and on the time without progress.

    Progress is a line of a stream of events, or `PROGRESS` bytes of a file. Part of a JSON response
    is none.
    """

    def __init__(self, stream: Any, kind: Kind, limit: int, timeout: float) -> None:
        self._stream, self._kind, self._limit, self._timeout = stream, kind, limit, timeout

    def __iter__(self) -> Iterator[bytes]:
        size, size_before, start = 0, 0, time.monotonic()
        for chunk in self._stream:
            size += len(chunk)
            _check_size(size, self._limit)
            if self._is_progress(chunk, size - size_before):
                size_before, start = size, time.monotonic()
            if time.monotonic() - start > self._timeout:
                raise RefusedResponseError(f"it takes longer than {self._timeout:g} s")
            yield chunk

    def _is_progress(self, chunk: bytes, received: int) -> bool:
        if self._kind == "events":
            return b"\n" in chunk
        return self._kind == "file" and received >= PROGRESS

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def open_sdk(
    key: str, address: str, *, is_isolated: bool, timeout: float = TIMEOUT, retries: int = RETRIES
) -> openai.OpenAI:
    """Return a client of the SDK.

    Args:
        key: API key.
        address: Base URL of the API.
        is_isolated: Send no headers from `OPENAI_*` environment variables, which are for OpenAI.
        timeout: Seconds to wait for the next bytes of a response, and for a whole JSON response.
        retries: Number of times that a request is sent again after a transient error.
    """
    sdk = IsolatedSdk if is_isolated else openai.OpenAI
    limits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT))
    host = urlsplit(address).hostname or ""
    direct = {*LOOPBACK, *([f"[{host}]" if ":" in host else host] if is_loopback(host) else [])}
    return sdk(
        api_key=key,
        base_url=address,
        timeout=limits,
        max_retries=retries,
        http_client=GuardedHttpClient(
            timeout=limits, mounts={f"all://{name}": None for name in direct}
        ),
    )


def _redirected(request: Any, target: Any) -> Any:
    """Return the request to follow a redirect with, without secrets if the host is another.

    Raises `RefusedResponseError` if the method would change, or the body go to another host.
    """
    if target.method != request.method:
        raise RefusedResponseError(f"it redirects the {request.method} request")
    if _is_same_host(request.url, target.url):
        return target
    is_downgrade = request.url.scheme == "https" != target.url.scheme
    if is_downgrade or target.method not in ("GET", "HEAD"):
        raise RefusedResponseError(f"it redirects the request to {target.url.host}")
    for name in list(target.headers):
        if name.lower() not in CROSS_ORIGIN_HEADERS:
            del target.headers[name]
    target.extensions[OTHER_HOST] = True
    return target


def _is_same_host(old: Any, new: Any) -> bool:
    """Return True if two URLs have the same origin, or differ only by an upgrade to HTTPS."""
    is_upgrade = (old.scheme, new.scheme, old.port, new.port) == ("http", "https", None, None)
    is_same = (old.scheme, old.port) == (new.scheme, new.port)
    return bool(old.host == new.host and (is_same or is_upgrade))


def _limit_response(response: Any, request: Any, stream: bool) -> Any:
    """Return the response with its whole content, or a successful one as a stream."""
    is_stream = stream and response.is_success
    kind = _kind(response, request, is_stream)
    limit = MAX_RESPONSE if kind != "file" else MAX_FILE if is_stream else MAX_ADAPTER
    try:
        _check_headers(response, STREAM_ENCODINGS if kind == "events" else ENCODINGS, limit)
    except RefusedResponseError:
        response.close()
        raise
    timeout = request.extensions.get("timeout", {}).get("read") or TIMEOUT
    response.stream = _WatchedStream(response.stream, kind, limit, timeout)
    if is_stream:
        return response
    content = bytearray()
    try:
        for chunk in response.iter_bytes():
            content += chunk
            _check_size(len(content), limit)
    finally:
        response.close()
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
    ]
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(content), request=request
    )


def _kind(response: Any, request: Any, is_stream: bool) -> Kind:
    if is_stream:
        is_events = response.headers.get("content-type", "").startswith("text/event-stream")
        return "events" if is_events or request.method == "POST" else "file"
    is_json = "json" in request.headers.get("accept", "") or not response.is_success
    return "json" if is_json else "file"


def _check_headers(response: Any, encodings: tuple[str, ...], limit: int) -> None:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in encodings:
        raise RefusedResponseError(f"it has the content encoding {encoding!r}")
    announced = response.headers.get("content-length", "")
    if announced.isdecimal():
        _check_size(float(announced), limit)  # a float of any number of digits takes linear time


def _check_size(size: float, limit: int) -> None:
    if size > limit:
        raise RefusedResponseError(f"it is longer than {limit:,} bytes")
