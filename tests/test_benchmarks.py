"""The benchmarks of validation run, at a tiny size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the benchmarks use wait4"),
]


def run_benchmark(name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ftkit_is_compared_with_the_baseline() -> None:
    table = run_benchmark(
        "compare.py", "--sizes", "50KB", "--repeat", "1", "--starts", "1", "--memory-size", "0"
    )
    for row in ("chat 50KB | baseline", "chat 50KB | ftkit ", "`ftkit estimate samples"):
        assert f"| {row}" in table


def test_growth_is_measured(tmp_path: Path) -> None:
    sizes = ["--sizes", "20KB", "50KB", "--shapes", "gzip", "--shape-size", "20KB"]
    output, folder = tmp_path / "rows.json", tmp_path / "files"
    folder.mkdir()
    files = ["--dir", str(folder), "--output", str(output)]
    table = run_benchmark("growth.py", *sizes, "--workers", "1", "--repeat", "1", *files)
    assert "| 50KB |" in table
    assert "| gzip |" in table
    rows = json.loads(output.read_text("utf-8"))
    assert {"decode", "validate, 1", "estimate, 1"} <= {row["program"] for row in rows}
    assert not list(folder.iterdir())


@pytest.mark.parametrize("option", ["--ascii", "--no-defects"])
def test_options_that_a_shape_would_ignore_are_refused(option: str, tmp_path: Path) -> None:
    command = [sys.executable, "generate.py", str(tmp_path / "data.jsonl"), option]
    done = subprocess.run(
        [*command, "--shape", "small"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "benchmarks",
    )
    assert (done.returncode, "--shape cannot be combined" in done.stderr) == (2, True)


@pytest.mark.parametrize("shape", ["small", "large", "tools", "defects"])
def test_every_shape_can_be_generated(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    run_benchmark("generate.py", str(path), "--size", "1KB", "--shape", shape)
    assert path.stat().st_size >= 1000
