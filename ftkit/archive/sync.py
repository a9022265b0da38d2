"""Saving an account into an archive: what is there is checked, what is new is fetched, and the manifest says what is what.

    check → list → plan → jobs and files, four at a time → models → pages → manifest

A run that is stopped at any moment loses nothing: the next one goes on.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from ftkit._version import __version__
from ftkit.archive import layout
from ftkit.archive.answer_files import entries, settle, was_interrupted
from ftkit.archive.fetch import Collector, reason_of, to_json
from ftkit.archive.manifest import (
    STAYS,
    Book,
    Entry,
    Manifest,
    Missing,
    Step,
    encode,
    read_manifest,
    read_progress,
)
from ftkit.archive.pages import write_pages
from ftkit.archive.read import Archive, parse
from ftkit.archive.store import AT_ONCE, Store, entry_of, states
from ftkit.catalog import Catalog, load_catalog
from ftkit.client.client import Client
from ftkit.client.resources import Job, RemoteFile
from ftkit.client.retry import Retry
from ftkit.errors import ProviderError, UsageError

Told = Callable[[str, int, int], object]
"""Told what is done, how many steps of it are over, and how many there are."""


class Wanted(Struct, frozen=True):
    """Which jobs: created on `since` (UTC) or later, of that status; and whether their training and validation files, too."""

    since: datetime.date | None = None
    status: str | None = None
    files: bool = True

    @property
    def everything(self) -> bool:
        """Whether it is all that the account holds."""
        return self.since is None and self.status is None

    def takes(self, job: Job) -> bool:
        """Whether the job is one of them."""
        begin = (
            datetime.datetime.combine(self.since, datetime.time(), datetime.UTC).timestamp()
            if self.since
            else None
        )
        return (begin is None or job.created_at >= begin) and self.status in (None, job.status)


class Saved(Struct, frozen=True):
    """What a run has done, and the manifest as it is now.

    The service has `listed_jobs`, of which `left_out_jobs` were not `wanted`. `new_jobs` were not in the archive before,
    `fetched_jobs` are those and all that were looked at again. `replaced` are the files that were not as the manifest says and are
    now; `damaged` those that could not be had again.
    """

    folder: Path
    manifest: Manifest
    wanted: Wanted
    listed_jobs: int
    left_out_jobs: int
    new_jobs: int
    fetched_jobs: int
    fetched_files: int
    replaced: tuple[str, ...]
    damaged: tuple[str, ...]

    def again(self) -> Saved:
        """The same, with the manifest as it is on the disk by now."""
        return msgspec.structs.replace(self, manifest=read_manifest(self.folder))

    @property
    def unfinished(self) -> list[Missing]:
        """What another run may get."""
        return [one for one in self.manifest.missing if one.reason in ("failed", "incomplete")]


def save(
    client: Client,
    folder: Path,
    wanted: Wanted | None = None,
    *,
    now: datetime.datetime | None = None,
    catalog: Catalog | None = None,
    told: Told = lambda what, done, total: None,
    sleep: Callable[[float], object] | None = None,
) -> Saved:
    """Bring the archive in `folder` up to date, or begin one. Nothing is changed at the service.

    Raises:
        UsageError: The folder holds something else, or the archive of another account.
        FileError: The folder cannot be written, e.g. since the disk is full.
        ProviderError: The service refuses the key, or to list the jobs.
        UnreachableError: The service does not answer any more.
    """
    store = Store(folder)
    with store.alone():
        day = f"{now or datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
        book = _begin(store, client.account, day)
        run = _Run(client, store, book, wanted or Wanted(), told, sleep or _sleeper(store))
        try:
            run.collect()
        finally:
            store.stopping.set()
        conclude(
            store,
            book,
            catalog or load_catalog(),
            lambda done, total: told("writing pages", done, total),
        )
        replaced = tuple(sorted(set(run.dropped) - set(run.damaged)))
        return Saved(
            folder,
            book.manifest,
            run.wanted,
            run.listed,
            run.left_out,
            run.new,
            run.jobs,
            run.files,
            replaced,
            tuple(sorted(run.damaged)),
        )


def _sleeper(store: Store) -> Callable[[float], object]:
    """Sleeps until the run is to end."""
    return store.stopping.wait


def _begin(store: Store, account: str, day: str) -> Book:
    """What is known of the archive, which may be new."""
    if not (store.folder / layout.MANIFEST).exists():
        fresh = Manifest(tool=f"ftkit {__version__}", account=account, date=day)
        store.write(layout.MANIFEST, encode(fresh), safe=True)
    manifest = read_manifest(store.folder)
    if manifest.account != account:
        raise UsageError(
            f"{store.folder} is the archive of {manifest.account}, and this is {account}; name another folder"
        )
    book = Book(manifest)
    book.changed = manifest.tool != f"ftkit {__version__}" or not manifest.finished
    for step in read_progress(store.folder):
        book.take(step)
        book.changed = True
    manifest.date, manifest.tool, manifest.finished = day, f"ftkit {__version__}", False
    return book


def conclude(
    store: Store,
    book: Book,
    catalog: Catalog,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Write the pages, where anything has changed, and the manifest."""
    if book.changed or layout.INDEX not in book.manifest.files:
        archive = Archive(store.folder, book.whole(), lenient=True)
        jobs = archive.jobs()
        names = {str(each.job.raw.get("organization_id") or "") for each in jobs}
        book.manifest.organizations = archive.manifest.organizations = sorted(names - {""})
        book.manifest.files.update(write_pages(archive, jobs, store, catalog, told))
    book.manifest.finished = True
    book.manifest = book.whole()
    store.conclude(encode(book.manifest))


