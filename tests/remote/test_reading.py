"""Reading from object storage: the same as from a file, with few requests and little memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ftkit
from ftkit.dataset.object_store import find_object, list_objects, open_object
from ftkit.dataset.reader import OVERLAP_BYTES, Block, Shard, blocks, shards_of, split
from ftkit.errors import FileError
from ftkit.report import RENDERERS
from ftkit.summary import Report
from support.examples import chat_lines
from support.fixture_types import Run, Write
from support.object_storage import BUCKET, Fault, FaultyProxy, Storage

pytestmark = pytest.mark.remote

CHATS = b"".join(
    line + b"\n" for line in chat_lines(200, {7: b"{", 150: b"", 151: {"messages": []}})
)

same_storage = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""Settings of properties whose examples share a storage."""


def blocks_of(parts: list[Shard]) -> list[list[Block]]:
    return [list(blocks(part)) for part in parts]


def without_path(report: Report, path: str) -> str:
    return RENDERERS["json"](report).replace(path, "FILE")


@pytest.fixture
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and chunks of a few bytes, so that short objects take many of them."""
    monkeypatch.setattr("ftkit.dataset.reader.OVERLAP_BYTES", 5)
    for name, size in (("FIRST_BYTES", 16), ("REQUEST_BYTES", 64), ("CHUNK_BYTES", 8)):
        monkeypatch.setattr(f"ftkit.dataset.object_stream.{name}", size)


@pytest.mark.usefixtures("small_requests")
@same_storage
@given(
    lines=st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    ends=st.booleans(),
    size=st.integers(1, 200),
)
def test_shards_of_any_size_have_the_lines_of_the_file(
    storage: Storage, write: Write, lines: list[bytes], ends: bool, size: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    url = storage.put("data.jsonl", data)
    shards = shards_of(url, len(data), size, find_object(url).etag)
    assert blocks_of(shards) == blocks_of(split(str(write(data)), size))


@pytest.mark.usefixtures("small_requests")
@same_storage
@given(
    data=st.binary(max_size=300),
    steps=st.lists(st.tuples(st.integers(-400, 400), st.integers(0, 2), st.integers(0, 100))),
)
def test_an_object_can_be_sought_like_a_file(
    storage: Storage, data: bytes, steps: list[tuple[int, int, int]]
) -> None:
    local = io.BytesIO(data)
    with open_object(storage.put("data.bin", data)) as remote:
        for offset, whence, count in steps:
            base = (0, local.tell(), len(data))[whence]
            target = max(offset, -base)
            assert remote.seek(target, whence) == local.seek(target, whence)
            assert remote.read(count) == local.read(count)
            assert remote.tell() == local.tell()


@pytest.mark.parametrize("name", ["data.jsonl", "a folder/dätä+%20 1.jsonl", "data.jsonl.gz"])
def test_validate_finds_the_same_as_in_the_file(storage: Storage, write: Write, name: str) -> None:
    data = gzip.compress(CHATS) if name.endswith(".gz") else CHATS
    local = str(write(data, Path(name).name))
    url = storage.put(name, data)
    assert without_path(ftkit.validate(url), url) == without_path(ftkit.validate(local), local)
    assert ftkit.validate(url).files[0].errors == 3


@pytest.mark.parametrize(
    ("scheme", "variables"),
    [
        ("gs", {"GOOGLE_BASE_URL": "", "GOOGLE_SKIP_SIGNATURE": "true"}),
        (
            "az",
            {
                "AZURE_STORAGE_ENDPOINT": "",
                "AZURE_SKIP_SIGNATURE": "true",
                "AZURE_STORAGE_ACCOUNT_NAME": "account",
            },
        ),
    ],
)
def test_other_services_read_an_object_with_the_same_requests(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, scheme: str, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value or f"http://127.0.0.1:{storage.port}")
    storage.put("data.jsonl", CHATS, is_public=True)
    assert ftkit.validate(f"{scheme}://{BUCKET}/data.jsonl").files[0].examples == 198


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz"])
def test_the_commands_print_the_same_as_for_the_file(
    storage: Storage, write: Write, ftkit: Run, name: str
) -> None:
    data = b"".join(line + b"\n" for line in chat_lines(50))
    data = gzip.compress(data) if name.endswith(".gz") else data
    local, url = str(write(data, name)), storage.put(name, data)
    for command in (
        ["validate", "-o", "json", "--validation-file"],
        ["estimate", "-m", "gpt-4.1-mini-2025-04-14", "-o", "json", "--validation-file"],
    ):
        ours = ftkit(*command, url, url)
        theirs = ftkit(*command, local, local)
        assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)
        assert json.loads(ours.stdout.replace(url, "")) == json.loads(
            theirs.stdout.replace(local, "")
        )


def test_patterns_name_objects_in_the_order_of_their_names(storage: Storage) -> None:
    for key in ("data/b.jsonl", "data/a.jsonl", "data/sub/c.jsonl", "data/.d.jsonl", "data/e.txt"):
        storage.put(key, CHATS)
    top, deep = f"s3://{BUCKET}/data/*.jsonl", f"s3://{BUCKET}/**/[ac].jsonl"
    names = ["s3://bucket/data/a.jsonl", "s3://bucket/data/b.jsonl"]
    assert list_objects(top) == names
    assert list_objects(deep) == [names[0], "s3://bucket/data/sub/c.jsonl"]
    assert [file.file for file in ftkit.validate(top).files] == names


def test_marks_of_folders_are_no_objects(storage: Storage) -> None:
    for key, data in (("d/", b""), ("d/sub/", b""), ("d/a.jsonl", CHATS), ("d/empty", b"")):
        storage.put(key, data)
    assert list_objects(f"s3://{BUCKET}/d/*") == ["s3://bucket/d/a.jsonl", "s3://bucket/d/empty"]
    assert list_objects(f"s3://{BUCKET}/**") == list_objects(f"s3://{BUCKET}/d/*")


def test_a_key_that_cannot_be_named_is_an_error_of_its_own(storage: Storage) -> None:
    storage.put("d/a.jsonl", CHATS)
    storage.put("d//b.jsonl", CHATS)
    with pytest.raises(FileError, match="the key of an object there has an empty part, a dot or a"):
        list_objects(f"s3://{BUCKET}/d/*.jsonl")


@pytest.mark.parametrize("key", ["sig/a?sig=abc.jsonl", "sig/\x9b31mred.jsonl"])
def test_a_key_that_urls_cannot_have_is_named(storage: Storage, key: str) -> None:
    storage.put("sig/a.jsonl", CHATS)
    storage.put(key, CHATS)
    with pytest.raises(FileError) as caught:
        list_objects(f"s3://{BUCKET}/sig/*.jsonl")
    assert str(caught.value) == (
        f"cannot read the object {key!r} in s3://bucket: such URLs are refused; rename it, or use a "
        "pattern that does not match it"
    )


def test_a_name_with_the_characters_of_a_pattern_is_read(storage: Storage) -> None:
    assert list_objects(storage.put("[1].jsonl", CHATS)) == ["s3://bucket/[1].jsonl"]
    storage.put("1.jsonl", b"")
    assert list_objects(f"s3://{BUCKET}/[[]1].jsonl") == ["s3://bucket/[1].jsonl"]
    with pytest.raises(
        FileError, match=r"is the name of an object, and matches others, too; write"
    ):
        list_objects(f"s3://{BUCKET}/[1].jsonl")


def test_an_object_that_is_named_like_a_pattern_is_one_of_its_matches(storage: Storage) -> None:
    names = [storage.put(f"{name}.jsonl", CHATS) for name in ("*", "a", "b")]
    assert list_objects(names[0]) == names


def test_an_object_found_by_a_pattern_is_not_asked_for_again(
    storage: Storage, proxy: FaultyProxy
) -> None:
    storage.put("a.jsonl", CHATS)
    ftkit.validate(f"s3://{BUCKET}/*.jsonl")
    methods = [request.method for request in proxy.requests]
    assert methods == ["GET"] * 3  # the list, the beginning, the only shard


def test_each_shard_takes_one_request_that_is_pinned(
    storage: Storage, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.dataset.object_ranges.PART_BYTES", 5000)
    url = storage.put("data.jsonl", CHATS)
    ftkit.validate(url)
    shards = -(-len(CHATS) // 5000)
    assert shards > 3
    assert len(proxy.gets()) == 1 + shards
    # From the byte before the shard to the probable end of its last line.
    assert proxy.gets()[2].range == f"bytes=4999-{10_000 + OVERLAP_BYTES - 1}"
    assert {request.if_match for request in proxy.gets()} == {find_object(url).etag}


@pytest.fixture
def many_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftkit.dataset.object_ranges.PART_BYTES", 2000)
    monkeypatch.setattr("ftkit.validation.engines.PART_BYTES", 2000)


@pytest.mark.usefixtures("many_shards")
def test_worker_processes_read_objects_for_themselves(storage: Storage, write: Write) -> None:
    url, local = storage.put("data.jsonl", CHATS), str(write(CHATS))
    progress: list[int] = []

    def advance(file: str, done: int) -> None:
        progress.append(done)

    report = ftkit.validate(url, workers=2, progress=advance)
    assert without_path(report, url) == without_path(ftkit.validate(local), local)
    assert sum(progress) == len(CHATS)


def test_a_script_needs_no_guard_for_worker_processes(storage: Storage, tmp_path: Path) -> None:
    storage.put("data.jsonl", CHATS)
    script = tmp_path / "script.py"
    script.write_text(
        "import ftkit, ftkit.dataset.object_ranges as ranges, ftkit.validation.engines as engines\n"
        "ranges.PART_BYTES = engines.PART_BYTES = 2000\n"
        "print(ftkit.validate('s3://bucket/data.jsonl', workers=2).files[0].errors)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (result.stdout, result.stderr) == ("3\n", "")


def test_memory_does_not_grow_with_the_object(storage: Storage) -> None:
    url = storage.put("large.bin", bytes(64 << 20))
    with open_object(url) as stream:
        tracemalloc.start()
        try:
            while stream.read(1 << 18):
                pass
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


def test_a_closed_stream_leaves_no_thread(storage: Storage) -> None:
    url = storage.put("large.bin", bytes(16 << 20))
    with open_object(url) as stream:
        assert stream.read(1) == b"\0"
    deadline = time.monotonic() + 10
    while any(thread.name == "ftkit-objects" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_ends_a_command_that_waits_for_the_storage(
    storage: Storage, proxy: FaultyProxy
) -> None:
    url = storage.put("data.jsonl", CHATS)
    proxy.always = Fault(cut_at=0, delay=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "ftkit", "validate", url],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while not proxy.gets():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130, stderr
