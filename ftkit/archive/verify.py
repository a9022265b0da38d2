"""Integrity check of an archive against its manifest."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ftkit.archive.layout import INTERNAL, JOB, MANIFEST, PARTIAL, PROGRESS
from ftkit.archive.manifest import Manifest, read_manifest
from ftkit.archive.missing import RETRYABLE
from ftkit.archive.store import FileState, check_files
from ftkit.errors import FileError, os_error_message

MAX_DEPTH = 2
"""Depth of the deepest folders of an archive, `jobs/JOB`."""


class VerifyResult(Struct, frozen=True):
    """Result of an integrity check.

    Attributes:
        manifest: The manifest.
        bytes: Total size of the intact files.
        changed: Paths of files that differ from the manifest, or are no regular files of the
            archive, such as links.
        gone: Paths of files that no longer exist.
        unknown: Paths of files that the manifest does not list, and of folders, ending in `/`,
            that no archive has.
        interrupted: True if the last run did not finish.
    """

    manifest: Manifest
    bytes: int
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    unknown: tuple[str, ...]
    interrupted: bool

    @property
    def ok(self) -> bool:
        """True if every file is intact and another run has nothing left to try again."""
        retryable = any(item.reason in RETRYABLE for item in self.manifest.missing)
        return not (self.changed or self.gone or self.interrupted or retryable)


def verify(
    folder: str | os.PathLike[str],
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> VerifyResult:
    """Check every file of an archive by its hash.

    Args:
        folder: Folder of the archive.
        on_progress: Called with the number of checked files and of all files.

    Raises:
        FileError: The folder is not an archive, or it cannot be read.
    """
    root = Path(folder)
    manifest = read_manifest(root)
    paths: dict[FileState, list[str]] = {"changed": [], "gone": [], "intact": []}
    for number, (path, state) in enumerate(check_files(root, manifest.files), 1):
        paths[state].append(path)
        on_progress(number, len(manifest.files))
    if not _is_consistent(manifest):
        paths["changed"].append(MANIFEST)
    return VerifyResult(
        manifest=manifest,
        bytes=sum(manifest.files[path].size for path in paths["intact"]),
        changed=tuple(paths["changed"]),
        gone=tuple(paths["gone"]),
        unknown=tuple(_unknown_files(root, manifest)),
        interrupted=not manifest.finished or os.path.lexists(root / PROGRESS),
    )


def _is_consistent(manifest: Manifest) -> bool:
    """Return False if the manifest refers to files that it does not list, as ftkit never does."""
    job_files = {f"{folder}/{JOB}" for folder in manifest.jobs.values()}
    return {*manifest.contents.values(), *job_files} <= manifest.files.keys()


def _unknown_files(root: Path, manifest: Manifest) -> list[str]:
    """Return the paths of files that neither the manifest lists nor ftkit uses internally.

    Links to folders are not followed, and folders deeper than those of an archive are not entered.
    """
    unknown, folders = [], [""]
    while folders:
        folder = folders.pop()
        try:
            for entry in os.scandir(root / folder):
                path = folder + entry.name
                if path in manifest.files or _is_internal(entry, path):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    unknown.append(path)
                elif folder.count("/") < MAX_DEPTH:
                    folders.append(f"{path}/")
                else:
                    unknown.append(f"{path}/")
        except OSError as error:
            raise FileError(f"cannot read {root / folder}: {os_error_message(error)}") from error
    return sorted(unknown)


def _is_internal(entry: os.DirEntry[str], path: str) -> bool:
    """Return True for a regular file or a folder that ftkit uses internally."""
    mode = entry.stat(follow_symlinks=False).st_mode
    return path in INTERNAL and (stat.S_ISDIR(mode) if path == PARTIAL else stat.S_ISREG(mode))
