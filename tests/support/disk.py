"""Limits on disk space."""

from __future__ import annotations

import os

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
