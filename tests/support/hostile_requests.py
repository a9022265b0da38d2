"""Hostile paths, queries and headers. Each generator knows the answer for a part of its cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from support.raw_requests import RawRequest, build

REFUSED = (400, 401, 403, 404, 405, 409, 413, 429)
"""Statuses of requests that are refused."""


@dataclass
class Target:
    """The server as the generators see it.

    Attributes:
        key: API key of the requests, or "".
        own: Ids of the tenant's own objects, by kind.
        foreign: Ids of another tenant's objects, by kind.
    """

    key: str
    own: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)

    def id(self, random: Random, kind: str) -> str:
        """An id that the tenant must not be able to use."""
        made_up = random.choice(
            ("x", f"{kind}-none", "%00", "..", "%2e%2e%2f", "%2F", "%FF", "'--", "a" * 3000, "*")
        )
        return random.choice((self.foreign.get(kind, made_up), made_up))


Generator = Callable[[Random, Target], RawRequest]


def make_request(target: Target, data: bytes, *expected: int, **more: Any) -> RawRequest:
    return RawRequest(data, expected, target.key, **more)


# Lines, queries and headers.

SEGMENTS = (
    "v1", "files", "uploads", "fine_tuning", "jobs", "models", "chat", "completions", "adapters",
    "events", "checkpoints", "parts", "content", "health", "x", "..", ".", "", "%2e%2e", "%2F",
    "%00", "%0a", "%FF", "%F0%9F%92%A9", "%", "%zz", ";a=b", "\xfc", "ftkit/smoke", "a" * 5000,
)  # fmt: skip

METHODS = (
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get",
    "FOO", "A" * 3000, "M-SEARCH", "*", "PROPFIND",
)  # fmt: skip


def any_path(random: Random, target: Target) -> RawRequest:
    """Any method on any path. None of them has a body, so nothing can be created."""
    path = "/" + "/".join(random.choices(SEGMENTS, k=random.randint(0, 7)))
    if random.random() < 0.1:
        path = random.choice(("*", "http://evil.example/v1/files", "//evil.example/x", "v1", ""))
    return make_request(target, build(random.choice(METHODS), path, key=target.key), malformed=True)


def long_path(random: Random, target: Target) -> RawRequest:
    path = "/v1/files/" + "a" * random.choice((8_000, 60_000, 70_000, 300_000))
    return make_request(
        target, build("GET", path, key=target.key), 400, 404, 414, 0, malformed=True
    )


def any_bytes(random: Random, target: Target) -> RawRequest:
    """Bytes that are hardly HTTP."""
    data = random.choice(
        (
            random.randbytes(random.randint(1, 200)),
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: x\r\n\r\n",
            b"\r\n" * 50 + b"GET /health\r\n\r\n",
            b"GET /v1/models HTTP/1.1\nHost: 127.0.0.1\n\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(40),
            b"GET /v1/models HTTP/1.1\r\n" + b"a: b\r\n" * 100_000,
            b"POST /v1/files HTTP/1.1\r\nHost: a b\r\nContent-Length: -1\r\n\r\n",
        )
    )
    return make_request(target, data, half_close=True, malformed=True)


def query(random: Random, target: Target) -> RawRequest:
    path = random.choice(("files", "fine_tuning/jobs"))
    most = 10_000 if path == "files" else 100
    name, value, expected = random.choice(
        (
            ("limit", random.choice(("0", "-1", str(most + 1), "9" * 5000, "1.5", "x", " 1", "%00",
                                     "\u0661", "1e1", "0x1")), (400,)),
            ("limit", str(random.randint(1, most)), (200,)),
            ("order", random.choice(("up", "ASC", "a" * 5000, "%00")), (400,)),
            ("order", random.choice(("asc", "desc")), (200,)),
            ("after", target.id(random, "file"), (404,)),
            ("after", target.id(random, "job"), (404,)),
            ("metadata[a%00]", "x", ()),
            ("metadata[" + random.choice(("$", "a.b", "*", "[", "\\", "'", '"', "a" * 999)) + "]",
             random.choice(("x", "%00", "%FF", "' OR 1=1 --")), ()),
            ("purpose", random.choice(("' OR 1=1", "%00", "x" * 9000, "%FF")), (200,)),
            (random.choice(("", "&&&", "=", "limit[]", "%00")), "1", ()),
        )
    )  # fmt: skip
    text = f"/v1/{path}?{name if '%' in name else quote(name)}="
    text += value if "%" in value else quote(value)
    return make_request(target, build("GET", text, key=target.key), *expected)


def headers(random: Random, target: Target) -> RawRequest:
    choices: tuple[tuple[tuple[str, str | bytes], ...], ...] = (
        tuple((f"x-{number}", "y" * 100) for number in range(random.choice((100, 600)))),
        (("x-long", "y" * random.choice((10_000, 60_000, 200_000))),),
        (("x-odd", b"\xff\xfe\xfc"),),
        (("Content-Type", b"\xff/\xfe; charset=\xfc"),),
        (("Cookie", "a=b; " * 2000),),
        (("Content-Length", "0"), ("Content-Length", "0")),
        (("Content-Length", "5"), ("Content-Length", "6")),
        (("Content-Length", "9" * 30),),
        (("Content-Length", "0"), ("Transfer-Encoding", "chunked")),
        (("Transfer-Encoding", "gzip, chunked"),),
        (("Transfer-Encoding", "identity"),),
        (("Expect", "100-continue"),),
        (("Upgrade", "websocket"), ("Connection", "upgrade")),
        (("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")),
        (("Accept-Encoding", "gzip;q=nan"),),
        (("X-Forwarded-For", "127.0.0.1"), ("X-HTTP-Method-Override", "DELETE")),
    )
    path = random.choice(("/v1/models", "/v1/files", "/health", "/v1/fine_tuning/jobs"))
    return make_request(
        target,
        build("GET", path, headers=random.choice(choices), key=target.key),
        half_close=True,
        malformed=True,
    )


def wrong_key(random: Random, target: Target) -> RawRequest:
    """Without keys, the header is ignored; with them, every one of these is wrong."""
    value: str | bytes = random.choice(
        ("Bearer", "Bearer ", "Bearer x", "Basic a2V5", "bearer\tx", "Bearer " + "x" * 9000)
    )
    if random.random() < 0.3:
        value = b"Bearer \xff\xfe"
    data = build("GET", "/v1/files", headers=(("Authorization", value),), key=target.key)
    return RawRequest(data, (401,) if target.key else (200,))


def foreign_page(random: Random, target: Target) -> RawRequest:
    """Requests for another host or from another origin, which only an API key makes acceptable."""
    header = random.choice(
        (
            ("Host", "evil.example"),
            ("Host", "127.0.0.1.evil.example"),
            ("Host", "evil.example:80"),
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Origin", "http://127.0.0.1:1"),
        )
    )
    data = build("GET", "/v1/files", headers=(header,), key=target.key)
    return make_request(target, data, 200 if target.key else 403)


def ranges(random: Random, target: Target) -> RawRequest:
    value = random.choice(
        ("bytes=0-3", "bytes=", "bytes=5-1", "bytes=-5", "lines=1-2", "bytes=0-0,2-3", "x",
         "bytes=999999999-", "bytes=" + ",".join("0-1" for _ in range(200)), "bytes=\xb2-",
         "bytes=0-" + "9" * 5000, "=", "bytes=a-b")
    )  # fmt: skip
    path = f"/v1/files/{target.own['file']}/content"
    data = build("GET", path, headers=(("Range", value),), key=target.key)
    return make_request(target, data, 200, 206)


def foreign_ids(random: Random, target: Target) -> RawRequest:
    """Objects of another tenant, or of nobody, on every route that takes an id."""
    method, path = random.choice(
        (
            ("GET", "/v1/files/{file}"),
            ("GET", "/v1/files/{file}/content"),
            ("DELETE", "/v1/files/{file}"),
            ("POST", "/v1/uploads/{upload}/cancel"),
            ("GET", "/v1/fine_tuning/jobs/{job}"),
            ("GET", "/v1/fine_tuning/jobs/{job}/events"),
            ("GET", "/v1/fine_tuning/jobs/{job}/checkpoints"),
            ("GET", "/v1/fine_tuning/jobs/{job}/events?after={event}"),
            ("POST", "/v1/fine_tuning/jobs/{job}/cancel"),
            ("POST", "/v1/fine_tuning/jobs/{job}/pause"),
            ("POST", "/v1/fine_tuning/jobs/{job}/resume"),
            ("GET", "/v1/models/{model}"),
            ("DELETE", "/v1/models/{model}"),
            ("GET", "/v1/adapters/adapter_model.safetensors/{model}"),
            ("GET", "/v1/adapters/../{model}"),
        )
    )
    ids = {kind: target.id(random, kind) for kind in ("file", "upload", "job", "event", "model")}
    return make_request(target, build(method, path.format(**ids), key=target.key), *REFUSED)


GENERATORS: tuple[Generator, ...] = (
    any_path,
    long_path,
    any_bytes,
    query,
    headers,
    wrong_key,
    foreign_page,
    ranges,
    foreign_ids,
)
