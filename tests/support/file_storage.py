"""S3 on loopback that serves files from the disk, for objects that are too large for moto.

moto holds an object in memory and copies all of it for each range: a second for each GB. It answers
the requests with which ftkit reads, as moto does; `tests/remote/test_file_storage.py` compares both.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from support.object_storage import BUCKET

RANGE = re.compile(r"bytes=(\d+)-(\d+)")

LISTED_TIME = "2026-01-01T00:00:00.000Z"
"""Time of all objects in a listing, which ftkit does not use."""


class StoredFile(NamedTuple):
    """A file on the disk as an object."""

    path: Path
    size: int
    etag: str


class FileStorage:
    """S3 with one bucket of files, each of which is read from the disk for each request.

    Attributes:
        url: Address of the server.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.objects: dict[str, StoredFile] = {}

    def put(self, key: str, path: Path) -> str:
        """Make a file an object and return its URL. The file must not change afterwards."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
        self.objects[key] = StoredFile(path, path.stat().st_size, f'"{digest}"')
        return f"s3://{BUCKET}/{key}"


@contextmanager
def running_file_storage() -> Iterator[FileStorage]:
    """Serve files until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients hang up
    storage = _Handler.storage = FileStorage(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield storage
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage: FileStorage

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if not self.headers.get("Authorization"):
            self._refuse(HTTPStatus.FORBIDDEN, "AccessDenied")
        elif bucket != BUCKET:
            self._refuse(HTTPStatus.NOT_FOUND, "NoSuchBucket")
        elif not key:
            self._list(parse_qs(url.query).get("prefix", [""])[0])
        elif key not in self.storage.objects:
            self._refuse(HTTPStatus.NOT_FOUND, "NoSuchKey")
        else:
            self._send_object(self.storage.objects[key])

    do_HEAD = do_GET  # noqa: N815

    def _send_object(self, stored: StoredFile) -> None:
        if self.headers.get("If-Match", stored.etag) != stored.etag:
            self._refuse(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed")
            return
        status, start, end = HTTPStatus.OK, 0, stored.size
        headers = {
            "ETag": stored.etag,
            "Last-Modified": formatdate(stored.path.stat().st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if match := RANGE.fullmatch(self.headers.get("Range", "")):
            start, end = int(match[1]), min(int(match[2]) + 1, stored.size)
            if start >= stored.size:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange")
                return
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
        self._send_headers(status, headers, end - start)
        if self.command != "HEAD":
            with stored.path.open("rb") as stream:
                self.connection.sendfile(stream, start, end - start)

    def _list(self, prefix: str) -> None:
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{LISTED_TIME}</LastModified>"
            f"<ETag>{escape(stored.etag)}</ETag><Size>{stored.size}</Size></Contents>"
            for key, stored in sorted(self.storage.objects.items())
            if key.startswith(prefix)
        )
        self._send_xml(
            HTTPStatus.OK,
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>",
        )

    def _refuse(self, status: HTTPStatus, code: str) -> None:
        self._send_xml(status, f"<Error><Code>{code}</Code></Error>")

    def _send_xml(self, status: HTTPStatus, text: str) -> None:
        body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
        self._send_headers(status, {"Content-Type": "application/xml"}, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_headers(self, status: HTTPStatus, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
