"""Pages of an archive for people: the index of all jobs, a page for each job, and READMEs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftkit.archive.figures import figures_of
from ftkit.archive.index import render_index, render_job, render_row
from ftkit.archive.layout import INDEX, README
from ftkit.archive.manifest import Entry
from ftkit.archive.read import Archive, ArchivedJob
from ftkit.archive.readme import render_archive_readme, render_job_readme
from ftkit.archive.store import ArchiveStore
from ftkit.catalog import Catalog


def write_pages(
    archive: Archive,
    jobs: Sequence[ArchivedJob],
    store: ArchiveStore,
    catalog: Catalog,
    on_progress: Callable[[int, int], object],
) -> dict[str, Entry]:
    """Write the pages that have changed.

    Returns:
        The manifest entries of all pages.
    """
    archived, entries = archive.manifest.files, {}

    def write(path: str, text: str) -> None:
        entries[path] = store.write(path, text.encode("utf-8", "replace"), archived.get(path))

    rows = []
    for number, job in enumerate(jobs, 1):
        figures = figures_of(job, catalog)
        for name, render in ((README, render_job_readme), (INDEX, render_job)):
            path = f"{job.path}/{name}"
            if path in archived and not job.is_readable:
                entries[path] = archived[path]  # it was written when the job was still readable
            else:
                write(path, render(figures))
        rows.append(render_row(figures))
        on_progress(number, len(jobs))
    write(INDEX, render_index(archive, rows))
    write(README, render_archive_readme(archive))
    return entries
