"""Atomic writes of files and folders."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftkit.errors import FileError, os_error_message


def check_writable(path: str) -> None:
    """Raise `FileError` if no file can be written to `path`."""
    if os.path.isdir(path):
        raise FileError(f"cannot write {path}: is a directory")
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent):
            pass
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` on success.

    The temporary file is removed if the block raises. Its name is random, so it cannot be a file
    that somebody else keeps there.
    """
    temporary = _temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`, and rename it to `path` on success.

    The temporary folder is removed if the block raises. Its name is random, like that of
    `atomic_write`. `path` must not exist, or be an empty folder; its parents are created.
    """
    temporary = _temporary_path(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
