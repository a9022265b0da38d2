"""Connections to the local server: slow, silent and many clients."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from ftkit.server.logs import LogLimit
from support.local_server import LocalServer
from support.server_requests import CLEAN_DATA, upload_file

FAST = {
    "connections.HEADER_SECONDS": 1.0,
    "connections.RATE_SECONDS": 2.0,
    "connections.RESPONSE_SECONDS": 3.0,
    "connections.POLL_SECONDS": 0.1,
}
"""Timeouts for tests. A client must send 15 kB per second."""

HEADERS = (
    b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n"
)

FORM_START = (
    b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
)
FORM_END = b"\r\n--x--\r\n"


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("strict") / "data"
    with LocalServer(folder, constants=FAST) as server:
        yield server


def connect(server: LocalServer) -> socket.socket:
    address = urlsplit(server.url)
    assert address.hostname
    assert address.port
    return socket.create_connection((address.hostname, address.port), timeout=20)


def read_all(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    parts = []
    try:
        while part := client.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def send_slowly(client: socket.socket, data: bytes, size: int, seconds: float) -> float:
    """Send `size` bytes every `seconds` until the server closes. Return how long that took."""
    start = time.monotonic()
    client.setblocking(True)
    try:
        for at in range(0, len(data), size):
            client.sendall(data[at : at + size])
            time.sleep(seconds)
    except OSError:
        pass
    return time.monotonic() - start


def assert_serves(server: LocalServer) -> None:
    start = time.monotonic()
    with server.client() as client:
        assert client.models.list()
        assert client.files.content(upload_file(client).id).read() == CLEAN_DATA
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n", HEADERS % 1000 + FORM_START],
    ids=["nothing", "headers", "body"],
)
def test_many_connections_that_never_finish_a_request_do_not_lock_out_others(
    beginning: bytes, tmp_path: Path
) -> None:
    with LocalServer(tmp_path / "data", open_files=256) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(250)]
        for client in clients:
            client.sendall(beginning)
        for _ in range(3):
            assert_serves(server)
        assert "Traceback" not in server.log()
        assert len(server.log()) < 10_000


def test_keys_that_are_wrong_hold_no_connection(tmp_path: Path) -> None:
    with (
        LocalServer(tmp_path / "data", keys=("a",), open_files=256) as server,
        ExitStack() as stack,
    ):
        for _ in range(250):
            stack.enter_context(connect(server)).sendall(HEADERS % 10**9 + FORM_START)
        start = time.monotonic()
        with server.client("a") as client:
            assert client.models.list()
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("data", "response"),
    [(b"", b""), (b"GET /v1/models HTTP/1.1\r\nX-Long: ", b"HTTP/1.1 408 ")],
)
def test_a_request_must_be_complete_in_time(
    data: bytes, response: bytes, strict_server: LocalServer
) -> None:
    with connect(strict_server) as client:
        client.sendall(data)
        start = time.monotonic()
        assert read_all(client).startswith(response)
        assert 0.9 < time.monotonic() - start < 3


def test_a_connection_is_kept_for_longer_than_clients_use_it_again(tmp_path: Path) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with LocalServer(tmp_path / "data") as server, connect(server) as client:
        client.sendall(request)
        time.sleep(6)  # httpx uses a connection again for 5 seconds
        client.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 2


def test_headers_that_trickle_in_are_cut_off(strict_server: LocalServer) -> None:
    with connect(strict_server) as client:
        assert send_slowly(client, b"GET / HTTP/1.1\r\nX: " + b"x" * 100, 1, 0.1) < 4


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_body_that_trickles_in_is_cut_off(size: int, strict_server: LocalServer) -> None:
    with connect(strict_server) as client:
        client.sendall(HEADERS % 1_000_000 + FORM_START)
        if size:
            send_slowly(client, b"x" * size * 60, size, 0.1)
        start = time.monotonic()
        assert read_all(client)[:13] in (b"HTTP/1.1 408 ", b"")
        assert time.monotonic() - start < 5
    assert "Traceback" not in strict_server.log()


@pytest.mark.slow
def test_a_slow_upload_is_accepted_however_long_it_takes(strict_server: LocalServer) -> None:
    form = FORM_START + CLEAN_DATA * 100 + FORM_END
    with connect(strict_server) as client:
        client.sendall(HEADERS % len(form))
        assert send_slowly(client, form, len(form) // 50, 0.1) > 5
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_stalls_for_less_than_the_timeout_can_go_on(
    strict_server: LocalServer,
) -> None:
    form = FORM_START + CLEAN_DATA * 100 + FORM_END
    with connect(strict_server) as client:
        client.sendall(HEADERS % len(form) + form[:40_000])
        time.sleep(1.5)
        client.sendall(form[40_000:])
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
def test_a_response_that_is_not_read_is_cut_off_and_one_that_is_read_slowly_is_not(
    reads: bool, strict_server: LocalServer
) -> None:
    content = CLEAN_DATA * 15_000
    with strict_server.client() as uploading:
        file = upload_file(uploading, content)
    with connect(strict_server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(
            f"GET /v1/files/{file.id}/content HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        size = 0
        for _ in range(120):
            size += len(client.recv(1 << 16)) if reads else 0
            time.sleep(0.05)
        client.settimeout(2)
        try:
            while part := client.recv(1 << 20):
                size += len(part)
        except TimeoutError:
            pass
        except ConnectionResetError:
            assert not reads
    assert (size > len(content)) is reads


def test_a_client_that_takes_none_of_a_response_is_disconnected(tmp_path: Path) -> None:
    content = CLEAN_DATA * 10_000
    constants = {**FAST, "connections.RESPONSE_SECONDS": 0.5}
    with (
        LocalServer(tmp_path / "data", constants=constants) as server,
        server.client() as uploading,
    ):
        file = upload_file(uploading, content)
        with connect(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            client.sendall(
                f"GET /v1/files/{file.id}/content HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            time.sleep(2)
            assert len(read_all(client)) < len(content)
        assert uploading.files.content(file.id).read() == content


LIMIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))
from ftkit.server.connections import connection_limit
print(connection_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on open files")
@pytest.mark.parametrize(("maximum", "connections"), [(64, 1), (328, 100), (2_128, 1_000)])
def test_the_connections_fit_the_limit_on_open_files_which_is_raised(
    maximum: int, connections: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMIT, str(maximum)], capture_output=True, check=True, text=True
    )
    assert done.stdout.split() == [str(connections), str(maximum)]


def test_an_upload_that_is_aborted_leaves_no_traceback_in_the_log(
    strict_server: LocalServer,
) -> None:
    with connect(strict_server) as client:
        client.sendall(HEADERS % 1_000_000 + FORM_START)
    with connect(strict_server) as client:
        client.sendall(
            b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
        )
    time.sleep(0.5)
    assert_serves(strict_server)
    assert "Traceback" not in strict_server.log()
    assert not list((strict_server.folder / "parts").iterdir())


def test_requests_that_are_no_http_do_not_fill_the_log(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data") as server:
        for _ in range(200):
            with connect(server) as client:
                client.sendall(b"nonsense\r\n\r\n")
                assert read_all(client).startswith(b"HTTP/1.1 400 ")
        assert 0 < server.log().count("Invalid HTTP request") <= 10


def test_a_logger_logs_the_first_records_of_a_minute_and_counts_the_others() -> None:
    limit = LogLimit()

    def logged(seconds: float) -> str | None:
        record = logging.makeLogRecord({"msg": "%s fails", "args": ("x",), "created": seconds})
        return record.getMessage() if limit.filter(record) else None

    start = time.time()
    assert [logged(start) for _ in range(15)] == ["x fails"] * 10 + [None] * 5
    assert logged(start + 59) is None
    assert logged(start + 60) == "x fails (6 messages before it were dropped)"
    assert logged(start + 61) == "x fails"


def test_a_key_is_checked_before_the_body_arrives(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", keys=("a",)) as server:
        with connect(server) as client:
            client.sendall(HEADERS % 8_000_000_000)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 401 ")
        with server.client("b") as stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
