"""Access to the files of an archive, which may come from somebody else.

Only regular files inside the folder of the archive are opened: a link could lead anywhere, and a
device or a pipe may never end.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from ftkit._text import plural
from ftkit.archive.layout import MANIFEST, PARTIAL, is_safe
from ftkit.errors import FileError, os_error_message

MAX_BYTES = 128 << 20
"""Maximum size of a file that is read as a whole. The manifest of 40,000 jobs is smaller."""

KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
"""Names of the types of files; any other type is a device."""

OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
"""Neither follow a link nor wait for the other end of a pipe."""


class NotRegularFileError(FileError):
    """A link, a device or the like is in the place of a file or a folder of the archive."""


def resolve_path(folder: Path, path: str) -> Path:
    """Return the location of a path that a manifest names. The path itself need not exist.

    Raises:
        FileError: No archive has such a path; for example, it leads out of the archive.
        NotRegularFileError: A folder on the way is a link or a file.
    """
    if not is_safe(path):
        raise FileError(
            f"{folder / MANIFEST} contains the invalid path {path[:100]!r};"
            " do not trust this archive"
        )
    *parents, name = path.split("/")
    location = folder
    for parent in parents:
        location /= parent
        _check_type(location, stat.S_IFDIR)
    return location / name


def resolve_file(folder: Path, path: str) -> Path:
    """Return the location of a file that a manifest names, if it may be read. It need not exist.

    Raises:
        FileError: No archive has such a path; for example, it leads out of the archive.
        NotRegularFileError: It is no regular file, or a folder on the way is a link.
    """
    location = resolve_path(folder, path)
    _check_type(location, stat.S_IFREG)
    return location


def resolve_internal(folder: Path, name: str) -> Path:
    """Return the location of one of the `INTERNAL` files, or of the folder for partial downloads.

    Raises:
        NotRegularFileError: It is a link, or of another type.
    """
    location = folder / name
    _check_type(location, stat.S_IFDIR if name == PARTIAL else stat.S_IFREG)
    return location


def open_regular(location: Path) -> BufferedReader:
    """Open a regular file for reading.

    Raises:
        NotRegularFileError: It is a link, a folder, a device or a pipe.
        OSError: It cannot be opened.
    """
    _check_type(location, stat.S_IFREG)
    file = os.fdopen(os.open(location, OPEN_FLAGS), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotRegularFileError(f"{location} has been replaced while it was opened; try again")
    return file


def read_regular(location: Path) -> bytes:
    """Return the content of a regular file of at most `MAX_BYTES`.

    Raises:
        FileError: It cannot be read, it is larger, or it is not a regular file.
    """
    try:
        with open_regular(location) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise FileError(
                    f"cannot read {location}: it has {plural(size, 'byte')}, and at most"
                    f" {MAX_BYTES:,} are read"
                )
            return file.read()
    except OSError as error:
        raise FileError(f"cannot read {location}: {os_error_message(error)}") from error


def read_file(folder: Path, path: str) -> bytes:
    """Return the content of a file that a manifest names, as `read_regular` does."""
    return read_regular(resolve_path(folder, path))


def _check_type(location: Path, expected: int) -> None:
    """Raise `NotRegularFileError` if something of another type is at a location."""
    try:
        actual = stat.S_IFMT(os.lstat(location).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise FileError(f"cannot read {location}: {os_error_message(error)}") from error
    if actual != expected:
        raise NotRegularFileError(
            f"{location} is {KINDS.get(actual, 'a device')}, not {KINDS[expected]} of the archive;"
            " replace it by a copy of the original, or archive into a new folder"
        )
