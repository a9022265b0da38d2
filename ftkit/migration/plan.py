"""Migration plans: translation, prepared files, cost and earlier migrations of each job.

source job → translate → prepare files → validate → price → Move → submit
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ftkit.catalog import Catalog
from ftkit.client.client import Client
from ftkit.errors import NotFoundError
from ftkit.jobs.inspection import Inspection, JobFiles, inspect
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import JobSpec
from ftkit.jobs.uploads import Progress, Say
from ftkit.migration.prepare import obstacles_in, prepare
from ftkit.migration.source import SourceJob
from ftkit.migration.translate import Change, Translation, translate

if TYPE_CHECKING:
    from ftkit.jobs.submit import Submitted


class Move(Struct):
    """The planned migration of one job.

    Attributes:
        old: The job.
        translation: The new job, with changes and obstacles.
        usd: Estimated cost in US dollars, or None if the price is unknown.
        new_id: Id of the job that it was migrated to before, or "".
        hashes: SHA-256 of the checked training and validation files.
        status: Status of the job that it was migrated to.
    """

    old: SourceJob
    translation: Translation
    usd: float | None
    new_id: str
    hashes: tuple[str, str | None] = ("", None)
    status: str = ""

    @property
    def is_possible(self) -> bool:
        """True if there are no obstacles."""
        return not self.translation.obstacles


class Overrides(Struct, frozen=True):
    """Settings of the new jobs that differ from the old ones. None keeps the old value."""

    model: str | None = None
    suffix: str | None = None
    epochs: int | None = None


class Planner:
    """Plans migrations to one provider.

    Each file is prepared, validated and priced once, even if several jobs use it.
    """

    def __init__(
        self,
        to: str,
        account: str,
        journal: Journal,
        folder: Path,
        catalog: Catalog,
        overrides: Overrides,
        target: Client | None = None,
    ) -> None:
        """Create a planner.

        Args:
            to: Name of the target provider.
            account: Account at the target, as the journal knows it.
            journal: Journal with earlier migrations.
            folder: Folder for copies of files.
            catalog: Facts about providers and models.
            overrides: Settings of the new jobs.
            target: Client that looks up earlier migrations. Without it, the journal is trusted.
        """
        self._to, self._account, self._journal, self._folder = to, account, journal, folder
        self._catalog, self._overrides, self._target = catalog, overrides, target
        self._prepared: dict[str, tuple[str, tuple[Change, ...]]] = {}
        self._inspections: dict[JobFiles, Inspection] = {}

    def plan(self, old: SourceJob) -> Move:
        """Plan the migration of a job.

        Raises:
            FileError: A file cannot be copied.
            ProviderError: The target cannot be reached.
        """
        new_id, status = self._earlier_migration(old)
        translation = translate(
            old,
            self._to,
            self._overrides.model,
            suffix=self._overrides.suffix,
            epochs=self._overrides.epochs,
            catalog=self._catalog,
        )
        if not old.training:
            reason = old.missing.get("training")
            obstacle = f"its training file is missing{f': {reason}' if reason else ''}"
            translation = _extend(translation, obstacles=(obstacle,))
            return Move(old, translation, None, new_id, status=status)
        originals = translation.spec
        translation = self._prepare(self._prepare(translation, "training"), "validation")
        inspection = self._inspect(translation.spec)
        translation = _extend(translation, obstacles=obstacles_in(inspection.report, originals))
        usd = None if translation.obstacles else inspection.usd
        return Move(old, translation, usd, new_id, inspection.hashes, status)

    def _earlier_migration(self, old: SourceJob) -> tuple[str, str]:
        """Return the id and status of the job that it was migrated to, if that still exists."""
        new_id = self._journal.find_move(old.name, self._account)
        if not new_id or not self._target:
            return new_id, ""
        try:
            return new_id, self._target.job(new_id).status
        except NotFoundError:
            return "", ""

    def _prepare(self, translation: Translation, field: str) -> Translation:
        """Return the translation with the file rewritten for the target."""
        path = getattr(translation.spec, field)
        if not path:
            return translation
        if path not in self._prepared:
            self._prepared[path] = prepare(path, self._to, self._folder, self._catalog)
        copy, changes = self._prepared[path]
        if field == "validation":
            changes = tuple(
                msgspec.structs.replace(change, what=f"validation file, {change.what}")
                for change in changes
            )
        spec = msgspec.structs.replace(translation.spec, **{field: copy})
        return _extend(msgspec.structs.replace(translation, spec=spec), changes)

    def _inspect(self, spec: JobSpec) -> Inspection:
        """Return the findings, the cost and the hashes of the files of a job."""
        files = JobFiles(spec.training, spec.validation, spec.model, self._to, spec.epochs)
        if files not in self._inspections:
            self._inspections[files] = inspect(files, catalog=self._catalog)
        return self._inspections[files]


def _extend(
    translation: Translation, changes: tuple[Change, ...] = (), obstacles: tuple[str, ...] = ()
) -> Translation:
    return msgspec.structs.replace(
        translation,
        changes=(*translation.changes, *changes),
        obstacles=(*translation.obstacles, *obstacles),
    )


def move(
    plan: Move, target: Client, journal: Journal, *, again: bool, say: Say, progress: Progress
) -> Submitted:
    """Submit the new job of a plan, record the migration in the journal, and update the plan.

    Args:
        plan: The plan.
        target: Client of the target provider.
        journal: Journal.
        again: Create a new job even if the job was migrated before.
        say: Receives messages.
        progress: Receives the progress of uploads.

    Raises:
        FtkitError: Any error of `ftkit.submit`.
    """
    from ftkit.jobs.submit import submit

    spec, old = plan.translation.spec, plan.old.name
    submitted = submit(
        spec, target, journal, hashes=plan.hashes, again=again, of=old, say=say, progress=progress
    )
    journal.record_move(old, target.account, submitted.job.id)
    plan.new_id, plan.status = submitted.job.id, submitted.job.status
    return submitted
