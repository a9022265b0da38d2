"""Commands of ftkit as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


def run_ftkit(
    *arguments: str, input: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ftkit", *arguments],
        input=input,
        capture_output=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
