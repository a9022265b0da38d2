"""Lines with something odd, and what validation finds."""

from __future__ import annotations

import json
from pathlib import Path

from ftkit import Finding, validate
from support.examples import example

GOOD = json.dumps(example(99)).encode()


def found(path: Path) -> tuple[Finding, ...]:
    return tuple(each for each in validate(path).files[0].findings if each.rule != "examples-few")
