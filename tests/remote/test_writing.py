"""Writing to object storage: an object is replaced as a whole, or stays as it is without parts."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from ftkit.dataset.object_writer import (
    PART_BYTES,
    PARTS_AT_ONCE,
    ObjectWriter,
    object_writer,
    open_upload,
)
from ftkit.errors import FileError, UsageError
from support.examples import chat_lines
from support.fixture_types import Run
from support.object_storage import Fault, FaultyProxy, Storage

pytestmark = pytest.mark.remote

URL = "s3://bucket/data/train.jsonl"
KEY = "data/train.jsonl"

SMALL_PART = 5 << 20
"""Fewest bytes of a part, but for the last one, at S3."""

DATA = random.Random(1).randbytes(2 * SMALL_PART + 1000)
"""Content of two parts and a third that is shorter."""


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftkit.dataset.object_writer.PART_BYTES", SMALL_PART)


@pytest.fixture
def few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftkit.dataset.object_client.MAX_RETRIES", 2)


def write(data: bytes, step: int = 70_001) -> None:
    with object_writer(URL) as writer:
        for start in range(0, len(data), step):
            assert writer.write(data[start : start + step]) == len(data[start : start + step])


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("step", [70_001, 7 << 20])
@pytest.mark.parametrize("size", [0, 1, SMALL_PART, SMALL_PART + 1, len(DATA)])
def test_what_is_written_is_read(storage: Storage, size: int, step: int) -> None:
    write(DATA[:size], step)
    assert storage.get(KEY) == DATA[:size]
    assert storage.uploads() == []


@pytest.mark.usefixtures("small_parts")
def test_the_former_object_is_there_until_the_end(storage: Storage) -> None:
    storage.put(KEY, b"former")
    with object_writer(URL) as writer:
        writer.write(DATA)
        writer.flush()
        assert storage.uploads() == [KEY]
        assert storage.get(KEY) == b"former"
    assert storage.get(KEY) == DATA


def test_a_panic_of_obstore_is_a_failed_upload(storage: Storage, proxy: FaultyProxy) -> None:
    """An upload id that is too long for a URL makes obstore panic."""
    response = f"""<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>{KEY}</Key>
        <UploadId>{"x" * 100_000}</UploadId></InitiateMultipartUploadResult>"""
    proxy.always = Fault(200, response.encode(), methods=("POST",), path="?uploads")
    with pytest.raises(FileError, match=f"cannot write {URL}: obstore failed"):
        write(b"data")
    assert storage.keys() == []


def test_nothing_can_be_written_after_the_completion(storage: Storage) -> None:
    with open_upload(URL) as writer:
        writer.write(b"all")
        writer.complete()
        with pytest.raises(ValueError, match="write to a completed upload"):
            writer.write(b" and more")
    assert storage.get(KEY) == b"all"


def test_an_aborted_upload_cannot_be_completed(storage: Storage) -> None:
    with open_upload(URL) as writer:
        writer.write(b"part")
        writer.abort()
        with pytest.raises(ValueError, match="the upload was aborted"):
            writer.complete()
    assert (storage.keys(), storage.uploads()) == ([], [])


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("kind", "size"),
    [(ValueError, 0), (ValueError, 1000), (KeyboardInterrupt, len(DATA)), (SystemExit, len(DATA))],
)
def test_an_exception_leaves_no_parts(
    storage: Storage, kind: type[BaseException], size: int
) -> None:
    def fail() -> None:
        with object_writer(URL) as writer:
            writer.write(DATA[:size])
            writer.flush()
            assert storage.uploads() == [KEY]
            raise kind

    with pytest.raises(kind):
        fail()
    assert (storage.keys(), storage.uploads()) == ([], [])


FAULTS = {
    "403": (Fault(status=403), "no permission to write"),
    "503": (Fault(status=503), "answered with status 503"),
    "cut": (Fault(hangs_up=True), "no connection to the object storage, or it was cut"),
}

REQUESTS = {
    "first part": {"methods": ("PUT",), "path": "partNumber=1&"},
    "last part": {"methods": ("PUT",), "path": "partNumber=3&"},
    "all parts": {"methods": ("PUT",), "path": "partNumber="},
    "begin": {"methods": ("POST",), "path": "?uploads"},
    "completion": {"methods": ("POST",), "path": "?uploadId="},
}


@pytest.mark.usefixtures("small_parts", "few_retries")
@pytest.mark.parametrize(
    ("fault", "request_"),
    [
        *(("403", request_) for request_ in REQUESTS),
        *(("503", request_) for request_ in ("last part", "completion")),
        *(("cut", request_) for request_ in ("all parts", "begin")),
    ],
)
def test_a_failed_upload_is_an_error_of_one_line_and_leaves_no_parts(
    storage: Storage, proxy: FaultyProxy, fault: str, request_: str
) -> None:
    storage.put(KEY, b"former")
    made, message = FAULTS[fault]
    proxy.always = made._replace(**REQUESTS[request_])
    with pytest.raises(FileError) as raised:
        write(DATA)
    assert message in str(raised.value)
    assert URL in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "uploadId" not in str(raised.value)
    assert (storage.get(KEY), storage.uploads()) == (b"former", [])


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("fault", "request_"),
    [("503", "first part"), ("503", "completion"), ("cut", "last part"), ("cut", "begin")],
)
def test_a_request_that_fails_once_is_sent_again(
    storage: Storage, proxy: FaultyProxy, fault: str, request_: str
) -> None:
    made, _ = FAULTS[fault]
    proxy.faults.append(made._replace(**REQUESTS[request_]))
    write(DATA)
    assert not proxy.faults
    assert (storage.get(KEY), storage.uploads()) == (DATA, [])


def test_a_wrong_bucket_is_an_error_before_anything_is_written(storage: Storage) -> None:
    message = "no such bucket: s3://missing-bucket; check"
    with pytest.raises(FileError, match=message), object_writer("s3://missing-bucket/x.jsonl"):
        pytest.fail("the block has begun")


@pytest.mark.parametrize("command", ["split", "sample --fraction 1"])
def test_a_wrong_bucket_is_an_error_before_rows_are_read(
    storage: Storage, proxy: FaultyProxy, ftkit: Run, command: str
) -> None:
    url = storage.put("rows.jsonl", b"".join(line + b"\n" for line in chat_lines(20)))
    done = ftkit(*command.split(), url, "-o", "s3://no-such-bucket/x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ftkit: no such bucket: s3://no-such-bucket; check its name")
    assert not any("rows.jsonl" in request.path for request in proxy.requests)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.com/x.jsonl", "only s3://, gs:// and az:// URLs can be written"),
        ("s3://bucket/*.jsonl", "it has wildcards; name one object"),
        ("s3://bucket/folder/", "names no file"),
    ],
)
def test_a_url_that_cannot_be_written_is_refused(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message), object_writer(url):
        pytest.fail("the block has begun")


@pytest.mark.usefixtures("small_parts")
def test_an_upload_of_too_many_parts_is_refused(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.dataset.object_writer.MAX_PARTS", 2)
    with pytest.raises(FileError, match=r"it has more than 0 GB; split it"):
        write(DATA)
    assert (storage.keys(), storage.uploads()) == ([], [])


WRITE_LARGE = """
import resource, sys
from ftkit.dataset.object_writer import object_writer
with object_writer(sys.argv[1]) as writer:
    writer.write(b"x")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = bytes(1 << 20)
    for _ in range(int(sys.argv[2])):
        writer.write(line)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_does_not_grow_with_the_object(storage: Storage) -> None:
    used = [
        int(subprocess.check_output([sys.executable, "-c", WRITE_LARGE, URL, str(megabytes)]))
        for megabytes in (96, 192)
    ]
    assert max(used) < (PARTS_AT_ONCE + 2) * PART_BYTES
    assert used[1] < used[0] + PART_BYTES


