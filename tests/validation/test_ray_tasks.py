"""Tasks of a Ray cluster: what a node returns for a shard. None of this needs Ray."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.catalog import find_limits
from ftkit.dataset.reader import Shard, split
from ftkit.rules import ScanPlan, choose_rules
from ftkit.summary import Summary
from ftkit.validation.partition_operations import FindCopies
from ftkit.validation.ray_messages import Failure
from ftkit.validation.ray_tasks import (
    MIN_OUTPUT_BYTES,
    PIECE_BYTES,
    Error,
    FileDigest,
    ScanShard,
    digest_file,
    padded,
    run_task,
    unpadded,
)
from ftkit.validation.scan import PlannedScan, scan
from support.examples import chat_lines

PLAN = ScanPlan(find_limits("openai", None, None), rules=choose_rules((), ()))


def run(path: Path, shard: Shard, digest: FileDigest | None) -> list[bytes] | Error:
    sent = msgspec.structs.replace(shard, file="")
    task = ScanShard(PlannedScan(PLAN), sent, os.fsencode(path), digest)
    return run_task(msgspec.msgpack.encode(task), "node-1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data\udcff.jsonl"  # its name is not UTF-8
    path.write_bytes(b"".join(line + b"\n" for line in chat_lines(200, {7: b"{"})))
    return path


def test_the_result_is_the_summary_of_the_shard(data: Path) -> None:
    for shard in split(str(data), 5000):
        results = run(data, shard, digest_file(str(data)))
        assert isinstance(results, list)
        summary = msgspec.msgpack.decode(results[0], type=Summary)
        whole = scan(shard, PLAN)
        assert (summary.fingerprints, unpadded(results[1])) == (b"", whole.fingerprints)
        assert msgspec.structs.replace(summary, fingerprints=whole.fingerprints) == whole


@pytest.mark.parametrize("error", [Failure(b"node-2 has another file"), "node-2 has no ftkit"])
def test_the_error_of_an_input_is_that_of_the_task(error: Failure | str) -> None:
    task = msgspec.msgpack.encode(FindCopies())
    assert run_task(task, "node-1", [padded(b""), error]) == error


def test_outputs_are_the_inputs_of_other_tasks() -> None:
    records = [struct.pack("<QQQ", line, 7, 8) for line in (1, 2)]
    task = msgspec.msgpack.encode(FindCopies())
    assert run_task(task, "node-1", list(map(padded, records))) == [struct.pack("<QQ", 2, 1)]


@given(st.binary(max_size=100))
def test_outputs_are_too_long_for_the_driver_and_come_back_as_they_were(output: bytes) -> None:
    data = padded(output)
    assert unpadded(data) == output
    assert len(data) == (MIN_OUTPUT_BYTES if output else 0)


def test_an_output_that_is_long_enough_grows_by_its_length_only() -> None:
    output = bytes(range(256)) * 1000
    assert (len(padded(output)), unpadded(padded(output))) == (len(output) + 8, output)


@pytest.mark.parametrize("change", ["one byte", "one byte more", "no file"])
def test_a_node_with_another_file_is_named(data: Path, change: str) -> None:
    (shard,), digest = split(str(data)), digest_file(str(data))
    content = data.read_bytes()
    reason = f"node node-1 has another file at {data}"
    if change == "one byte":
        data.write_bytes(content[:-2] + b" \n")
    elif change == "one byte more":
        data.write_bytes(content + b"\n")
    else:
        data.unlink()
        reason = f"node node-1 cannot read {data}: no such file or directory"
    result = run(data, shard, digest)
    assert isinstance(result, Failure)
    assert not result.is_file_error
    assert os.fsdecode(result.message).startswith(f"{reason}; files on a disk that only")


def test_a_file_that_cannot_be_read_is_the_error_of_one_machine(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(chat_lines(1000)))[:-20])
    (shard,) = split(str(path))
    result = run(path, shard, digest_file(str(path)))
    assert isinstance(result, Failure)
    assert result.is_file_error
    assert os.fsdecode(result.message).startswith(f"cannot read {path}: ")


def test_an_object_that_cannot_be_read_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="needs the extra remote")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "key")  # without a name of the account
    url = "az://container/data.jsonl"
    result = run_task(
        msgspec.msgpack.encode(
            ScanShard(PlannedScan(PLAN), Shard("", 0, 10, '"1"'), url.encode(), digest=None)
        ),
        "node-1",
    )
    assert isinstance(result, Failure)
    assert result.is_file_error
    assert result.message.startswith(b"node node-1: az:// URLs need ")


def test_a_digest_covers_the_beginning_and_the_end(tmp_path: Path) -> None:
    path = tmp_path / "large"
    content = bytearray(100 * PIECE_BYTES)
    digests = set()
    for place in (None, 0, len(content) - 1):
        changed = bytearray(content)
        if place is not None:
            changed[place] = 1
        path.write_bytes(changed)
        digests.add(digest_file(str(path)).digest)
    assert len(digests) == 3
