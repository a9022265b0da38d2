"""Types of the fixtures that are functions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

Write = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
