"""The C extensions, compiled from their code for other compilers and machines."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def compile_portable(name: str, folder: Path) -> Any:
    """Return the extension module of a name, such as `ftkit.dataset._plain`."""
    pytest.importorskip("setuptools")
    command = [
        *(sys.executable, "setup.py", "-q", "build_ext", "--define", "FTKIT_BYTEWISE"),
        *("--build-lib", str(folder), "--build-temp", str(folder / "objects")),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    *packages, module = name.split(".")
    (path,) = folder.joinpath(*packages).glob(f"{module}*")
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec
    assert spec.loader
    portable = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(portable)
    return portable
