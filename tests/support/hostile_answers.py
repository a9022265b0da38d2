"""A provider on loopback whose valid answers are mutated: values, bodies, statuses, headers, connections."""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.fake_provider import FakeProvider, parse_form

KEY = "sk-secret-0123456789"
MAX_REQUESTS = 40
"""Requests after which a case gets no more answers, so that polling ends."""

EVIL = "\x1b]0;t\x07\x1b[2J\x1b[31m\x9b1m\x7f\0\b\r\n::error::x\u202e\u2066\u200f\u2028\x85"

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, -(10**400), float("inf"), float("nan"), 2**63),
    *(
        "",
        EVIL,
        "\ud800",
        "x" * 100_000,
        "../../etc/passwd",
        "a?b#c%00/..",
        KEY,
        f"a{KEY}b",
        "succeeded",
        "1e9",
    ),
    *([], {}, [[]], [None], [EVIL], {"id": EVIL}, {EVIL: EVIL}, {"error": {"message": EVIL}}),
)
"""Values of which one takes the place of another in a valid answer."""

STATUSES = (
    *(200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308),
    *(400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 429, 451),
    *(500, 501, 502, 503, 504, 520, 599, 600, 999),
)
HEADERS: tuple[tuple[str, str], ...] = (
    *(("Retry-After", value) for value in ("1e9", "-1", "nan", "inf", EVIL[:1], "0", "x", "")),
    ("Retry-After", "Wed, 21 Oct 2099 07:28:00 GMT"),
    *(("x-should-retry", value) for value in ("true", "false")),
    *(("Content-Type", value) for value in ("text/html", "", "application/json; charset=x", "x")),
    *(
        ("Content-Encoding", value)
        for value in ("gzip", "br", "zstd", "gzip, gzip", "x", "deflate")
    ),
    *(("Location", value) for value in ("/v1/models", "file:///etc/passwd", "//", "http://[", "")),
    ("Set-Cookie", "a=b; Domain=x; Max-Age=1e99"),
    ("X", "y" * 50_000),
    ("X-Ftkit-Base", "%ff%1b[31m"),
    ("Transfer-Encoding", "chunked"),
)

Send = Callable[[BaseHTTPRequestHandler, int, bytes], None]


