"""Commands in this process."""

from __future__ import annotations

import inspect
from typing import Any

from click.testing import CliRunner


def cli_runner() -> CliRunner:
    """Return a runner whose results have standard error apart, which click does since 8.2."""
    parameters = inspect.signature(CliRunner).parameters
    options: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in parameters else {}
    return CliRunner(**options)
