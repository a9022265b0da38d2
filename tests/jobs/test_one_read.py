"""One read of a file validates, measures and hashes it, and gives what separate scans give."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit import validate
from ftkit.catalog import find_limits, load_catalog
from ftkit.dataset import reader
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.reader import Part, Shard, SinglePass, blocks, split
from ftkit.errors import FileError, FtkitError
from ftkit.estimation.measure import counting_methods
from ftkit.estimation.quote import quote
from ftkit.jobs.inspection import Inspection, JobFiles, inspect
from ftkit.jobs.uploads import hash_file
from ftkit.rules import RULES, ScanPlan
from ftkit.summary import Summary
from ftkit.validation.engines import open_engine
from ftkit.validation.pool import PARTS_PER_WORKER
from ftkit.validation.scan import scan, summarize
from support.damaged_files import damaged_files
from support.examples import chat_lines
from support.fixture_types import Write
from support.paths import ROOT
from support.property_tests import example_count

MINI, DPO = "gpt-4o-mini-2024-07-18", "gpt-4.1-2025-04-14"
SAMPLES = [
    path
    for path in sorted((ROOT / "samples").rglob("*.jsonl"))
    if path.parent.name in ("samples", "bad")
]

METHODS = counting_methods([MINI, "gpt-3.5-turbo"], "openai", "billing", load_catalog())
BOTH = ScanPlan(find_limits(), rules=frozenset(RULES), counting_methods=METHODS)
RULES_ONLY = msgspec.structs.replace(BOTH, counting_methods=())
TOKENS_ONLY = ScanPlan(find_limits(), counting_methods=METHODS, applies_rules=False)


def total(parts: Sequence[Part] | Iterator[Part], plan: ScanPlan, format: str) -> Summary:
    return summarize(parts, msgspec.structs.replace(plan, format=format))


def shards(path: str, size: int, cuts: Sequence[int]) -> list[Part]:
    places = sorted({0, size, *(cut for cut in cuts if cut < size)})
    return [Shard(path, start, end) for start, end in itertools.pairwise(places)]


@given(damaged_files, st.lists(st.integers(1, 4000), max_size=4), st.sampled_from(sorted(FORMATS)))
@settings(max_examples=example_count(150))
def test_a_combined_scan_is_the_sum_of_separate_scans(
    data: bytes, cuts: list[int], format: str
) -> None:
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(data)
        file.flush()
        both, rules, tokens = (
            total(shards(file.name, len(data), cuts), plan, format)
            for plan in (BOTH, RULES_ONLY, TOKENS_ONLY)
        )
    assert msgspec.structs.replace(both, stats={}) == rules
    assert both.stats == tokens.stats
    assert (both.lines, both.size, both.blank) == (tokens.lines, tokens.size, tokens.blank)
    assert both.examples == tokens.examples


@given(damaged_files, st.integers(1, 3000), st.sampled_from(sorted(FORMATS)))
@settings(max_examples=example_count(150))
def test_chunks_of_any_size_give_the_same_summary_and_hash(
    data: bytes, size: int, format: str
) -> None:
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(data)
        file.flush()
        with SinglePass(file.name, size) as source:
            summary = total(source.parts(), BOTH, format)
            sha256 = source.sha256()
        assert summary == total(split(file.name), BOTH, format)
    assert sha256 == hashlib.sha256(data).hexdigest()


@given(damaged_files, st.integers(1, 3000), st.integers(1, 300))
def test_parts_and_blocks_lose_no_byte(data: bytes, size: int, block: int) -> None:
    with (
        tempfile.NamedTemporaryFile(suffix=".jsonl") as file,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(reader, "BLOCK_BYTES", block)
        file.write(data)
        file.flush()
        with SinglePass(file.name, size) as source:
            chunks = list(source.parts())
        blocks_read = [
            [list(blocks(part)) for part in parts] for parts in (chunks, split(file.name, size))
        ]
    assert b"".join(chunk.data for chunk in chunks) == data
    for parts in blocks_read:
        rows = [row for part in parts for row in part]
        assert [line for row in rows for line in row.lines] == lines_of(data)
        assert sum(row.size for row in rows) == len(data)
        assert [row.ends_file for row in rows] == [False] * (len(rows) - 1) + [True] * bool(rows)


def lines_of(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def comparable(result: Inspection) -> tuple[Any, Any]:
    return result.report.files, result.quote


def separately(path: Path, model: str, validation: Path | None = None) -> tuple[Any, Any]:
    """The report and the quote of separate scans, the way they were made before."""
    report = validate(path, model=model, validation_file=validation)
    try:
        priced = quote(
            path,
            [model],
            format=report.files[0].format or "chat",
            validation_file=validation,
        )
    except FtkitError:
        priced = None
    return report.files, priced


@pytest.mark.parametrize("model", [MINI, DPO, "gpt-3.5-turbo"])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_an_inspection_is_a_validation_and_a_quote(path: Path, model: str) -> None:
    assert comparable(inspect(JobFiles(str(path), None, model))) == separately(path, model)


@pytest.mark.parametrize("second", ["marv.jsonl", "tool-calls.jsonl", "completions.jsonl"])
@pytest.mark.parametrize("first", ["marv.jsonl", "images.jsonl", "completions.jsonl"])
def test_an_inspection_of_two_files_is_a_validation_and_a_quote(first: str, second: str) -> None:
    one, two = ROOT / "samples" / first, ROOT / "samples" / second
    result = inspect(JobFiles(str(one), str(two), MINI))
    assert comparable(result) == separately(one, MINI, two)
    assert result.hashes == (hash_file(str(one)), hash_file(str(two)))


@given(damaged_files)
@settings(max_examples=example_count(60))
def test_an_inspection_of_any_bytes_is_a_validation_and_a_quote(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "data.jsonl"
        path.write_bytes(data)
        result = inspect(JobFiles(str(path), None, MINI))
        assert comparable(result) == separately(path, MINI)
        assert result.hashes == (hashlib.sha256(data).hexdigest(), None)


class CountedFile(io.FileIO):
    """A file that counts the bytes that are read of it."""

    read_bytes = 0
    opened = 0

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        CountedFile.read_bytes += count or 0
        return count or 0

    def readall(self) -> bytes:
        raise AssertionError("the whole file was read at once")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[CountedFile]:
    def open_counted(path: str, mode: str = "rb") -> io.BufferedReader:
        CountedFile.opened += 1
        return io.BufferedReader(CountedFile(path), 1 << 16)

    monkeypatch.setattr(reader, "open", open_counted, raising=False)
    CountedFile.read_bytes = CountedFile.opened = 0
    return CountedFile


def test_a_file_is_opened_once_and_each_byte_is_read_once(
    write: Write, counted: type[CountedFile]
) -> None:
    path = write(chat_lines(3000))
    result = inspect(JobFiles(str(path), None, MINI))
    assert (counted.opened, counted.read_bytes) == (1, path.stat().st_size)
    assert result.hashes[0] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert result.report.files[0].examples == 3000


def test_a_file_that_is_no_dataset_is_hashed_in_one_read(
    write: Write, counted: type[CountedFile]
) -> None:
    path = write(b"%PDF-1.7\n" + b"x" * (3 << 20))
    result = inspect(JobFiles(str(path), None, MINI))
    assert (counted.opened, counted.read_bytes) == (1, path.stat().st_size)
    assert result.hashes[0] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert isinstance(result.quote_error, FileError)


def test_workers_are_handed_the_bytes_that_were_hashed(
    write: Write, counted: type[CountedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.validation.engines.PART_BYTES", 100_000)
    path = write(chat_lines(6000, {17: b"oops"}))
    alone = inspect(JobFiles(str(path), None, MINI), workers=1)
    counted.read_bytes = counted.opened = 0
    monkeypatch.setattr("ftkit.jobs.inspection.SinglePass", lambda path: SinglePass(path, 100_000))
    together = inspect(JobFiles(str(path), None, MINI), workers=2)
    assert (counted.opened, counted.read_bytes) == (1, path.stat().st_size)
    assert together == alone


def test_a_bounded_number_of_parts_is_in_flight(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.validation.engines.PART_BYTES", 10_000)
    path = write(chat_lines(3000))
    taken = done = most = 0

    def parts() -> Iterator[Part]:
        nonlocal taken, most
        for part in split(str(path), 10_000):
            taken += 1
            most = max(most, taken - done)
            yield part

    with open_engine(2, [path.stat().st_size]) as engine:
        for _ in engine.map(scan_rules, parts()):
            done += 1
    assert taken == done > 10
    assert most <= 2 * PARTS_PER_WORKER + 1


def scan_rules(part: Part) -> Summary:
    return scan(part, RULES_ONLY)


def test_what_is_added_to_a_file_after_its_end_was_read_is_not_hashed(write: Write) -> None:
    path = write(chat_lines(12))
    before = path.read_bytes()
    with SinglePass(str(path)) as source:
        summary = total(source.parts(), RULES_ONLY, "chat")
        with path.open("ab") as file:
            file.write(b"more\n")
        assert source.sha256() == hashlib.sha256(before).hexdigest()
    assert summary.size == len(before)


def test_a_pipe_and_a_compressed_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "data.jsonl.gz").touch()
    with pytest.raises(FileError, match="is not a regular file"):
        inspect(JobFiles(str(tmp_path / "pipe.jsonl"), None, MINI))
    with pytest.raises(FileError, match="unpack"):
        inspect(JobFiles(str(tmp_path / "data.jsonl.gz"), None, MINI))
    with pytest.raises(FileError, match="cannot open"):
        inspect(JobFiles(str(tmp_path / "none.jsonl"), None, MINI))
