"""S3 on loopback: moto in a process of its own, and a proxy in front of it that fails on request."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import quote

BUCKET = "bucket"

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
    "AWS_REGION": "us-east-1",
}
"""Variables with keys that every S3 of the tests accepts."""

_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
)
"""A signature, which moto does not check."""

_MOTO = """
import logging, os, sys, threading
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until the tests end
os._exit(0)
"""


class Request(NamedTuple):
    """A request that the proxy has received."""

    method: str
    path: str
    range: str
    if_match: str
    authorization: str = ""


class Fault(NamedTuple):
    """What the proxy does with one request instead of forwarding it as it is.

    Attributes:
        status: Status of a response instead of forwarding the request.
        body: Body of that response.
        cut_at: Share of the response's body after which the connection is cut.
        delay: Seconds of silence after that share, before the rest is sent.
        before: Called before the request is forwarded.
        hangs_up: The connection is cut in the middle of the body of the request.
        leaves_out: Names of headers, in lower case, that are left out of the response.
        ignores_range: The request is forwarded without its `Range`.
        methods: Methods that the fault is for; other requests pass.
        path: Text in the paths that the fault is for.
    """

    status: int = 0
    body: bytes = b""
    cut_at: float | None = None
    delay: float = 0
    before: Callable[[], None] | None = None
    hangs_up: bool = False
    leaves_out: tuple[str, ...] = ()
    ignores_range: bool = False
    methods: tuple[str, ...] = ("GET",)
    path: str = ""

    def is_for(self, method: str, path: str) -> bool:
        """Return True if the fault is for a request."""
        return method in self.methods and self.path in path


NO_FAULT = Fault()


class Storage:
    """Client of S3 in the tests: buckets and objects are put and deleted through plain HTTP."""

    def __init__(self, port: int) -> None:
        self.port = port

    def put(self, key: str, data: bytes, bucket: str = BUCKET, is_public: bool = False) -> str:
        """Write an object and return its URL. A public one can be read without keys."""
        headers = {"x-amz-acl": "public-read"} if is_public else {}
        self._send("PUT", f"/{bucket}/{quote(key)}", data, headers)
        return f"s3://{bucket}/{key}"

    def get(self, key: str, bucket: str = BUCKET) -> bytes:
        """Return the content of an object."""
        return self._send("GET", f"/{bucket}/{quote(key)}")

    def delete(self, key: str, bucket: str = BUCKET) -> None:
        """Delete an object."""
        self._send("DELETE", f"/{bucket}/{quote(key)}")

    def keys(self, bucket: str = BUCKET) -> list[str]:
        """Return the keys of all objects."""
        return re.findall("<Key>(.*?)</Key>", self._send("GET", f"/{bucket}?list-type=2").decode())

    def uploads(self, bucket: str = BUCKET) -> list[str]:
        """Return the keys of all multipart uploads that are neither completed nor aborted."""
        return re.findall("<Key>(.*?)</Key>", self._send("GET", f"/{bucket}?uploads").decode())

    def create(self, bucket: str) -> None:
        """Create a bucket."""
        self._send("PUT", f"/{bucket}")

    def clear(self) -> None:
        """Delete everything."""
        self._send("POST", "/moto-api/reset")

    def _send(
        self,
        method: str,
        path: str,
        data: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request(
                method, path, data, {"Authorization": _AUTHORIZATION} | (headers or {})
            )
            response = connection.getresponse()
            body = response.read()
            assert response.status in (200, 204), body
            return body
        finally:
            connection.close()


@contextmanager
def running_storage() -> Iterator[Storage]:
    """Run moto until the block ends, or until this process does."""
    command = [sys.executable, "-c", _MOTO]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stdin
        assert process.stdout
        try:
            yield Storage(int(process.stdout.readline()))
        finally:
            process.stdin.close()


class FaultyProxy:
    """Proxy that forwards to a storage, except for requests that a fault is set for.

    Attributes:
        url: Its address.
        requests: The requests so far.
        faults: Faults of the next requests, the first for the first one.
        always: Fault of the requests that `faults` has none for.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.requests: list[Request] = []
        self.faults: deque[Fault] = deque()
        self.always = NO_FAULT
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients hang up
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def gets(self) -> list[Request]:
        """Return the requests that read an object."""
        return [request for request in self.requests if request.method == "GET" and request.range]

    def _fault_for(self, method: str, path: str) -> Fault:
        with self._lock:
            if self.faults and self.faults[0].is_for(method, path):
                return self.faults.popleft()
        return self.always if self.always.is_for(method, path) else NO_FAULT

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                proxy._forward(self)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        return Handler

    def _forward(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        names = ("range", "if-match", "authorization")
        values = (headers.get(name, "") for name in names)
        request = Request(handler.command, handler.path, *values)
        fault = self._fault_for(request.method, request.path)
        length = int(headers.get("content-length", 0))
        data = handler.rfile.read(length // 2 if fault.hangs_up else length)
        with self._lock:
            self.requests.append(request)
        if fault.hangs_up:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        if fault.before:
            fault.before()
        if fault.status:
            handler.send_response_only(fault.status)
            handler.send_header("Content-Length", str(len(fault.body)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(fault.body)
            return
        if fault.ignores_range:
            headers.pop("range", None)
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream)
        try:
            connection.request(request.method, request.path, data, headers)
            self._answer(handler, connection.getresponse(), fault)
        finally:
            connection.close()

    def _answer(
        self,
        handler: BaseHTTPRequestHandler,
        response: http.client.HTTPResponse,
        fault: Fault,
    ) -> None:
        body = response.read()
        handler.send_response_only(response.status)
        length = response.headers.get("Content-Length", str(len(body)))
        for name, value in response.headers.items():
            skipped = ("connection", "transfer-encoding", "content-length", *fault.leaves_out)
            if name.lower() not in skipped:
                handler.send_header(name, value)
        if "content-length" not in fault.leaves_out:
            handler.send_header("Content-Length", length)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        share = 1 if fault.cut_at is None else fault.cut_at
        middle = int(len(body) * share)
        handler.wfile.write(body[:middle])
        handler.wfile.flush()
        if fault.delay:
            self._stopping.wait(fault.delay)
        elif fault.cut_at is not None:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        handler.wfile.write(body[middle:])
