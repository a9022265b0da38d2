"""`benchmarks/gpu.py` without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.training

ROOT = Path(__file__).resolve().parents[3]


def run_benchmark(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_without_a_gpu_there_is_nothing_to_check() -> None:
    assert run_benchmark() == "There is no CUDA device, so there is nothing to check.\n"


def test_all_checks_pass_with_a_tiny_model_on_the_cpu() -> None:
    output = run_benchmark("--cpu")
    assert "FAILED" not in output
    assert all(line.startswith("|") for line in output.splitlines()[2:])
    assert output.count("tokens/s") >= 4
