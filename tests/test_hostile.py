"""Hostile bytes stop nothing: each fault is found at its place, and the rest of the file is checked."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Write, example, lines

from ftkit import FileError, Finding, validate

GOOD = json.dumps(example(99)).encode()

AT_LINE_4 = {
    "encoding-utf16": GOOD.decode().encode("utf-16-le").replace(b"\n", b""),
    "encoding-invalid": GOOD.replace(b"follows", b"fol\xe9lows"),
    "json-control-char": GOOD.replace(b"follows", b"fol\x00lows"),
    "line-ending-cr": GOOD + b"\r" + GOOD.replace(b"99", b"97"),
    "json-too-deep": b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "json-number-range": GOOD.replace(b'"What follows 99?"', b"9" * 5000),
    "json-nonfinite": GOOD.replace(b'"What follows 99?"', b"NaN"),
    "json-lone-surrogate": GOOD.replace(b"follows", b"fol\\ud800lows"),
    "json-duplicate-key": GOOD.replace(b'"role": "user"', b'"role": "user", "role": "user"'),
    "json-not-object": b"17",
    "json-extra-data": GOOD + b" " + GOOD,
    "json-syntax": b"\xef\xbb\xbf" + GOOD,
    "line-blank": b"\t",
}


def found(path: Path) -> tuple[Finding, ...]:
    return tuple(each for each in validate(path).files[0].findings if each.rule != "examples-few")


@pytest.mark.parametrize("rule", AT_LINE_4)
def test_the_fault_is_found_at_its_line_and_the_rest_is_checked(rule: str, write: Write) -> None:
    findings = found(write(lines(20, {4: AT_LINE_4[rule], 9: {"messages": []}})))
    assert (rule, 4) in [(each.rule, each.line) for each in findings]
    assert ("messages-empty", 9) in [(each.rule, each.line) for each in findings]
    assert {each.line for each in findings} == {4, 9}


@pytest.mark.parametrize(
    "deep", [b"[" * 100_000, b'{"a":' * 100_000, b'{"messages": ' + b"[" * 2000]
)
def test_unclosed_nesting_is_an_error_and_no_recursion(deep: bytes, write: Write) -> None:
    findings = found(write(lines(12, {4: deep})))
    assert {(each.severity, each.line) for each in findings} == {("error", 4)}


def test_deep_but_readable_json_is_read(write: Write) -> None:
    deep = (
        b'{"messages": [{"role": "user", "content": "Hi"}], "answer": '
        + b"[" * 900
        + b"]" * 900
        + b"}"
    )
    rows = [
        json.dumps({"messages": [{"role": "user", "content": f"Q{n}"}], "answer": n}).encode()
        for n in range(12)
    ]
    assert found(write([*rows, deep])) == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_gets_one_finding(encoding: str, write: Write) -> None:
    findings = found(write(b"".join(line + b"\n" for line in lines(12)).decode().encode(encoding)))
    assert [(each.rule, each.line) for each in findings] == [("encoding-utf16", 0)]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (gzip.compress(GOOD), "file-compressed"),
        (b"PK\x03\x04abc", "file-compressed"),
        (b"", "file-empty"),
        (b" \n\n", "file-empty"),
        (json.dumps([example(1), example(2)]).encode(), "json-array-file"),
        (json.dumps([example(1), example(2)], indent=1).encode(), "json-array-file"),
        (json.dumps(example(1), indent=1).encode(), "json-pretty-printed"),
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
    assert [(each.rule, each.line) for each in found(write(content))] == [(rule, 0)]


def test_a_large_array_in_a_first_line_beyond_the_head_is_named(write: Write) -> None:
    big = json.dumps([example(n) for n in range(20_000)], indent=1).encode()
    assert [each.rule for each in found(write(big))] == ["json-array-file"]


def test_large_first_lines_do_not_hide_the_format(write: Write) -> None:
    text = "some words " * 110_000
    rows = [
        json.dumps({"prompt": f"{n} {text} ->", "completion": f" {n} {n} END"}).encode()
        for n in range(3)
    ]
    assert validate(write(rows), select=["format-mixed"]).files[0].format == "completions"


def test_gzip_is_read_where_the_name_says_so(write: Write) -> None:
    path = write(
        gzip.compress(b"".join(line + b"\n" for line in lines(12, {4: b"oops"}))), "data.jsonl.gz"
    )
    assert [(each.rule, each.line) for each in found(path)] == [("json-syntax", 4)]


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"not gzip at all"])
def test_a_damaged_gzip_file_is_a_problem_with_one_line(damage: object, write: Write) -> None:
    path = write(damage(gzip.compress(b"\n".join(lines(50)))), "data.jsonl.gz")  # type: ignore[operator]
    with pytest.raises(FileError, match="cannot read"):
        validate(path)


def test_blank_lines_are_errors_between_examples_and_warnings_at_the_end(write: Write) -> None:
    findings = found(write(lines(12, {5: b""}) + [b"", b"  "]))
    assert [(each.rule, each.line) for each in findings] == [
        ("line-blank", 5),
        ("line-blank-end", 13),
        ("line-blank-end", 14),
    ]


def test_a_file_that_was_cut_off_says_so_at_its_last_line(write: Write) -> None:
    data = b"\n".join(lines(12))
    for cut in (10, 30, 60):
        assert [(each.rule, each.line) for each in found(write(data[:-cut]))] == [
            ("json-truncated", 12)
        ]


def test_several_faults_of_a_line_are_all_found(write: Write) -> None:
    line = {
        "messages": [
            {"role": "human", "content": "<|endoftext|>"},
            {"role": "user", "content": None, "name": "a b"},
            {"role": "assistant", "content": "x", "weight": 2, "extra": 1},
        ],
        "id": 1,
    }
    rules = {each.rule for each in found(write(lines(12, {4: line})))}
    assert rules >= {
        "role-unknown",
        "special-token-text",
        "content-null",
        "weight-value",
        "message-unknown-key",
        "example-unknown-key",
    }


@pytest.mark.slow
def test_a_line_of_50_mb_is_checked_within_300_mb(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = lines(12)
    huge = json.dumps({**example(50), "id": "x " * 25_000_000}).encode()
    long = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "word " * 10_000_000},
                *example(1)["messages"][1:],
            ]
        }
    ).encode()
    for odd, rule in ((long, "example-too-long"), (huge, "example-unknown-key")):
        path.write_bytes(b"\n".join([*rows, odd, *lines(3, {1: b"oops"})]))
        code = (
            "import json, re, sys; from ftkit import validate; r = validate(sys.argv[1], workers=1).files[0];"
            "print(json.dumps([[f.rule, f.line] for f in r.findings])); "
            # not ru_maxrss, which begins with what the process that started this one held
            "print(re.search('VmHWM:[^0-9]*([0-9]+)', open('/proc/self/status').read())[1])"
        )
        out = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        ).stdout
        findings, peak = out.splitlines()
        assert [rule, 13] in json.loads(findings)
        assert ["json-syntax", 14] in json.loads(findings)
        assert int(peak) < 300 * 1024 or rule == "example-unknown-key"
