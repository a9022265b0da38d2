"""Reports of a training process that are written to the database."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ftkit.server.adapters import missing_state, place_adapter, staged_adapter
from ftkit.server.attempts import (
    commit_checkpoint,
    remove_old_checkpoints,
    require_current,
)
from ftkit.server.database import Database
from ftkit.server.errors import FullDiskError, StaleAttemptError
from ftkit.server.event_limits import (
    MAX_MESSAGE,
    count_event_bytes,
    event_size,
)
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import (
    add_checkpoint,
    add_event,
    add_model,
    fail,
    has_checkpoint,
    transition,
    tuned_name,
)
from ftkit.server.objects import (
    CheckpointObject,
    EventObject,
    FileObject,
    JobError,
    JobHyperparameters,
    JobObject,
    JobStatus,
    now,
)
from ftkit.server.recipes import restore_recipe
from ftkit.server.reports import COMMANDS, STARTED, TRAINING, Command, JobEvent, JobStart
from ftkit.server.results import results_csv

FULL_DISK_REASON = "the disk of the service is nearly full"
"""Reason why the events of a remote attempt are not accepted."""

logger = logging.getLogger("ftkit.server")


class DatabaseReports:
    """Reports that are written to the database.

    Args:
        database: Database of the service.
        folder: Data folder of the service.
        id: Id of the job.
        token_hash: Hash of the token of a remote attempt: everything is then written in a
            transaction that checks that the attempt is current. None for a process on the machine
            of the service, which ends before another one is started.
    """

    def __init__(
        self, database: Database, folder: Folder, id: str, token_hash: str | None = None
    ) -> None:
        self._database, self._folder, self._id = database, folder, id
        self._token_hash = token_hash

    @contextmanager
    def _writing(self, *statuses: JobStatus) -> Iterator[JobObject]:
        """Open a transaction, with the job, if the attempt is current.

        Args:
            *statuses: Statuses of the job in which a remote attempt may write; any by default.

        Raises:
            StaleAttemptError: Another attempt is current, or the job is in none of the statuses.
        """
        with self._database.transaction():
            yield self._job(*statuses)

    def _job(self, *statuses: JobStatus) -> JobObject:
        if self._token_hash is not None:
            job = require_current(self._database, self._id, self._token_hash)
            if statuses and job.status not in statuses:
                raise StaleAttemptError
            return job
        stored = self._database.get(JobObject, self._id)
        if stored is None:
            raise StaleAttemptError
        return stored

    def begin(self) -> JobStart | None:
        """Report that training starts. Repeating it has no effect for a remote attempt."""
        is_remote = self._token_hash is not None
        with self._writing("queued", *TRAINING) as job:
            # Interrupted jobs continue first, but only once.
            begins = transition(
                self._database, self._id, ("queued",), "running", STARTED, rank=job.priority
            )
            if not begins and not is_remote:
                return None
            job = self._job()
        steps = [data["step"] for data in self._metrics()]
        checkpoints = self._database.children(CheckpointObject, self._id)
        published = [checkpoint.step_number for checkpoint in checkpoints]
        return JobStart(job, max(steps, default=0), published, is_remote)

    def _metrics(self) -> list[dict[str, Any]]:
        """Return the data of the events with metrics."""
        events = self._database.children(EventObject, self._id)
        return [event.data for event in events if event.type == "metrics"]

    def beat(self) -> Command:
        """Return what the process is to do."""
        return COMMANDS.get(self._job().status, "continue")

    def set_hyperparameters(self, hyperparameters: JobHyperparameters) -> None:
        """Replace the requested hyperparameters with the resolved ones."""
        with self._writing(*TRAINING):
            self._database.change(
                JobObject, self._id, lambda job: job.set_hyperparameters(hyperparameters)
            )

    def add_event(self, event: JobEvent) -> None:
        """Add an event to the job, unless it has one with that key."""
        self.add_events([event])

    def add_events(self, events: Sequence[JobEvent]) -> None:
        """Add events in their order, all or none.

        Raises:
            InvalidRequestError: The events of the job would take too much of the database.
            FullDiskError: A remote attempt reports them while the disk is nearly full.
        """
        if self._token_hash is not None:
            self._check_disk()
        with self._writing(*TRAINING) as job:
            added = [event for event in events if self._add_event(job, event)]
            finishes = [event.estimated_finish for event in events if event.data]

            def edit(job: JobObject) -> bool:
                count_event_bytes(job, sum(map(event_size, added)))
                if finishes:
                    job.estimated_finish = finishes[-1]
                return bool(added or finishes)

            self._database.change(JobObject, self._id, edit)

    def _check_disk(self) -> None:
        """Raise `FullDiskError` if the disk is nearly full. The job gets an event about it once."""
        try:
            self._folder.disk.check_free()
        except FullDiskError as error:
            with self._writing(*TRAINING) as job:
                text, key = f"The job waits: {FULL_DISK_REASON}", "full disk"
                is_new = add_event(self._database, job.id, job.tenant, text, "warn", key=key)
            if is_new:
                logger.warning("The events of %s wait. %s", self._id, error)
            raise

    def _add_event(self, job: JobObject, event: JobEvent) -> bool:
        """Add an event. Return False if the job has it already."""
        return add_event(
            self._database,
            job.id,
            job.tenant,
            event.message,
            event.level,
            event.data or None,
            event.key,
        )

    def commit(self, step: int) -> None:
        """Note the progress, and move the state of a remote attempt to where it is safe.

        Raises:
            InvalidRequestError: A remote attempt has not saved that state in the data folder.
        """
        with self._writing(*TRAINING) as job:
            if self._token_hash is not None:
                self._commit_state(job, step)
            self._database.change(JobObject, self._id, JobObject.note_progress)
        if self._token_hash is not None:
            remove_old_checkpoints(self._folder, self._id)

    def _commit_state(self, job: JobObject, step: int) -> None:
        if not commit_checkpoint(self._folder, job.id, job.attempt, step):
            path = self._folder.attempt_checkpoints(job.id, job.attempt) / f"checkpoint-{step}"
            raise missing_state(path)

    def publish(self, step: int, metrics: dict[str, Any]) -> None:
        """Publish the adapter of a saved state as a model. Repeating it has no effect.

        Raises:
            InvalidRequestError: There is no such state in the data folder.
        """
        job = self._job(*TRAINING)
        if (
            has_checkpoint(self._database, job, step)
            and self._folder.adapter(job.id, step).is_dir()
        ):
            return
        limit = restore_recipe(job.base, job.recipe).save_total_limit
        with staged_adapter(self._folder, job, step) as staged, self._writing(*TRAINING):
            place_adapter(self._folder, job.id, step, staged)
            expired = add_checkpoint(self._database, job, step, metrics, limit)
        for old_step in expired:
            shutil.rmtree(self._folder.adapter(job.id, old_step), ignore_errors=True)

    def fail(self, error: JobError) -> None:
        """End the job with an error, unless it has finished."""
        with self._writing():
            message = error.message[:MAX_MESSAGE]
            fail(self._database, self._id, error.code, message, error.param)

    def succeed(self, steps: int, tokens: int) -> None:
        """Store the results and the model, and end the job, in one transaction.

        Nothing happens if the job is not being trained, for example since it was cancelled.

        Raises:
            InvalidRequestError: There is no state of that step in the data folder.
        """
        job = self._job()
        if job.status not in TRAINING:
            return
        if not self._folder.adapter(self._id, steps).exists():
            with staged_adapter(self._folder, job, steps) as staged, self._writing(*TRAINING):
                place_adapter(self._folder, job.id, steps, staged)
        metrics = self._metrics()
        with self._writing() as current:
            if current.status in TRAINING:
                self._store_results(current, metrics, steps, tokens)

    def _store_results(
        self, job: JobObject, metrics: list[dict[str, Any]], steps: int, tokens: int
    ) -> None:
        stored = self._folder.keep_bytes(results_csv(metrics))
        file = FileObject(
            tenant=job.tenant,
            bytes=stored.size,
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            sha256=stored.sha256,
        )
        name = tuned_name(job)
        result: dict[str, Any] = {
            "fine_tuned_model": name,
            "result_files": [file.id],
            "trained_tokens": tokens,
            "finished_at": now(),
            "estimated_finish": None,
        }
        self._database.add(file)
        add_model(self._database, job, name, steps)
        add_event(self._database, job.id, job.tenant, f"New fine-tuned model created: {name}")
        message = "The job has successfully completed"
        transition(self._database, job.id, TRAINING, "succeeded", message, **result)