WRITE_FOREVER = """
import signal, sys
from ftkit.cli import handle_signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
handle_signals()
from ftkit.dataset.object_writer import object_writer
with object_writer(sys.argv[1]) as writer:
    while True:
        writer.write(bytes(1 << 16))
"""


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_process_that_is_stopped_leaves_the_object_as_it_is(
    storage: Storage, proxy: FaultyProxy, number: signal.Signals
) -> None:
    storage.put(KEY, b"former")
    command = [sys.executable, "-c", WRITE_FOREVER, URL]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: sum("partNumber=" in item.path for item in proxy.requests) > 3)
        process.send_signal(number)
        assert process.wait(60) != 0
    assert storage.get(KEY) == b"former"
    # Nothing can be done after SIGKILL: docs/storage.md has the rule for the bucket.
    assert storage.uploads() == ([KEY] if number == signal.SIGKILL else [])


@pytest.mark.usefixtures("small_parts")
def test_a_second_ctrl_c_does_not_wait_for_a_silent_storage(
    storage: Storage, proxy: FaultyProxy
) -> None:
    """After the first one, the writer aborts the upload, which waits for the part that is sent."""
    proxy.always = Fault(cut_at=0.0, delay=30, methods=("PUT",))
    command = [sys.executable, "-c", WRITE_FOREVER, URL]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: any("partNumber=" in item.path for item in proxy.requests))
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0


def test_a_writer_that_is_only_created_sends_nothing(storage: Storage) -> None:
    writer = ObjectWriter(URL)
    writer.abort()
    writer.close()
    assert storage.uploads() == []
