"""Idempotent job submission.

A submission is journaled before every step, so the same call can be repeated after any failure and
still ends with exactly one job:

    hash files → lock → look up (journal, then provider) → upload → create → record

The submission id is stored in the job's metadata, so the job can be found even without the journal.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from contextlib import suppress
from typing import Any

from msgspec import Struct

from ftkit._text import is_encodable
from ftkit.client.client import Client
from ftkit.client.resources import Job, unix_time
from ftkit.errors import (
    ConnectError,
    InvalidResponseError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
)
from ftkit.jobs.journal import Journal, Submission
from ftkit.jobs.spec import METADATA_KEY, JobSpec, check, request
from ftkit.jobs.uploads import Progress, Say, Sleep, Uploader, hash_file

LOOKUP_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each lookup of a job whose creation was not answered; the last one is repeated."""

IN_FLIGHT_SECONDS = 120.0
"""How long an unanswered `create` may still be in flight. It is not sent again before that."""

CLOCK_SKEW_SECONDS = 3600.0
"""How far the clock of a provider that stores no metadata may be behind."""


class Submitted(Struct, frozen=True):
    """Result of a submission."""

    job: Job
    adopted: bool
    """True if the job already existed."""
    submission: str
    """The submission id, which is in the job's metadata."""


def idempotency_key(
    spec: JobSpec, account: str, training: str, validation: str | None, source: str = ""
) -> str:
    """Return the SHA-256 of everything that makes two submissions identical.

    Files count by their content. Fields without a value (None, "" or {}) are left out, so adding a
    field to `JobSpec` does not change existing keys. 0 is a value, for example of `seed`.

    Args:
        spec: The job spec.
        account: The provider and its address.
        training: SHA-256 of the training file.
        validation: SHA-256 of the validation file, or None.
        source: Name of what the job is a copy of; two sources make two jobs.
    """
    fields = {
        name: value
        for name in JobSpec.__struct_fields__
        if name not in ("training", "validation")
        and (value := getattr(spec, name)) not in (None, "", {})
    }
    parts = [account, training, validation, fields, *([source] if source else [])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def submit(  # noqa: PLR0913 # public keyword-only API
    spec: JobSpec,
    client: Client,
    journal: Journal,
    *,
    hashes: tuple[str, str | None] | None = None,
    again: bool = False,
    of: str = "",
    say: Say = lambda text: None,
    progress: Progress = lambda name, size: None,
    sleep: Sleep = time.sleep,
) -> Submitted:
    """Upload the files of a job and create it, exactly once however often this is called.

    `start_job` also validates and prices the files and asks for consent.

    Args:
        spec: The job spec.
        client: A connection to the provider.
        journal: The record of submissions.
        hashes: SHA-256 of the training and the validation file as they were checked. A file that
            has changed since is refused.
        again: Create a new job even if an identical one exists.
        of: Name of what the job is a copy of; identical jobs of different sources are both created.
        say: Called with a line of text about each step.
        progress: Called with a file's name and the bytes uploaded since the last call.
        sleep: Called to wait.

    Raises:
        UsageError: The provider would refuse the job.
        FileError: A file cannot be read, or has changed.
        UnknownOutcomeError: The provider did not respond; repeat the call to go on.
        ProviderError: The provider refused; `uploaded` names the files uploaded for it.
    """
    check(spec, client.api, client.provider.title)
    training, validation = hashes or (
        hash_file(spec.training),
        hash_file(spec.validation) if spec.validation else None,
    )
    key = idempotency_key(spec, client.account, training, validation, of)
    with journal.lock(key, say):
        submitter = _Submitter(client, journal, key, say, sleep)
        id, job = submitter.choose(again)
        planned = request(spec, client.api, "", None, id)
        journal.plan(id, client.account, key, planned, os.path.abspath(spec.training))
        if job:
            journal.mark_created(id, job.id)
            return Submitted(job, True, id)
        uploader = Uploader(client, journal, say, progress, sleep)
        training_file = uploader.upload(spec.training, training)
        validation_file = (
            uploader.upload(spec.validation, validation) if spec.validation and validation else None
        )
        body = request(spec, client.api, training_file, validation_file, id)
        try:
            return Submitted(submitter.create(id, body), False, id)
        except ProviderError as error:
            error.uploaded = tuple(uploader.new_file_ids)
            raise


class _Submitter:
    """Finds and creates the jobs of one idempotency key."""

    def __init__(self, client: Client, journal: Journal, key: str, say: Say, sleep: Sleep) -> None:
        self._client, self._journal, self._key = client, journal, key
        self._say, self._sleep = say, sleep

    def choose(self, again: bool) -> tuple[str, Job | None]:
        """Return the id of this submission, and its job if it already exists.

        Identical submissions are numbered. A new number is used only with `again`, and only if
        the last one has become a job.
        """
        earlier = self._journal.submissions(self._client.account, self._key)
        number = max((int(row.id.rpartition("-")[2]) for row in earlier), default=1)
        is_unfinished = any(row.id == self._id(number) and not row.job_id for row in earlier)
        job = self.find(self._id(number), IN_FLIGHT_SECONDS)
        while again and not is_unfinished and job:
            number += 1
            job = self.find(self._id(number), IN_FLIGHT_SECONDS)
        return self._id(number), job

    def _id(self, number: int) -> str:
        return f"{self._key[:24]}-{number}"

    def find(self, id: str, in_flight: float = 0) -> Job | None:
        """Return the job of a submission, or None if it was not created.

        If an earlier `create` was not answered, keep looking until `in_flight` seconds after it
        was sent, because the provider may still be processing it.

        Raises:
            UnknownOutcomeError: The provider could not be reached for the last lookup.
        """
        earlier = self._journal.submissions(self._client.account, self._key)
        submission = next((row for row in earlier if row.id == id), None)
        if submission and submission.job_id:
            # Deleted, or created under another account at the same address.
            with suppress(NotFoundError):
                return self._client.job(submission.job_id)
        sent = submission.sent_at if submission and not submission.job_id else None
        delays = LOOKUP_DELAYS[:1] if sent is None else _lookup_delays(sent, in_flight)
        for index, delay in enumerate(delays):
            if index == 1:
                self._say(
                    "no response to the create request; "
                    f"looking for the job for up to {sum(delays):.0f} s before trying again"
                )
            self._sleep(delay)
            try:
                job = self._look_up(id, submission)
            except UnknownOutcomeError:
                if index == len(delays) - 1:
                    raise
                continue
            if job or sent is None:
                return job
        return None

    def _look_up(self, id: str, submission: Submission | None) -> Job | None:
        if "metadata" in self._client.api.lacks:
            return self._look_up_by_file(submission)
        jobs = self._client.jobs(metadata={METADATA_KEY: id})
        job = next((job for job in jobs if job.metadata.get(METADATA_KEY) == id), None)
        if job and not is_encodable(job.id):
            raise InvalidResponseError(
                f"the job of this submission has the id {job.id!r}, which no request can name"
            )
        return job

    def _look_up_by_file(self, submission: Submission | None) -> Job | None:
        """Return the newest job on the same file and model that no other submission created.

        For providers that store no metadata. Jobs from before the `create` are left out.
        """
        if submission is None or submission.sent_at is None:
            return None
        target = (submission.request.get("training_file"), submission.request.get("model"))
        for job in self._client.jobs():
            earliest = submission.sent_at - CLOCK_SKEW_SECONDS
            if job.created_at and unix_time(job.created_at) < earliest:
                return None
            if not is_encodable(job.id):
                continue
            other = self._journal.submission_of_job(self._client.account, job.id)
            is_free = other is None or other.id == submission.id
            if is_free and (job.training_file, job.model) == target:
                return job
        return None

    def create(self, id: str, body: dict[str, Any]) -> Job:
        """Create the job of a submission; if there is no response, look for it."""
        self._journal.mark_sent(id, body)
        try:
            job = self._client.create(body)
        except ConnectError:
            self._journal.mark_refused(id)
            raise
        except UnknownOutcomeError as error:
            job = self._find_lost(id, error)
        except ProviderError:
            self._journal.mark_refused(id)
            raise
        self._journal.mark_created(id, job.id)
        return job

    def _find_lost(self, id: str, error: UnknownOutcomeError) -> Job:
        """Return the job of a `create` that was not answered, or raise the error with advice."""
        unknown = UnknownOutcomeError(
            f"{error}; the job may exist: run the same command again, which looks for it first"
        )
        try:
            job = self.find(id)
        except UnknownOutcomeError:
            raise unknown from error
        if job is None:
            raise unknown from error
        return job


def _lookup_delays(sent: float, in_flight: float) -> tuple[float, ...]:
    """Return the seconds before each lookup of a job whose creation was sent at that time.

    Short ones at first, then regular ones until the request is no longer in flight.
    """
    if sent + IN_FLIGHT_SECONDS < time.time():
        return LOOKUP_DELAYS[:1]
    left = min(sent + in_flight - time.time(), in_flight) - sum(LOOKUP_DELAYS)
    return (*LOOKUP_DELAYS, *[LOOKUP_DELAYS[-1]] * math.ceil(left / LOOKUP_DELAYS[-1]))
