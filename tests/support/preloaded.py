"""Modules that the commands of ftkit import, for the server that forks them (see `commands`).

That server alone imports this module.
"""

from __future__ import annotations

import gc
import inspect
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import ftkit

LIBRARIES = (
    "h11",
    "httpcore",
    "httpcore2",
    "jsonschema",
    "numpy",
    "openai",
    "pytest",  # The main module of the tests, which each process runs again, imports it.
    "re2",
    "rich.progress",
    "sacrebleu",
)
"""Libraries that many commands import, of which some may not be installed."""

PACKAGES = (
    "archive",
    "cli",
    "client",
    "compare",
    "estimation",
    "jobs",
    "migration",
    "prepare",
    "report",
    "rules",
    "tokens",
    "validation",
)
"""Packages of ftkit with commands and what they run."""

OPTIONAL = "ray_"
"""Start of the names of modules that need Ray, whose threads no process that forks should have."""


def ftkit_modules() -> list[str]:
    """Return the names of the modules of these packages."""
    folder = Path(ftkit.__file__).parent
    paths = [path for package in PACKAGES for path in sorted((folder / package).rglob("*.py"))]
    return [
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if not path.name.startswith(OPTIONAL)
    ]


for module in (*LIBRARIES, *ftkit_modules(), "support.commands"):
    with suppress(ImportError):
        import_module(module)
# It fills caches of `inspect` with all modules, which coverage does in each process otherwise.
inspect.stack()
gc.freeze()  # Objects that are not visited stay in memory that the processes share.
