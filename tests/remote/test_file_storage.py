"""The S3 of files answers what ftkit asks as moto does."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ftkit.dataset.object_store import find_object, list_objects, open_object, open_range
from ftkit.errors import FileError
from support.file_storage import FileStorage
from support.object_storage import BUCKET, FaultyProxy, Request, Storage

pytestmark = pytest.mark.remote

FILES = {
    "data.jsonl": bytes(range(256)) * 8000,
    "folder/a & b <é>.jsonl": b"{}\n",
    "folder/empty.jsonl": b"",
}

SENT_HEADERS = ("etag", "content-range", "accept-ranges")


def read_range(start: int, end: int, etag: str = "") -> bytes:
    remote = find_object(f"s3://{BUCKET}/data.jsonl")
    with open_range(remote.url, etag or remote.etag, start, end) as stream:
        stream.seek(start)
        return stream.read(end - start)


def read_object(key: str) -> bytes:
    with open_object(f"s3://{BUCKET}/{key}") as stream:
        return stream.read()


def listed(pattern: str) -> list[tuple[str, int, str]]:
    return [(item.url, item.size, item.etag) for item in list_objects(pattern)]


CALLS: list[Callable[[], object]] = [
    *(lambda key=key: read_object(key) for key in FILES),  # type: ignore[misc]
    lambda: read_object("missing.jsonl"),
    lambda: find_object("s3://other/data.jsonl"),
    lambda: read_range(10, 2_000_000),
    lambda: read_range(2_047_000, 2_100_000),
    lambda: read_range(3_000_000, 4_000_000),
    lambda: read_range(10, 20, '"other"'),
    lambda: listed(f"s3://{BUCKET}/**/*.jsonl"),
    lambda: listed(f"s3://{BUCKET}/folder/*"),
    lambda: listed("s3://other/*"),
]


def outcome(call: Callable[[], Any]) -> object:
    try:
        return call()
    except FileError as error:
        return str(error)


def reply(port: int, request: Request, is_signed: bool = True) -> tuple[object, ...]:
    """Return what matters of a response: obstore reads nothing else of it."""
    headers = {"Range": request.range, "If-Match": request.if_match}
    headers = {name: value for name, value in headers.items() if value}
    if is_signed:
        headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/x"
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(request.method, request.path, headers=headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        return response.status, re.findall(rb"<Code>(.*?)</Code>", body)
    if "list-type" in request.path:
        fields = rb"<(?:Key|Size|ETag|IsTruncated)>(.*?)</"
        return response.status, sorted(re.findall(fields, body.replace(b"&quot;", b'"')))
    length = response.headers["content-length"]
    return response.status, length, [response.headers.get(name) for name in SENT_HEADERS], body


def test_it_answers_the_requests_of_ftkit_as_moto_does(
    storage: Storage,
    proxy: FaultyProxy,
    file_storage: FileStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number, (key, data) in enumerate(FILES.items()):
        storage.put(key, data)
        path = tmp_path / str(number)
        path.write_bytes(data)
        file_storage.put(key, path)
    outcomes = [outcome(call) for call in CALLS]
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    assert [outcome(call) for call in CALLS] == outcomes
    port = urlsplit(file_storage.url).port
    assert port
    statuses = set()
    for request in proxy.requests:
        answer = reply(port, request)
        assert answer == reply(storage.port, request), request
        statuses.add(answer[0])
    assert statuses == {200, 206, 404, 412, 416}
    get = Request("GET", f"/{BUCKET}/data.jsonl", "", "")
    assert reply(port, get, is_signed=False)[0] == reply(storage.port, get, is_signed=False)[0]
