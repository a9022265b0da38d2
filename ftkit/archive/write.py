"""Write access to an archive: its folder together with its manifest.

read manifest → apply the updates of an interrupted run → apply new updates → pages → manifest
"""

from __future__ import annotations

from collections.abc import Callable

from ftkit._text import printable
from ftkit._version import __version__
from ftkit.archive import layout
from ftkit.archive.manifest import (
    Manifest,
    ManifestBuilder,
    ManifestUpdate,
    encode_manifest,
    read_manifest,
    read_progress,
)
from ftkit.archive.pages import write_pages
from ftkit.archive.read import Archive
from ftkit.archive.store import ArchiveStore
from ftkit.catalog import Catalog
from ftkit.errors import UsageError

TOOL = f"ftkit {__version__}"

MAX_NAME_LENGTH = 200
"""Maximum number of characters of an account or an organization id."""


class ArchiveWriter:
    """An archive that is being written. Use it within `with store.locked():`."""

    def __init__(self, store: ArchiveStore) -> None:
        """Read the manifest, and apply the updates of an interrupted run."""
        self.store = store
        self.builder = ManifestBuilder(read_manifest(store.folder))
        for update in read_progress(store.folder):
            self.builder.apply(update)
            self.builder.changed = True

    @classmethod
    def begin(cls, store: ArchiveStore, account: str, date: str) -> ArchiveWriter:
        """Begin a run that archives an account, into a new or an existing archive.

        Raises:
            UsageError: It is the archive of another account.
        """
        if not (store.folder / layout.MANIFEST).exists():
            empty = Manifest(tool=TOOL, account=account, date=date)
            store.write(layout.MANIFEST, encode_manifest(empty), fsync=True)
        writer = cls(store)
        manifest = writer.builder.manifest
        if manifest.account != account:
            raise UsageError(
                f"{store.folder} is the archive of {printable(manifest.account[:MAX_NAME_LENGTH])},"
                f" not of {account};"
                " choose another folder"
            )
        writer.builder.changed |= manifest.tool != TOOL or not manifest.finished
        manifest.date, manifest.tool, manifest.finished = date, TOOL, False
        return writer

    def apply(self, update: ManifestUpdate) -> None:
        """Log an update, and apply it to the manifest."""
        self.store.log(update)
        self.builder.apply(update)

    def finish(
        self,
        catalog: Catalog,
        on_progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> Manifest:
        """Write the manifest, and the pages if anything has changed."""
        builder = self.builder
        if builder.changed or layout.INDEX not in builder.manifest.files:
            self._write_pages(catalog, on_progress)
        builder.manifest.finished = True
        builder.manifest = builder.build()
        self.store.finish(encode_manifest(builder.manifest))
        return builder.manifest

    def _write_pages(self, catalog: Catalog, on_progress: Callable[[int, int], object]) -> None:
        archive = Archive(self.store.folder, self.builder.build(), lenient=True)
        jobs = archive.jobs()
        ids = {str(job.job.raw.get("organization_id") or "") for job in jobs} - {""}
        organizations = {printable(id[:MAX_NAME_LENGTH]) for id in ids}
        for manifest in (self.builder.manifest, archive.manifest):
            manifest.organizations = sorted(organizations)
        entries = write_pages(archive, jobs, self.store, catalog, on_progress)
        self.builder.manifest.files.update(entries)
