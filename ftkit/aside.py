"""Files that come to stand under their names whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftkit.errors import FileProblem


def check_place(path: str) -> None:
    """Raise `FileProblem` where no file can be written to `path`."""
    if os.path.isdir(path):
        raise FileProblem(f"cannot write {path}: is a directory")
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent):
            pass
    except OSError as error:
        raise FileProblem(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        ) from error


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A new name beside `path` to write to. What is there at the end becomes `path`; where anything is raised, it is removed."""
    aside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
