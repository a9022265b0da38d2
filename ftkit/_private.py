"""Folders and files that only their owner can read, whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
"""Permissions of what holds training data."""


def make_private_folder(path: Path) -> None:
    """Create a private folder and its parents. A folder that exists keeps its permissions.

    Raises:
        OSError: The folder cannot be created, or a file is in its place.
    """
    try:
        path.mkdir(mode=PRIVATE_FOLDER)
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_private_folder(path.parent)
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except FileExistsError:
        if not path.is_dir():
            raise


def open_private(path: Path, mode: str = "xb", buffering: int = -1) -> IO[bytes]:
    """Open a private file for writing. A link in its place is not followed.

    Args:
        path: Path of the file.
        mode: "xb" for a new file; "ab" to append to one that may exist, or "wb" to replace it.
        buffering: As for `open`.

    Raises:
        OSError: The file cannot be opened, or a link is in its place.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), PRIVATE_FILE)

    return open(path, mode, buffering, opener=opener)
