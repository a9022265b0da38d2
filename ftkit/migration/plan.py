"""Planning the moves and making them: what becomes of each job at the target, what it costs, and whether it is there already."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ftkit.archive.read import ArchivedJob
from ftkit.catalog import Catalog
from ftkit.client.client import Client
from ftkit.errors import NotFoundError, UnknownOutcomeError
from ftkit.jobs.inspection import Inspection, JobFiles, inspect
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import JobSpec
from ftkit.jobs.uploads import Progress, Say
from ftkit.migration.prepare import obstacles_in, prepare
from ftkit.migration.translate import Change, Old, Translation, translate

if TYPE_CHECKING:
    from ftkit.jobs.submit import Submitted


class Move(Struct):
    """What becomes of a job. `usd` is None where nobody knows the price; `moved` is the id of the job that it has become before.

    `status` is that of the job that it has become; `hashes` are the SHA-256 of its files as they were checked.
    """

    old: Old
    translation: Translation
    usd: float | None
    moved: str
    hashes: tuple[str, str | None] = ("", None)
    status: str = ""

    @property
    def can_go(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.translation.obstacles


class Asked(Struct, frozen=True):
    """What is to be other than it was."""

    model: str | None = None
    suffix: str | None = None
    epochs: int | None = None


def archived(each: ArchivedJob) -> Old:
    """A job of an archive, with its files there."""
    ids = {"training": each.job.training_file, "validation": each.job.validation_file}
    lost = {field: why for field, id in ids.items() if id and (why := each.archive.lack(id))}
    paths = {
        field: str(each.archive.file(id)) for field, id in ids.items() if id and field not in lost
    }
    training, validation = paths.get("training", ""), paths.get("validation")
    return Old(
        each.archive.provider,
        each.job,
        each.method,
        each.hyperparameters,
        training,
        validation,
        lost,
    )


def fetched(client: Client, id: str, folder: Path) -> Old:
    """A job at a service, its files fetched into `folder`; what is there already is not fetched again. Raises `ProviderError`."""
    job = client.job(id)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths, lost = {}, {}
    for field, file in (("training", job.training_file), ("validation", job.validation_file)):
        try:
            paths[field] = _fetch(client, file, folder) if file else ""
        except NotFoundError as problem:
            lost[field] = str(problem)
    training, validation = paths.get("training", ""), paths.get("validation") or None
    return Old(client.name, job, job.method, job.hyperparameters, training, validation, lost)


def _fetch(client: Client, file: str, folder: Path) -> str:
    name = hashlib.sha256(f"{client.account} {file}".encode()).hexdigest()
    path = folder / f"{name[:32]}.jsonl"
    if not path.exists():
        client.download(file, path)
        announced, size = client.file(file).size, path.stat().st_size
        if size < announced:
            path.unlink()
            raise UnknownOutcomeError(
                f"cannot read the file {file}: {client.provider.title} says {announced:,} bytes, and sent {size:,}"
            )
    return str(path)


class Planner:
    """Plans moves to a provider, where `account` is what the journal knows it by; what was moved is looked up at any `target`.

    Each file is checked and priced once, however many jobs it has served. Copies of files are made in `folder`.
    """

    def __init__(
        self,
        to: str,
        account: str,
        journal: Journal,
        folder: Path,
        catalog: Catalog,
        asked: Asked,
        target: Client | None = None,
    ) -> None:
        self._to, self._account, self._journal, self._folder = to, account, journal, folder
        self._catalog, self._asked, self._target = catalog, asked, target
        self._prepared: dict[str, tuple[str, tuple[Change, ...]]] = {}
        self._inspections: dict[JobFiles, Inspection] = {}

    def plan(self, old: Old) -> Move:
        """What becomes of the job. Raises `FileError` where a file cannot be copied, `ProviderError` where nothing answers."""
        moved, status = self._moved(old)
        asked = self._asked
        made = translate(
            old,
            self._to,
            asked.model,
            suffix=asked.suffix,
            epochs=asked.epochs,
            catalog=self._catalog,
        )
        if not old.training:
            return Move(old, _more(made, obstacles=(_lost(old),)), None, moved, status=status)
        originals = made.spec
        made = self._with_file(self._with_file(made, "training"), "validation")
        inspection = self._inspect(made.spec)
        made = _more(made, obstacles=obstacles_in(inspection.report, originals))
        usd = None if made.obstacles else inspection.usd
        return Move(old, made, usd, moved, inspection.hashes, status)

    def _moved(self, old: Old) -> tuple[str, str]:
        """The job that it has become, if that is still there, and its status; without a service to ask, as the journal says."""
        moved = self._journal.moved_to(old.name, self._account)
        try:
            return moved, self._target.job(moved).status if moved and self._target else ""
        except NotFoundError:
            return "", ""

    def _with_file(self, made: Translation, field: str) -> Translation:
        """Return the translation with the file rewritten as the target takes it."""
        path = getattr(made.spec, field)
        if not path:
            return made
        if path not in self._prepared:
            self._prepared[path] = prepare(path, self._to, self._folder, self._catalog)
        copy, changes = self._prepared[path]
        spec = msgspec.structs.replace(made.spec, **{field: copy})
        if field == "validation":
            changes = tuple(
                msgspec.structs.replace(each, what=f"validation file, {each.what}")
                for each in changes
            )
        return _more(msgspec.structs.replace(made, spec=spec), changes)

    def _inspect(self, spec: JobSpec) -> Inspection:
        """Return the findings, the price and the hashes of the files of a job."""
        files = JobFiles(spec.training, spec.validation, spec.model, self._to, spec.epochs)
        if files not in self._inspections:
            self._inspections[files] = inspect(files, catalog=self._catalog)
        return self._inspections[files]


def _lost(old: Old) -> str:
    why = old.lost.get("training")
    return f"its training file could not be had{f': {why}' if why else ''}"


def _more(
    made: Translation, changes: tuple[Change, ...] = (), obstacles: tuple[str, ...] = ()
) -> Translation:
    return msgspec.structs.replace(
        made, changes=(*made.changes, *changes), obstacles=(*made.obstacles, *obstacles)
    )


def move(
    plan: Move, target: Client, journal: Journal, *, again: bool, say: Say, progress: Progress
) -> Submitted:
    """Submit the order of a plan, and keep the link in the journal; `again` makes a new job. Raises what `submit` raises."""
    from ftkit.jobs.submit import submit

    spec, old = plan.translation.spec, plan.old.name
    done = submit(
        spec, target, journal, hashes=plan.hashes, again=again, of=old, say=say, progress=progress
    )
    journal.moved(old, target.account, done.job.id)
    plan.moved, plan.status = done.job.id, done.job.status
    return done
