"""Encodings, packed files and other kinds of files."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise

import pytest

from ftkit import FileError, validate
from ftkit.dataset.reader import MAX_SHARDS, PART_BYTES, SinglePass, read_head, shards_of
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.lines import CLEAN_LINE, findings_of


@pytest.mark.parametrize("size", [0, 1, (16 << 20) + 1, 5 * 10**12, 2**63 - 1])
def test_the_shards_of_a_file_of_any_size_are_few_and_complete(size: int) -> None:
    shards = shards_of("data.jsonl", size, PART_BYTES)
    assert len(shards) <= MAX_SHARDS
    assert (shards[0].start, shards[-1].end) == (0, size)
    assert all(one.end == other.start for one, other in pairwise(shards))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_gets_one_finding(encoding: str, write: Write) -> None:
    findings = findings_of(
        write(b"".join(line + b"\n" for line in chat_lines(12)).decode().encode(encoding))
    )
    assert [(finding.rule, finding.line) for finding in findings] == [("encoding-utf16", 0)]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (gzip.compress(CLEAN_LINE), "file-compressed"),
        (b"PK\x03\x04abc", "file-compressed"),
        (b"", "file-empty"),
        (b" \n\n", "file-empty"),
        (json.dumps([chat_example(1), chat_example(2)]).encode(), "json-array-file"),
        (json.dumps([chat_example(1), chat_example(2)], indent=1).encode(), "json-array-file"),
        (json.dumps(chat_example(1), indent=1).encode(), "json-pretty-printed"),
        (b"prompt,completion\nHi,Hello\n", "format-unknown"),
        (b"Just some text.\nAnd more.\n", "format-unknown"),
        (b'{"instruction": "Add", "input": "1 2", "output": "3"}\n' * 12, "format-unknown"),
        (b'{"contents": [{"role": "user", "parts": []}]}\n' * 12, "format-unknown"),
        (
            b'{"schemaVersion": "bedrock-conversation-2024", "messages": []}\n' * 12,
            "format-unknown",
        ),
        (b'{"custom_id": "1", "body": {"messages": []}}\n' * 12, "format-unknown"),
        (b'{"model": "x", "input": "Hi"}\n' * 12, "format-unknown"),
        (b'{"text": "Hi"}\n' * 12, "format-unknown"),
        (b'[{"role": "user", "content": "Hi"}]\n' * 12, "format-unknown"),
        (b'{"a": 1}\n' * 12, "format-unknown"),
    ],
)
def test_a_file_of_another_kind_gets_one_finding_that_names_it(
    content: bytes, rule: str, write: Write
) -> None:
    assert [(finding.rule, finding.line) for finding in findings_of(write(content))] == [(rule, 0)]


def test_a_large_array_in_a_first_line_beyond_the_head_is_named(write: Write) -> None:
    big = json.dumps([chat_example(n) for n in range(20_000)], indent=1).encode()
    assert [finding.rule for finding in findings_of(write(big))] == ["json-array-file"]


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("size", [1_000_000, 1_100_000, 3_000_000])
def test_an_array_on_one_line_is_named_whatever_its_size(size: int, end: str, write: Write) -> None:
    rows = [chat_example(n) for n in range(size // len(json.dumps(chat_example(1))))]
    (finding,) = findings_of(write((json.dumps(rows) + end).encode()))
    assert (finding.rule, finding.line) == ("json-array-file", 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"one\ntwo\n",
        b"one\ntwo",
        b"x" * 70,
        b"x" * 70 + b"\n",
        b"x" * 70 + b"\ny",
        b"x" * 31 + b"\n",
        b"x" * 31 + b"\ny" * 40,
        b"xyz\n" * 8,
        b"xyz\n" * 9,
        b"x" * 32 + b"\n",
    ],
)
def test_a_head_is_the_same_read_by_itself_and_on_the_way(
    data: bytes, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.dataset.reader.HEAD_BYTES", 32)
    path = str(write(data))
    head = read_head(path)
    with SinglePass(path) as source:
        other = source.head()
    assert (other.data, other.complete) == (head.data, head.complete)
    assert head.complete == (head.data == data)


def test_large_first_lines_do_not_hide_the_format(write: Write) -> None:
    text = "some words " * 110_000
    rows = [
        json.dumps({"prompt": f"{n} {text} ->", "completion": f" {n} {n} END"}).encode()
        for n in range(3)
    ]
    assert validate(write(rows), select=["format-mixed"]).files[0].format == "completions"


def test_gzip_is_read_where_the_name_says_so(write: Write) -> None:
    path = write(
        gzip.compress(b"".join(line + b"\n" for line in chat_lines(12, {4: b"oops"}))),
        "data.jsonl.gz",
    )
    assert [(finding.rule, finding.line) for finding in findings_of(path)] == [("json-syntax", 4)]


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"not gzip at all"])
def test_a_damaged_gzip_file_is_a_problem_with_one_line(damage: object, write: Write) -> None:
    path = write(damage(gzip.compress(b"\n".join(chat_lines(50)))), "data.jsonl.gz")  # type: ignore[operator]
    with pytest.raises(FileError, match="cannot read"):
        validate(path)
