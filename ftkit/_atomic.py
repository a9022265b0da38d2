"""Atomic writes of files and folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftkit.errors import FileError, os_error_message

MAX_LINKS = 40
"""Maximum number of symbolic links to follow, as on Linux."""


def check_writable(path: str) -> None:
    """Raise `FileError` if no file can be written to `path`, or it is write-protected.

    Nor may it be a pipe or a device, such as /dev/null, which an atomic write would replace, or a
    file descriptor, such as /dev/stderr: the file behind it would be replaced.
    """
    refuse_descriptor(path)
    if os.path.isdir(path):
        raise FileError(f"cannot write {path}: is a directory")
    if os.path.basename(path) in ("", ".", ".."):
        raise FileError(f"cannot write {path!r}: it is not the name of a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileError(f"cannot write {path}: is not a regular file")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise FileError(f"cannot write {path}: permission denied")
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
            pass
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error


def refuse_descriptor(path: str | os.PathLike[str]) -> None:
    """Raise `FileError` if a path is that of a file descriptor, or a link to one."""
    link = os.fspath(path)
    for _ in range(MAX_LINKS):
        folder = os.path.realpath(os.path.dirname(link))
        if folder == "/dev/fd" or folder.startswith("/proc/"):
            raise FileError(f"cannot write {path}: it is a file descriptor; name a file")
        if not os.path.islink(link):
            return
        link = os.path.join(folder, os.readlink(link))


@contextmanager
def temporary_file(folder: Path, name: str = "") -> Iterator[Path]:
    """Yield the path of a new temporary file in `folder`, and remove what is left of it at the end.

    Rename the file with `os.replace` when it is complete. Use `atomic_write` if its final path is
    known before it is written.
    """
    temporary = temporary_path(folder, name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(folder: Path, name: str = "") -> Path:
    """Return an unused path in `folder`: its random name cannot be that of somebody else's file."""
    # Importing `secrets` takes 6 ms, and every command imports this module.
    return folder / f".{name[:100]}.{os.urandom(8).hex()}.part"


@contextmanager
def atomic_write(path: Path, folder: Path | None = None, fsync: bool = False) -> Iterator[Path]:
    """Yield a temporary path, and rename the file written there to `path` on success.

    The temporary file is removed if the block raises.

    Args:
        path: The file to write.
        folder: Folder of the temporary file, on the same file system. Default: that of `path`.
        fsync: Flush the file to disk before it is renamed, so that it survives a power failure.
    """
    with temporary_file(folder or path.parent, path.name) as temporary:
        yield temporary
        if fsync:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def atomic_replace(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write atomically to a file that the user named: its mode and a link to it are kept.

    The temporary path may exist already, as an empty file with that mode.
    """
    refuse_descriptor(path)
    target = Path(os.path.realpath(path))
    with atomic_write(target) as temporary:
        if target.exists():
            temporary.touch(0o600, exist_ok=False)  # private until it has the mode
            shutil.copymode(target, temporary)
        yield temporary


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`, and rename it to `path` on success.

    The temporary folder is removed if the block raises. Its name is random, like that of
    `atomic_write`. `path` must not exist, or be an empty folder; its parents are created.
    """
    temporary = temporary_path(path.parent, path.name)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
