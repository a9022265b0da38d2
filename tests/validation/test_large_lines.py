"""Lines and files that are too large to be held in memory."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from ftkit import FileReport, validate
from ftkit.catalog import find_limits
from ftkit.dataset import reader
from ftkit.dataset.reader import FileRanges, Shard, SinglePass, blocks
from ftkit.rules import RULES, ScanPlan
from ftkit.rules.samples import user_says
from ftkit.validation.scan import summarize
from support.examples import chat_lines
from support.fixture_types import Write

LIMIT = 20_000
"""Maximum bytes of a line in these tests."""


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("reader", "lenient_json"):
        monkeypatch.setattr(f"ftkit.dataset.{module}.MAX_LINE_BYTES", LIMIT)
    for name in ("detect", "lenient_json"):
        monkeypatch.setattr(f"ftkit.dataset.{name}.HEAD_BYTES", 1000, raising=False)
    for name in ("ftkit.dataset.lenient_json", "ftkit.validation.scan"):
        monkeypatch.setattr(f"{name}.MAX_VALUES", 10_000)
    monkeypatch.setattr("ftkit.dataset.reader.SKIP_BYTES", 700)
    monkeypatch.setattr("ftkit.dataset.reader.BLOCK_BYTES", 3000)


def long_line(size: int) -> bytes:
    begin, end = b'{"messages": [{"role": "user", "content": "', b'"}]}'
    return begin + b"a" * (size - len(begin) - len(end)) + end


def report(path: object) -> FileReport:
    return validate(str(path), workers=1).files[0]


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 2, LIMIT + 700, 5 * LIMIT])
@pytest.mark.parametrize("at", [0, 7, 19])
@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz"])
def test_a_line_that_is_too_large_is_reported_and_the_others_are_checked(
    size: int, at: int, name: str, write: Write
) -> None:
    lines = chat_lines(20)
    lines[at] = long_line(size)
    lines[12] = b"{}" if at != 12 else lines[12]
    data = b"\n".join(lines) + b"\n"
    result = report(write(gzip.compress(data) if name.endswith(".gz") else data, name))
    found = {(row.rule, row.line) for row in result.findings if row.severity == "error"}
    assert found == {("line-too-large", at + 1), ("messages-missing", 13)}
    assert (result.lines, result.bytes, result.examples) == (20, len(data), 20)


def test_a_line_of_the_greatest_size_is_checked(write: Write) -> None:
    lines = [*chat_lines(20), long_line(LIMIT)]
    assert "line-too-large" not in report(write(lines)).counts


def test_a_first_line_that_is_too_large_does_not_hide_the_format(write: Write) -> None:
    result = report(write([long_line(5 * LIMIT), *chat_lines(20)]))
    assert (result.format, set(result.counts)) == ("chat", {"line-too-large", "examples-few"})


def test_shards_and_one_pass_give_the_same_summary(write: Write) -> None:
    data = b"\n".join([*chat_lines(20), long_line(5 * LIMIT), b"", *chat_lines(20)])
    path = str(write(data))
    plan = ScanPlan(find_limits(), rules=frozenset(RULES))
    whole = summarize(FileRanges(path).parts(), plan)
    shards = [Shard(path, start, min(start + 900, len(data))) for start in range(0, len(data), 900)]
    assert summarize(shards, plan) == whole
    assert sum(block.size for shard in shards for block in blocks(shard)) == len(data)
    with SinglePass(path, 900) as source:
        assert source.head().data
        assert summarize(source.parts(), plan) == whole
        assert source.sha256() == hashlib.sha256(data).hexdigest()


def test_a_line_of_too_many_values_is_reported(write: Write) -> None:
    many = b'{"messages": [' + b"1," * 10_500 + b"1]}"
    assert report(write([*chat_lines(20), many])).counts["line-too-large"] == 1
    text = long_line(LIMIT).replace(b"aa", b"a,")
    assert "line-too-large" not in report(write([*chat_lines(20), text])).counts


def test_a_line_with_very_many_faults_is_reported_in_part(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.validation.schema_errors.MAX_PLACES", 50)
    monkeypatch.setattr("ftkit.validation.slow_path.MAX_PLACES", 50)
    many = b'{"messages": [' + b"1," * 100 + b"1]}"
    assert report(write([*chat_lines(20), many])).counts["message-type"] == 50


def test_blank_lines_are_counted_and_the_first_ones_listed(write: Write) -> None:
    data = b"\n".join([*chat_lines(20), *[b""] * 5000, b" ", b"", *chat_lines(20)])
    result = report(write(data))
    lines = [row.line for row in result.findings if row.rule == "line-blank"]
    assert result.counts["line-blank"] == 5002
    assert lines == [0, *range(21, 1021)] or lines == [*range(21, 1021)]
    assert reader.BLOCK_BYTES == 3000


def test_the_findings_that_are_kept_are_those_of_the_first_lines(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.validation.linter.BLOCK_BYTES", 3000)
    address = "Write to jo@corp.io. "
    lines = [user_says(address * times) for times in (1, 1, 500)]
    result = validate(write("\n".join(lines).encode()), max_findings=2, select=["secret"])
    assert [finding.line for finding in result] == [1, 2]
