"""Integrity check of an archive against its manifest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ftkit.archive.layout import JOB, MANIFEST, PROGRESS
from ftkit.archive.manifest import Manifest, read_manifest
from ftkit.archive.missing import RETRYABLE
from ftkit.archive.store import INTERNAL, FileState, check_files
from ftkit.errors import FileError, os_error_message


class VerifyResult(Struct, frozen=True):
    """Result of an integrity check.

    Attributes:
        manifest: The manifest.
        bytes: Total size of the intact files.
        changed: Paths of files that differ from the manifest.
        gone: Paths of files that no longer exist.
        unknown: Paths of files that the manifest does not list.
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
        interrupted=not manifest.finished or (root / PROGRESS).exists(),
    )


def _is_consistent(manifest: Manifest) -> bool:
    """Return False if the manifest refers to files that it does not list, as ftkit never does."""
    job_files = {f"{folder}/{JOB}" for folder in manifest.jobs.values()}
    return {*manifest.contents.values(), *job_files} <= manifest.files.keys()


def _unknown_files(root: Path, manifest: Manifest) -> list[str]:
    """Return the paths of files that neither the manifest lists nor ftkit uses internally."""

    def fail(error: OSError) -> None:
        raise FileError(f"cannot read {error.filename}: {os_error_message(error)}") from error

    unknown = []
    for folder, subfolders, names in os.walk(root, onerror=fail):
        relative = os.path.relpath(folder, root)
        subfolders[:] = [name for name in subfolders if relative != "." or name not in INTERNAL]
        prefix = "" if relative == "." else f"{Path(relative).as_posix()}/"
        paths = (prefix + name for name in names)
        unknown += [path for path in paths if path not in manifest.files and path not in INTERNAL]
    return sorted(unknown)
