"""Progress of scans."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit import validate
from ftkit.cli.inputs import progress
from ftkit.dataset.object_location import RemoteObject
from ftkit.dataset.reader import BLOCK_BYTES, Part, split
from ftkit.summary import Summary
from ftkit.validation.engines import open_engine
from support.examples import chat_lines
from support.fixture_types import Write

SECONDS = 20.0
"""Seconds after which progress counts as not reported."""


def scan_until_reported(part: Part, advance: Callable[[int], None]) -> Summary:
    """Scan a part, and return once progress was reported."""
    advance(100)
    deadline = time.monotonic() + SECONDS
    while not Path(part.file + ".reported").exists():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)
    return Summary(size=100)


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_reported_before_the_first_part_is_scanned(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.validation.engines.PART_BYTES", 100)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 700)
    reported: list[int] = []

    def report(file: str, done: int) -> None:
        reported.append(done)
        Path(file + ".reported").touch()

    with open_engine(workers, [path.stat().st_size], report) as engine:
        summaries = list(engine.map(scan_until_reported, split(str(path), 100)))
    assert sum(reported) == sum(summary.size for summary in summaries) == 700


def test_progress_is_reported_for_each_block(write: Write) -> None:
    path = write(chat_lines(5000))
    reported: list[tuple[str, int]] = []
    validate(path, workers=1, progress=lambda file, done: reported.append((file, done)))
    assert {file for file, _ in reported} == {str(path)}
    assert sum(done for _, done in reported) == path.stat().st_size > 2 * BLOCK_BYTES
    assert len(reported) > 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_total_of_an_object_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress([RemoteObject("s3://b/a.jsonl", 4000, "")], quiet=False, min_size=0) as advance:
        advance("s3://b/a.jsonl", 2000)
        assert "2.0/4.0 kB" in sys.stderr.getvalue()


@pytest.mark.parametrize(
    ("name", "shown"), [("data.jsonl", "2.0/4.0 kB"), ("data.jsonl.gz", "2.0/? kB")]
)
def test_the_total_is_shown_unless_it_is_compressed(
    name: str, shown: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write(b"x" * 4000, name))
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress([path], quiet=False, min_size=0) as advance:
        advance(path, 2000)
        assert shown in sys.stderr.getvalue()
