"""Requests to the local service: `Host` headers, forms and JSON bodies."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ftkit.server.app import LOCAL_HOSTS
from ftkit.server.auth import Authenticator
from ftkit.server.bodies import CompleteBody, JobBody, UploadBody, read_body
from ftkit.server.completion_bodies import ChatBody, CompletionBody
from ftkit.server.errors import ForeignOriginError, ServiceError
from ftkit.server.folder import Writer
from ftkit.server.multipart import read_form
from ftkit.server.response_bodies import ResponseBody
from support.hostile import Cases

HOST_PIECES = (
    *("127.0.0.1", "localhost", "[::1]", "evil.example", ":", "8642", "@", ".", " ", "\t", "/"),
    *("[", "]", "%", "\0", "127.1", "2130706433", "LOCALHOST", "é", "#", "?", "\\", "0", "99999"),
)

FORM_PIECES = (
    *(
        b"--x",
        b"--x\r\n",
        b"--x--",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b'"',
        b"\\",
        b";",
        b"=",
        b"*",
        b"'",
    ),
    *(b"Content-Disposition: form-data", b'; name="file"', b'; name="purpose"', b'; filename="a"'),
    *(b"; filename*=utf-8''%C3", b"; filename*0=a", b"; filename*1*=b", b"Content-Type: a"),
    *(b"Content-Transfer-Encoding: base64", b"\0", b"\xff", "é".encode(), b"a" * 5000, b": "),
)

MESSAGES = [{"role": "user", "content": "x"}]

BODIES: dict[type[Any], dict[str, Any]] = {
    JobBody: {"model": "ftkit/smoke", "training_file": "file-1"},
    ChatBody: {"model": "ftkit/smoke", "messages": MESSAGES},
    CompletionBody: {"model": "ftkit/smoke", "prompt": "x"},
    ResponseBody: {"model": "ftkit/smoke", "input": MESSAGES},
    UploadBody: {"bytes": 1, "filename": "a.jsonl", "mime_type": "a/b", "purpose": "fine-tune"},
    CompleteBody: {"part_ids": ["part_1"]},
}
"""A valid body of each type."""

VALUES = (
    *(None, True, 0, -1, 1.5, 2**63, -(2**70), 10**400, 1e308, "", "x", "é", "\ud800", "\0"),
    *("x" * 3_000, "auto", "ftkit/smoke", "supervised", "user", [], {}, ["x"], [{}], {"a": "b"}),
)


def make_host(choices: random.Random) -> str:
    pieces = choices.choices(HOST_PIECES, k=choices.randint(1, 5))
    return "".join(pieces)


def is_local(host: str) -> bool:
    """Return True if a URL with that authority is one of this machine, by Python's own parser."""
    try:
        parts = urlsplit(f"http://{host}")
        name = parts.hostname or ""
    except ValueError:
        return False
    named = f"[{name}]" if ":" in name else name
    return named in LOCAL_HOSTS and parts.netloc == host and "@" not in host


def test_hostile_hosts(hostile: Cases) -> None:
    authenticator = Authenticator((), LOCAL_HOSTS)
    for number, choices in hostile:
        host = make_host(choices)
        with hostile.case(number, host):
            try:
                authenticator.tenant({"host": host})
            except ForeignOriginError as error:
                message = str(error)
                hostile.count_outcome("refused")
            else:
                message = ""
                assert is_local(host)
                hostile.count_outcome("accepted")
            assert len(message) < 300


def make_form(choices: random.Random) -> bytes:
    """Return a valid form with pieces in between, or nothing but pieces."""
    pieces = choices.choices(FORM_PIECES, k=choices.randint(0, 12))
    if choices.random() < 0.8:
        start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"'
        at = choices.randint(0, len(pieces))
        pieces = [start, *pieces[:at], b"\r\n\r\n{}", *pieces[at:], b"\r\n--x--\r\n"]
    return b"".join(pieces)


def test_hostile_forms(hostile: Cases, tmp_path: Path) -> None:
    for number, choices in hostile:
        data = make_form(choices)
        cuts = sorted(choices.randint(0, len(data)) for _ in range(choices.randint(0, 4)))

        async def chunks(data: bytes = data, cuts: list[int] = cuts) -> AsyncIterator[bytes]:
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                yield data[start:end]

        with hostile.case(number, data), Writer(tmp_path / "new") as writer:
            try:
                form = asyncio.run(
                    read_form("multipart/form-data; boundary=x", chunks(), writer, 10_000)
                )
            except ServiceError as error:
                message = str(error)
                hostile.count_outcome("400")
            else:
                message = ""
                assert form.file_name is not None
                assert writer.size <= 10_000
                hostile.count_outcome("accepted")
            assert len(message) < 1000


def make_value(choices: random.Random, depth: int = 2) -> Any:
    if depth and choices.random() < 0.3:
        values = [make_value(choices, depth - 1) for _ in range(choices.randint(0, 20))]
        return values if choices.random() < 0.5 else {"role": "user", "content": values}
    return choices.choice(VALUES)


def make_body(choices: random.Random, type: type[Any]) -> bytes:
    """Return a valid body with other values, and with some of its bytes changed at times."""
    body = dict(BODIES[type])
    names = [*type.__struct_fields__, *type.__struct_fields__, "x" * 50_000, "é"]
    for _ in range(choices.randint(0, 2)):
        body[choices.choice(names)] = make_value(choices)
    data = bytearray(json.dumps(body, ensure_ascii=choices.random() < 0.5).encode(errors="replace"))
    if choices.random() < 0.2:
        data[choices.randrange(len(data))] = choices.randrange(256)
    return bytes(data)


def process_requests(body: Any) -> list[dict[str, Any]]:
    """Return the requests for the generation process in a body."""
    if isinstance(body, CompletionBody):
        return body.requests()
    return [body.request()] if isinstance(body, ChatBody | ResponseBody) else []


def test_hostile_bodies(hostile: Cases) -> None:
    for number, choices in hostile:
        type = choices.choice(list(BODIES))
        data = make_body(choices, type)
        with hostile.case(number, data):
            try:
                body = read_body(data, type)
                requests = process_requests(body)
            except ServiceError as error:
                message = f"{error}{error.param}"
                hostile.count_outcome("400")
            else:
                message = ""
                assert isinstance(body, type)
                for request in requests:
                    assert msgspec.json.encode(request)
                    assert all(len(stop) <= 256 for stop in request["stop"])
                hostile.count_outcome("accepted")
            assert len(message) < 2000