class _Run:
    """One run."""

    def __init__(
        self,
        client: Client,
        store: Store,
        book: Book,
        wanted: Wanted,
        told: Told,
        sleep: Callable[[float], object],
    ) -> None:
        self.store, self.book, self.wanted, self.told = store, book, wanted, told
        self.collector = Collector(client, store, book, Retry(sleep))
        self.client = self.collector.client
        self.dropped: dict[str, tuple[Entry, list[str]]] = {}
        self.damaged: list[str] = []
        self.listed = self.left_out = self.new = self.jobs = self.files = 0

    def collect(self) -> None:
        """Fetch what is new."""
        harmed = self._check()
        self._adopt_answers()
        jobs = self._list_jobs()
        listed = self._list_files() if self.wanted.files else {}
        planned = [job for job in jobs if self._wants(job, harmed)]
        self.jobs, self.new = (
            len(planned),
            sum(job.id not in self.book.manifest.jobs for job in planned),
        )
        self._do("fetching jobs", [partial(self.collector.job, job) for job in planned])
        ids = [id for id in self._files(jobs, listed) if self._wants_file(id, listed)]
        if self.wanted.files:
            self.files = len(ids)
            self._do(
                "fetching files", [partial(self.collector.file, id, listed.get(id)) for id in ids]
            )
        else:
            for id in ids:
                self._take(
                    Step(f"file {id}", missing=(Missing("file", id, "left out", "--no-files"),))
                )
        self._models()
        self._records(listed)
        self._restore()

    def _check(self) -> set[str]:
        """Compare what is here with the manifest, forget what differs, and return the jobs to fetch again."""
        known = self.book.manifest
        folders = {folder: id for id, folder in known.jobs.items()}
        harmed: set[str] = set()
        paths = list(known.files)
        for number, (path, found) in enumerate(
            zip(paths, states(self.store.folder, known.files), strict=True), 1
        ):
            if number % 100 == 0 or number == len(paths):
                self.told("checking", number, len(paths))
            if found != "intact":
                folder, _, name = path.rpartition("/")
                self.dropped[path] = self.book.drop(path)
                harmed |= (
                    {folders[folder]} if folder in folders and name != layout.README else set()
                )
        return harmed

    def _restore(self) -> None:
        """Keep what differs and could not be had again in the manifest: `verify` names it, and a copy may bring it back."""
        for path, (entry, ids) in self.dropped.items():
            if path not in self.book.manifest.files and path.rpartition("/")[2] not in (
                layout.README,
                layout.INDEX,
            ):
                self.damaged.append(path)
                contents = {id: path for id in ids if id not in self.book.manifest.contents}
                self.book.manifest.files[path] = entry
                self.book.manifest.contents.update(contents)
                for id in contents:
                    self._take(Step(f"file {id}"))

    def _adopt_answers(self) -> None:
        """Take in answers that a run has kept which did not come to its end; what is damaged otherwise is not taken in."""
        for id, folder in self.book.manifest.jobs.items():
            path = f"{folder}/{layout.ANSWERS}"
            if path in self.book.manifest.files or (
                path in self.dropped and not was_interrupted(self.store, folder)
            ):
                continue
            found = entries(self.store, folder)
            if found:
                self._take(Step(f"answers {id}", files=found))
                settle(self.store, folder)

    def _list_jobs(self) -> list[Job]:
        found: dict[str, Job] = {}
        for job in self.client.jobs():
            if job.id:
                found.setdefault(job.id, job)
            self.told("listing jobs", len(found), 0)
        wanted = [job for job in found.values() if self.wanted.takes(job)]
        self.listed, self.left_out = len(found), len(found) - len(wanted)
        return wanted

    def _list_files(self) -> dict[str, RemoteFile]:
        """The files that the service lists; none where it refuses to: each is asked for by its id then."""
        try:
            return {file.id: file for file in self.client.files() if file.id}
        except ProviderError as problem:
            if problem.status in (0, 401):
                raise
            return {}

    def _wants(self, job: Job, harmed: set[str]) -> bool:
        """Whether there may be anything new of the job."""
        path = f"{layout.folder_of(job.id)}/{layout.JOB}"
        known = self.book.manifest.files.get(path)
        if (
            not job.is_over
            or job.id in harmed
            or known is None
            or known != entry_of(to_json(job.raw))
        ):
            return True
        again = [one for one in self.book.missing(f"job {job.id}") if one.reason not in STAYS]
        hidden = [one for one in again if one.what == "permissions" and one.reason == "forbidden"]
        return len(again) > len(hidden) or (bool(hidden) and self._may_see(hidden[0].id))

    def _may_see(self, checkpoint: str) -> bool:
        """Whether the key may see permissions by now; asked once."""
        seen = self.collector.permissions
        if seen.refused is None:
            try:
                list(self.client.permissions(checkpoint))
                seen.allow()
            except ProviderError as problem:
                seen.refuse(problem)
        return seen.refused is None

    def _files(self, jobs: Iterable[Job], listed: dict[str, RemoteFile]) -> list[str]:
        """The ids of the files that belong to fine-tuning: those of the jobs, and where everything is wanted, all others."""
        results = {id for job in jobs for id in job.result_files}
        used = (id for job in jobs for id in (job.training_file, job.validation_file) if id)
        others = (
            id
            for id, file in listed.items()
            if file.purpose.startswith("fine-tune") and id not in results
        )
        return list(dict.fromkeys([*used, *(others if self.wanted.everything else ())]))

    def _wants_file(self, id: str, listed: dict[str, RemoteFile]) -> bool:
        missing = self.book.missing(f"file {id}")
        if id in self.book.manifest.contents:
            return self.wanted.files and any(one.reason not in STAYS for one in missing)
        return id in listed or not any(one.reason in STAYS for one in missing)

    def _models(self) -> None:
        """The models as the service sends them; those that it shows no more stay."""
        known = self._known(layout.MODELS)
        try:
            known |= {model.id: model.raw for model in self.client.models()}
        except ProviderError as problem:
            said = problem.said or str(problem)
            self._take(
                Step(
                    "models ", missing=(Missing("models", "", reason_of(problem, "models"), said),)
                )
            )
            return
        self._put("models ", layout.MODELS, known)

    def _records(self, listed: dict[str, RemoteFile]) -> None:
        """What the service knows of the files that are archived."""
        known = self._known(layout.FILES)
        fresh = {id: file.raw for id, file in listed.items()} | self.book.raws
        known |= {
            id: raw
            for id, raw in fresh.items()
            if id in self.book.manifest.contents or self.book.missing(f"file {id}")
        }
        self._put("records ", layout.FILES, known)

    def _known(self, path: str) -> dict[str, dict[str, object]]:
        if path not in self.book.manifest.files:
            return {}
        return {str(raw.get("id") or ""): raw for raw in parse(self.store.read(path), path, list)}

    def _put(self, owner: str, path: str, items: dict[str, dict[str, object]]) -> None:
        data = to_json([items[id] for id in sorted(items)])
        self._take(
            Step(
                owner,
                files={path: self.store.write(path, data, self.book.manifest.files.get(path))},
            )
        )

    def _do(self, what: str, tasks: list[Callable[[], Step]]) -> None:
        """Do the tasks, so many at a time, and take in what they bring."""
        self.told(what, 0, len(tasks))
        for number, step in enumerate(together(tasks, self.store), 1):
            self._take(step)
            self.told(what, number, len(tasks))

    def _take(self, step: Step) -> None:
        self.store.note(step)
        self.book.take(step)


def together(tasks: Iterable[Callable[[], Step]], store: Store) -> Iterator[Step]:
    """The steps of the tasks as they come, `AT_ONCE` at a time. Where one raises, the others are stopped.

    They are not waited for: a service that hangs would hold up whoever interrupts. The store takes nothing from them any more.
    """
    waiting: set[Future[Step]] = set()
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for task in tasks:
            waiting.add(pool.submit(task))
            if len(waiting) >= 4 * AT_ONCE:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        done, waiting = wait(waiting)[0], set()
        yield from (each.result() for each in done)
    except BaseException:
        store.stopping.set()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
