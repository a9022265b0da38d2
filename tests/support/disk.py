"""Limits on disk space."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

RUN_WITH_FILE_LIMIT = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[1:2] = []
runpy.run_module("ftkit", run_name="__main__")
"""
"""Runs ftkit where no file can become larger than so many bytes."""


def environment_without_coverage() -> dict[str, str]:
    """The environment for a process that is to run out of disk: measuring its coverage writes a file, too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@contextmanager
def small_file_system(folder: Path, size: int) -> Iterator[Path]:
    """Mount a file system of so many bytes; without the permission, skip the test."""
    if os.name != "posix" or os.geteuid():
        pytest.skip("only root may mount a file system")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
