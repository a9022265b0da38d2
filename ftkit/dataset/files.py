"""Checks of the files and objects that a user names, before they are read."""

from __future__ import annotations

import os
import stat

from ftkit.dataset.object_location import is_collapsed, is_url, parse_url
from ftkit.errors import FileError, did_you_mean, os_error_message


def find_file(path: str) -> str:
    """Return the path of a file that exists, or the object that a URL names.

    Raises:
        FileError: There is no such file or object.
    """
    if is_url(path):
        from ftkit.dataset.object_store import find_object

        return find_object(path)
    check_readable(path)
    return path


def check_readable(path: str) -> None:
    """Raise `FileError` if the path is not a file, naming files with similar names."""
    if os.path.isdir(path):
        names = sorted(name for name in _names_in(path) if name.endswith((".jsonl", ".jsonl.gz")))
        example = f", e.g. {os.path.join(path, names[0])!r}" if names else ""
        raise FileError(f"{path} is a folder; name one of its files{example}")
    if not os.path.exists(path):
        if is_collapsed(path):
            parse_url(path.replace(":/", "://", 1))  # it refuses one with a password, unseen
            raise FileError(f"no such file: {path}; give a URL as text, since a Path drops a slash")
        folder, name = os.path.split(path)
        siblings = _names_in(folder or ".")
        raise FileError(f"no such file: {path}{did_you_mean(name, siblings, folder=folder)}")


def _names_in(folder: str) -> list[str]:
    """Return the names in a folder, or none if it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def check_regular(path: str) -> None:
    """Raise `FileError` if the path is not a regular file, such as a pipe or a folder."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise FileError(f"cannot open {path}: {os_error_message(error)}") from error
    if not stat.S_ISREG(mode):
        raise FileError(f"{path} is not a regular file; write its content to one first")
