"""Rows of JSON Lines that exceed a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.errors import FileError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.fix.fix import fix
from ftkit.prepare.rows import decode_row
from ftkit.prepare.show import show

MANY = b'{"messages": [%s0]}' % (b"0, " * 500_100)
DEEP = b'{"messages": %s%s}' % (b"[" * 960, b"]" * 960)


@pytest.mark.parametrize(
    ("line", "reason", "rule"),
    [
        (MANY, "too large: more than 500,000 JSON values", "line-too-large"),
        (DEEP, "nested more than 950 deep", "json-too-deep"),
    ],
    ids=["many", "deep"],
)
def test_a_line_that_exceeds_a_limit_is_rejected_for_that(
    tmp_path: Path, line: bytes, reason: str, rule: str
) -> None:
    audit = Audit()
    assert decode_row(line, Origin("x", 1), audit) is None
    assert [(entry.reason, entry.detail) for entry in audit.entries] == [(reason, "")]
    path = tmp_path / "in.jsonl"
    path.write_bytes(line)
    fixed = fix(path)
    assert list(fixed) == []
    assert [entry.reason for entry in fixed.audit.entries] == [f"{rule}: cannot be fixed"]
    with pytest.raises(FileError, match=rf"in.jsonl:1 cannot be read: {reason}$"):
        show(path)


def test_a_line_of_too_many_bytes_is_rejected_for_that() -> None:
    audit = Audit()
    assert decode_row(b'"%s"' % (b"a" * 64_000_000), Origin("x", 1), audit) is None
    [entry] = audit.entries
    assert entry.reason == "too large: more than 64 MB"
    assert entry.detail == "cut in the file of rejected rows, too"
