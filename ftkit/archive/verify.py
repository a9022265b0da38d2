"""Checking an archive: is every file what the manifest says, and what is not in it?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ftkit.archive.layout import JOB, MANIFEST, PROGRESS
from ftkit.archive.manifest import Manifest, read_manifest
from ftkit.archive.store import OWN, states
from ftkit.errors import FileError, os_error_message


class Verified(Struct, frozen=True):
    """What was found: `changed` and `gone` are paths of the manifest, `unknown` are files that it does not name.

    `interrupted`: the last run did not come to its end.
    """

    manifest: Manifest
    bytes: int
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    unknown: tuple[str, ...]
    interrupted: bool

    @property
    def ok(self) -> bool:
        """Whether every file is there as it was written, and nothing is missing that another run may get."""
        again = any(one.reason in ("failed", "incomplete") for one in self.manifest.missing)
        return not (self.changed or self.gone or self.interrupted or again)


def verify(
    folder: str | os.PathLike[str], told: Callable[[int, int], object] = lambda done, total: None
) -> Verified:
    """Check every file of the archive by its hash; raises `FileError` where there is none, or it cannot be read."""
    place = Path(folder)
    manifest = read_manifest(place)
    found: dict[str, list[str]] = {"changed": [], "gone": [], "intact": []}
    for number, (path, what) in enumerate(
        zip(manifest.files, states(place, manifest.files), strict=True), 1
    ):
        found[what].append(path)
        told(number, len(manifest.files))
    named = {*manifest.contents.values(), *(f"{folder}/{JOB}" for folder in manifest.jobs.values())}
    if not named <= manifest.files.keys():
        found["changed"].append(
            MANIFEST
        )  # nobody but ftkit writes it, and ftkit names no file that it does not list
    return Verified(
        manifest=manifest,
        bytes=sum(manifest.files[path].size for path in found["intact"]),
        changed=tuple(found["changed"]),
        gone=tuple(found["gone"]),
        unknown=tuple(_unknown(place, manifest)),
        interrupted=not manifest.finished or (place / PROGRESS).exists(),
    )


def _unknown(folder: Path, manifest: Manifest) -> list[str]:
    """The files that the manifest does not name, but for those that ftkit works with."""

    def cannot(error: OSError) -> None:
        raise FileError(f"cannot read {error.filename}: {os_error_message(error)}") from error

    found = []
    for place, folders, names in os.walk(folder, onerror=cannot):
        inner = os.path.relpath(place, folder)
        folders[:] = [name for name in folders if inner != "." or name not in OWN]
        paths = (name if inner == "." else f"{Path(inner).as_posix()}/{name}" for name in names)
        found += [path for path in paths if path not in manifest.files and path not in OWN]
    return sorted(found)
