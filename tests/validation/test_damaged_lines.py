"""Damaged lines: each fault is found at its line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.lines import CLEAN_LINE, findings_of

AT_LINE_4 = {
    "encoding-utf16": CLEAN_LINE.decode().encode("utf-16-le").replace(b"\n", b""),
    "encoding-invalid": CLEAN_LINE.replace(b"follows", b"fol\xe9lows"),
    "json-control-char": CLEAN_LINE.replace(b"follows", b"fol\x00lows"),
    "line-ending-cr": CLEAN_LINE + b"\r" + CLEAN_LINE.replace(b"99", b"97"),
    "json-too-deep": b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "json-number-range": CLEAN_LINE.replace(b'"What follows 99?"', b"9" * 5000),
    "json-nonfinite": CLEAN_LINE.replace(b'"What follows 99?"', b"NaN"),
    "json-lone-surrogate": CLEAN_LINE.replace(b"follows", b"fol\\ud800lows"),
    "json-duplicate-key": CLEAN_LINE.replace(b'"role": "user"', b'"role": "user", "role": "user"'),
    "json-not-object": b"17",
    "json-extra-data": CLEAN_LINE + b" " + CLEAN_LINE,
    "json-syntax": b"\xef\xbb\xbf" + CLEAN_LINE,
    "line-blank": b"\t",
}


@pytest.mark.parametrize("rule", AT_LINE_4)
def test_the_fault_is_found_at_its_line_and_the_rest_is_checked(rule: str, write: Write) -> None:
    findings = findings_of(write(chat_lines(20, {4: AT_LINE_4[rule], 9: {"messages": []}})))
    assert (rule, 4) in [(finding.rule, finding.line) for finding in findings]
    assert ("messages-empty", 9) in [(finding.rule, finding.line) for finding in findings]
    assert {finding.line for finding in findings} == {4, 9}


@pytest.mark.parametrize(
    "deep", [b"[" * 100_000, b'{"a":' * 100_000, b'{"messages": ' + b"[" * 2000]
)
def test_unclosed_nesting_is_an_error_and_no_recursion(deep: bytes, write: Write) -> None:
    findings = findings_of(write(chat_lines(12, {4: deep})))
    assert {(finding.severity, finding.line) for finding in findings} == {("error", 4)}


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
    assert findings_of(write([*rows, deep])) == ()


def test_blank_lines_are_errors_between_examples_and_warnings_at_the_end(write: Write) -> None:
    findings = findings_of(write(chat_lines(12, {5: b""}) + [b"", b"  "]))
    assert [(finding.rule, finding.line) for finding in findings] == [
        ("line-blank", 5),
        ("line-blank-end", 13),
        ("line-blank-end", 14),
    ]


def test_a_file_that_was_cut_off_says_so_at_its_last_line(write: Write) -> None:
    data = b"\n".join(chat_lines(12))
    for cut in (10, 30, 60):
        assert [(finding.rule, finding.line) for finding in findings_of(write(data[:-cut]))] == [
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
    rules = {finding.rule for finding in findings_of(write(chat_lines(12, {4: line})))}
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
    rows = chat_lines(12)
    huge = json.dumps({**chat_example(50), "id": "x " * 25_000_000}).encode()
    long = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "word " * 10_000_000},
                *chat_example(1)["messages"][1:],
            ]
        }
    ).encode()
    for odd, rule in ((long, "example-too-long"), (huge, "example-unknown-key")):
        path.write_bytes(b"\n".join([*rows, odd, *chat_lines(3, {1: b"oops"})]))
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


def test_a_repeated_key_before_white_space_is_counted_once(write: Write) -> None:
    line = CLEAN_LINE.replace(b'"role": "user"', b'"role": "user", "role": "user"') + b" "
    findings = findings_of(write(chat_lines(20, {4: line})))
    assert sorted(finding.rule for finding in findings) == [
        "json-duplicate-key",
        "line-trailing-space",
    ]
