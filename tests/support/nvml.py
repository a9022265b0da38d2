"""NVIDIA's management library for machines without a GPU: a stand-in with two GPUs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.paths import ROOT

COMPILER = shutil.which("cc")

needs_nvml = pytest.mark.skipif(
    sys.platform != "linux" or COMPILER is None or find_spec("pynvml") is None,
    reason="needs Linux, a C compiler and nvidia-ml-py",
)


def build_nvml(folder: Path) -> dict[str, str]:
    """Compile the library. Return the environment of a process that finds it."""
    source, library = ROOT / "tests/support/nvml.c", folder / "libnvidia-ml.so.1"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_LIBRARY_PATH": str(folder)}
