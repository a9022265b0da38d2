"""The samples are what they say they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit import validate
from support.paths import SAMPLES


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.jsonl")), ids=lambda path: path.name)
def test_a_sample_is_clean(path: Path) -> None:
    report = validate(path, grader=SAMPLES / "reinforcement-grader.json").files[0]
    assert set(report.counts) <= {"examples-few"}


@pytest.mark.parametrize(
    "path", sorted((SAMPLES / "bad").glob("*.jsonl")), ids=lambda path: path.stem
)
def test_a_bad_sample_breaks_the_rule_that_it_is_named_after(path: Path) -> None:
    counts = set(validate(path).files[0].counts)
    assert path.stem in counts
    assert counts <= {path.stem, "examples-few", "example-trained-tokens-cut"}
