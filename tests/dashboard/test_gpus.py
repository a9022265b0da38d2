"""GPUs as NVML has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.nvml import build_nvml, needs_nvml

READ = """
import msgspec, sys
from ftkit.dashboard.gpus import read_gpus
sys.stdout.write(msgspec.json.encode([read_gpus(), read_gpus()]).decode())
"""


def read(**environment: str) -> Any:
    """The GPUs as a new process reads them, the second time."""
    process = subprocess.run(
        [sys.executable, "-c", READ],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
    )
    first, second = json.loads(process.stdout)
    assert first == second
    return second


def test_a_machine_without_a_driver_has_no_gpus() -> None:
    assert read() == {"gpus": [], "error": ""}


@needs_nvml
def test_gpus_are_read_and_what_one_does_not_have_is_left_out(tmp_path: Path) -> None:
    environment = build_nvml(tmp_path)
    (tmp_path / "pid").write_text("123")
    first, second = read(**environment, FTKIT_TEST_NVML_PID=str(tmp_path / "pid"))["gpus"]
    assert first == {
        "name": "NVIDIA H200",
        "used": 35 << 30,
        "total": 140 << 30,
        "utilization": 0.87,
        "celsius": 61,
        "processes": {"123": 2 << 30},
    }
    assert second["total"] == 140 << 30
    assert second["used"] == 0
    assert (second["utilization"], second["celsius"], second["processes"]) == (None, None, {})


@needs_nvml
def test_an_error_of_the_driver_is_a_reason(tmp_path: Path) -> None:
    environment = build_nvml(tmp_path)
    mismatch = read(**environment, FTKIT_TEST_NVML_ERROR="18")
    assert mismatch == {"gpus": [], "error": "RM has detected an NVML/RM version mismatch."}
    not_loaded = read(**environment, FTKIT_TEST_NVML_ERROR="9")
    assert not_loaded == {"gpus": [], "error": ""}
