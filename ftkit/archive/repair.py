"""Repair of an archive at the start of a sync: damaged files and interrupted recordings."""

from __future__ import annotations

from collections.abc import Callable

from ftkit.archive import layout
from ftkit.archive.answers import (
    has_partial_answers,
    remove_redundant_partial_answers,
    write_training_data,
)
from ftkit.archive.manifest import Entry, ManifestUpdate
from ftkit.archive.store import check_files
from ftkit.archive.write import ArchiveWriter

PROGRESS_INTERVAL = 100
"""Files between two progress reports."""


class Repair:
    """Removes damaged files from the manifest, so that they are fetched again.

    Attributes:
        lost: Damaged files that could not be fetched again.
    """

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer, self._builder = writer, writer.builder
        self._removed: dict[str, tuple[Entry, list[str]]] = {}
        self.lost: list[str] = []

    @property
    def replaced(self) -> list[str]:
        """Damaged files that were fetched again."""
        return sorted(self._removed.keys() - set(self.lost))

    def remove_damaged(self, on_progress: Callable[[int, int], object]) -> set[str]:
        """Compare all files with the manifest, and remove those that differ from it.

        Returns:
            The ids of the jobs to fetch again.
        """
        manifest = self._builder.manifest
        job_ids = {folder: id for id, folder in manifest.jobs.items()}
        damaged_jobs, total = set(), len(manifest.files)
        states = check_files(self._writer.store.folder, manifest.files)
        for number, (path, state) in enumerate(states, 1):
            if number % PROGRESS_INTERVAL == 0 or number == total:
                on_progress(number, total)
            if state != "intact":
                folder, _, name = path.rpartition("/")
                self._removed[path] = self._builder.remove_file(path)
                if folder in job_ids and name not in (layout.README, layout.INDEX):
                    damaged_jobs.add(job_ids[folder])
        return damaged_jobs

    def adopt_answers(self) -> None:
        """Add the answers of an interrupted recording to the manifest.

        Answers that are damaged for another reason are not added.
        """
        store, manifest = self._writer.store, self._builder.manifest
        for id, folder in manifest.jobs.items():
            path = f"{folder}/{layout.ANSWERS}"
            is_damaged = path in self._removed and not has_partial_answers(store, folder)
            if path in manifest.files or is_damaged:
                continue
            entries = write_training_data(store, folder)
            if entries:
                self._writer.apply(ManifestUpdate(f"answers {id}", files=entries))
                remove_redundant_partial_answers(store, folder)

    def restore_lost(self) -> None:
        """List damaged files that could not be fetched again in the manifest.

        `verify` then reports them, and they can be restored from a copy.
        """
        manifest = self._builder.manifest
        for path, (entry, ids) in self._removed.items():
            name = path.rpartition("/")[2]
            if path in manifest.files or name in (layout.README, layout.INDEX):
                continue
            self.lost.append(path)
            contents = {id: path for id in ids if id not in manifest.contents}
            manifest.files[path] = entry
            manifest.contents.update(contents)
            for id in contents:
                self._writer.apply(ManifestUpdate(f"file {id}"))
        self.lost.sort()