class Mutation:
    """How one case differs from a valid provider.

    Attributes:
        kind: Kind of mutation: a function that sends the answer, or the part that is changed.
        is_failure: True if no request gets an answer that may count as a success.
    """

    def __init__(self, random: random.Random) -> None:
        self.random = random
        self.kind = random.choice((*["value"] * 20, *["status", "header"] * 4, *KINDS))
        self.share = random.choice((1.0, 1.0, 0.5, 0.2))
        self.status = random.choice(STATUSES)
        self.header = random.choice(HEADERS)
        self.is_failure = self.share == 1.0 and (
            self.kind in FAILURES or (self.kind == "status" and self.status >= 400)
        )

    def __repr__(self) -> str:
        more = {"status": self.status, "header": self.header}.get(self.kind, "")
        return f"{self.kind} {more} {self.share}"

    def send(self, handler: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
        """Send the answer of a valid provider as this mutation."""
        if self.random.random() > self.share:
            return respond(handler, status, encode(answer))
        if self.kind == "value" and not isinstance(answer, bytes):
            for _ in range(self.random.choice((1, 1, 3, 10))):
                answer = mutate(answer, self.random)
            return respond(handler, status, encode(answer))
        if self.kind == "value":
            return respond(handler, status, flip(answer, self.random))
        if self.kind == "status":
            body = answer if self.random.random() < 0.5 else mutate(ERROR, self.random)
            return respond(handler, self.status, encode(body))
        if self.kind == "header":
            return respond(handler, status, encode(answer), self.header)
        return KINDS[self.kind](handler, status, encode(answer))


def encode(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


ERROR = {"error": {"message": f"bad key {KEY}{EVIL}", "type": "x", "param": None, "code": "y"}}


def mutate(value: Any, random: random.Random) -> Any:
    """Return a JSON value with another value, a missing key or one more somewhere in it."""
    places = [(None, None), *walk(value)]
    container, key = random.choice(places)
    replacement = random.choice(VALUES)
    if container is None:
        return replacement if random.random() < 0.3 else value
    copy = json.loads(json.dumps(value))
    (container, key) = list(walk(copy))[places.index((container, key)) - 1]
    choice = random.random()
    if choice < 0.2 and isinstance(container, dict):
        del container[key]
    elif choice < 0.3 and isinstance(container, dict):
        container[EVIL] = replacement
    elif choice < 0.4 and isinstance(container, list):
        container.extend(container * 3)
    else:
        container[key] = replacement
    return copy


def walk(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place in a JSON value as its container and key."""
    items = value.items() if isinstance(value, dict) else ()
    for key, child in list(enumerate(value) if isinstance(value, list) else items):
        yield value, key
        yield from walk(child)


def flip(data: bytes, random: random.Random) -> bytes:
    """Return bytes of which some are others, missing or repeated."""
    parts = data.split(b"\n") if random.random() < 0.7 else [data]
    place = random.randrange(len(parts))
    evil = EVIL.encode("utf-8", "replace")
    parts[place] = random.choice(
        (b"", parts[place] * 2, parts[place][:-3], b"\xff\xfe", evil, b"data: {}", b"data: [1]")
        + (b"data: " + json.dumps(mutate(CHUNK, random)).encode(), b"event: error\ndata: {}", b"1")
        + (b'data: {"error": {"message": "no"}}', b"data: " + b"[" * 9_999, b"step,1e400,x\n1,2,3")
    )
    return b"\n".join(parts)


CHUNK = {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}


def respond(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, header: tuple[str, str] = ("", "")
) -> None:
    """Send a response; `header` takes the place of the one with its name."""
    kind = "text/event-stream" if body.startswith(b"data: ") else "application/json"
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Location": "/v1/other"}
    headers[header[0] or "X-A"] = header[1]
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {text}" for name, text in headers.items())]
    handler.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)


def truncated(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, body[: len(body) // 2])


def too_short(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, body, ("Content-Length", str(len(body) + 10)))


def too_long(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, body, ("Content-Length", str(len(body) // 2)))


def odd_length(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, body, ("Content-Length", "-5"))


def drop(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def garbage(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.wfile.write(b"\x1b[2J\0\xff" * 100 + b"\r\n\r\n")


def web_page(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    page = f"<html>{EVIL}".encode()
    respond(handler, status, page, ("Content-Type", "text/html"))


def not_utf8(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, b'{"id": "\xff\xfe", "data": "' + body)


def error_with_200(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, 200, encode(ERROR))


def deep(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, b'{"id": "a", "data": ' + b"[" * 20_000 + b"]" * 20_000 + b"}")


def rather_deep(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, b'{"id": "a", "x": ' + b'{"a":' * 600 + b"1" + b"}" * 601)


@lru_cache(1)
def bomb() -> bytes:
    return gzip.compress(bytes(100 << 20))


def compressed_bomb(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, bomb(), ("Content-Encoding", "gzip"))


def endless(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, body.rstrip(b"}]\n"), ("Content-Length", str(1 << 40)))
    while True:
        handler.wfile.write(b" " * 65536)


def dripping(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, b"", ("Content-Length", str(len(body))))
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def silent(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    time.sleep(0.8)


def endless_pages(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    number = random.randrange(10**9)
    page = {"data": [{"id": f"x{number}", "object": "x"}], "has_more": True, "id": "x"}
    respond(handler, status, encode(page))


def same_page(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    respond(handler, status, encode({"data": [{"id": "x"}, {"id": "y"}], "has_more": True}))


KINDS: dict[str, Send] = {
    send.__name__: send
    for send in (
        *(truncated, too_short, too_long, odd_length, drop, garbage, web_page, not_utf8, deep),
        *(error_with_200, rather_deep, compressed_bomb, endless, dripping, silent),
        *(endless_pages, same_page),
    )
}
FAILURES = (
    *("too_short", "drop", "garbage", "web_page", "not_utf8", "error_with_200", "deep", "silent"),
    *("rather_deep", "compressed_bomb", "endless", "dripping", "truncated"),
)
"""Kinds that leave no usable answer."""


class HostileProvider:
    """A provider with some state, and the mutation of its answers in the present case."""

    def __init__(self) -> None:
        self.state = FakeProvider()
        self.mutation: Mutation | None = None
        self.requests = 0

    def reset(self, mutation: Mutation) -> None:
        """Start a case."""
        self.state, self.mutation, self.requests = FakeProvider(), mutation, 0
        state = self.state
        results = state.add_file("r.csv", b"step,train_loss\n1,0.5\n2,0.4\n", "fine-tune-results")
        data = state.add_file("d.jsonl", b'{"messages": []}\n')
        job = state.add_job(
            {
                "model": "gpt-4o-mini-2024-07-18",
                "training_file": data["id"],
                "status": mutation.random.choice(("succeeded", "failed", "running")),
                "fine_tuned_model": "ft:m:o::1",
                "result_files": [results["id"]],
                "error": {"code": "x", "message": "no", "param": None},
            }
        )
        state.checkpoints[job["id"]] = [
            {
                "id": "c1",
                "fine_tuned_model_checkpoint": "ft:m:o::1:ckpt-step-1",
                "step_number": 1,
                "metrics": {"train_loss": 0.5, "full_valid_loss": 0.4},
            }
        ]
        state.models["ft:m:o::1"] = {"id": "ft:m:o::1", "owned_by": "o", "created": 1}
        self.job, self.file, self.data = job["id"], results["id"], data["id"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    provider: HostileProvider

    def handle_any(self) -> None:
        self.close_connection = True
        url, provider = urlsplit(self.path), self.provider
        provider.requests += 1
        if provider.requests > MAX_REQUESTS:
            return
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type") or ""
        if self.headers.get("Transfer-Encoding"):
            return
        body = (
            parse_form(kind, data) if kind.startswith("multipart/") else json.loads(data or b"{}")
        )
        if url.path.startswith("/v1/adapters/"):
            status, answer = 200, b"{}"
        else:
            status, answer = provider.state.answer(
                self.command, url.path, parse_qs(url.query), body
            )
        assert provider.mutation
        provider.mutation.send(self, status, answer)

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """Clients close connections whose answers they refuse."""


@contextmanager
def hostile_provider() -> Iterator[tuple[HostileProvider, str]]:
    """Serve, and yield the provider and the address of its API."""
    provider = HostileProvider()
    server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"provider": provider}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield provider, f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
