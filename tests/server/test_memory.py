"""The memory of long lists and large uploads does not grow with them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from support.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "bench_service", ROOT / "benchmarks" / "service.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def port(bench: ModuleType) -> Iterator[int]:
    with bench.serving() as number:
        yield number


@pytest.mark.parametrize("output", ["text", "json"])
def test_ten_times_as_many_jobs_take_no_more_memory(
    output: str, bench: ModuleType, port: int, tmp_path: Path
) -> None:
    command = ["jobs", "list", "--all", "--output", output]
    few, _ = bench.peak(command, bench.environment(port, 1_000, str(tmp_path)))
    many, _ = bench.peak(command, bench.environment(port, 10_000, str(tmp_path)))
    assert many < few * 1.1


MOST = 100
"""MiB that ftkit may have for an upload of a file of any size that goes in one request; it takes about 60."""


def test_an_upload_is_streamed(bench: ModuleType, port: int, tmp_path: Path) -> None:
    path = bench.holes(tmp_path / "a.jsonl", 200_000_000)
    most, _ = bench.peak(
        ["files", "upload", path], bench.environment(port, 1, str(tmp_path / "state"))
    )
    assert most < MOST


def test_an_upload_in_parts_holds_few_of_them(bench: ModuleType, port: int, tmp_path: Path) -> None:
    path = bench.holes(tmp_path / "a.jsonl", 600_000_000)
    most, _ = bench.peak(
        ["files", "upload", path], bench.environment(port, 1, str(tmp_path / "state"))
    )
    assert most < 300
