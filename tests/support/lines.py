"""A clean line, and the findings of a file."""

from __future__ import annotations

import json
from pathlib import Path

from ftkit import Finding, validate
from support.examples import chat_example

CLEAN_LINE = json.dumps(chat_example(99)).encode()


def findings_of(path: Path) -> tuple[Finding, ...]:
    return tuple(
        finding for finding in validate(path).files[0].findings if finding.rule != "examples-few"
    )
