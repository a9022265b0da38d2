"""From a file to one running job, paid once.

    hash → lock → look up (journal, then the service) → upload → create → note

The id of a submission is made of what is submitted, and stands in the job's metadata, so the job can be found again even where
the journal is lost. `create` is sent once; when its answer is lost, the job is looked for before another is made.
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

from ftkit.client.client import Client
from ftkit.client.resources import Job
from ftkit.errors import ConnectError, NotFoundError, ProviderError, UnknownOutcomeError
from ftkit.jobs.journal import Journal, Submission
from ftkit.jobs.spec import MARK, JobSpec, check, request
from ftkit.jobs.uploads import Progress, Say, Sleep, Uploader, hash_file

SETTLE = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each look for a job whose creation was not answered: the service may still be at it."""

SETTLED = 120.0
"""Seconds after which a creation that was not answered is no longer under way at the service. Until then none is sent again."""

SKEW = 3600.0
"""Seconds by which the clock of a service that keeps no metadata may be behind."""


class Submitted(Struct, frozen=True):
    """The job of a submission, and whether it was there already."""

    job: Job
    adopted: bool
    submission: str


def key_of(spec: JobSpec, account: str, training: str, validation: str | None, of: str = "") -> str:
    """What makes two orders the same: all that the service is told, by the content of the files; and what they are made of."""
    told = {
        name: getattr(spec, name)
        for name in JobSpec.__struct_fields__
        if name not in ("training", "validation")
    }
    parts = [
        account,
        training,
        validation,
        {name: value for name, value in told.items() if value},
    ]  # so new fields change no key
    parts += [of] if of else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def submit(
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
    """Submit the order once, whatever happened before, and return its job.

    Args:
        order: What to submit.
        hashes: The SHA-256 of the files as they were checked; a file that has changed since is refused.
        again: Make a new job even if there is one of the same order.
        of: The name of what the order is made of, where two of the same order are to be two jobs.
        say: Told what is done, a line at a time.
        progress: Told the name of a file and the bytes uploaded since the last call.

    Raises:
        UsageError: The service would refuse the order.
        FileError: A file cannot be read, or has changed.
        UnknownOutcomeError: The service did not answer; the same call again goes on where this one stopped.
        ProviderError: The service refused; `uploaded` names the files that were uploaded for it.
    """
    check(spec, client.api, client.provider.title)
    training, validation = hashes or (
        hash_file(spec.training),
        hash_file(spec.validation) if spec.validation else None,
    )
    key = key_of(spec, client.account, training, validation, of)
    with journal.lock(key, say):
        mark, found = _place(client, journal, key, again, say, sleep)
        journal.plan(
            mark,
            client.account,
            key,
            request(spec, client.api, "", None, mark),
            os.path.abspath(spec.training),
        )
        if found:
            journal.mark_created(mark, found.id)
            return Submitted(found, True, mark)
        uploader = Uploader(client, journal, say, progress, sleep)
        training_file = uploader.upload(spec.training, training)
        validation_file = (
            uploader.upload(spec.validation, validation) if spec.validation and validation else None
        )
        body = request(spec, client.api, training_file, validation_file, mark)
        try:
            return Submitted(_create(body, mark, key, client, journal, sleep), False, mark)
        except ProviderError as problem:
            problem.uploaded = tuple(uploader.new_file_ids)
            raise


def _place(
    client: Client, journal: Journal, key: str, again: bool, say: Say, sleep: Sleep
) -> tuple[str, Job | None]:
    """The id of this submission, and its job if there is one already.

    Submissions of the same order are numbered. Another is begun only if it is wanted, and the last has become a job.
    """
    known = journal.submissions(client.account, key)
    number = max((int(each.id.rpartition("-")[2]) for each in known), default=1)
    unfinished = any(each.id.endswith(f"-{number}") and not each.job_id for each in known)
    found = _find(client, journal, key, mark := f"{key[:24]}-{number}", sleep, SETTLED, say)
    while again and not unfinished and found:
        number += 1
        found = _find(client, journal, key, mark := f"{key[:24]}-{number}", sleep, SETTLED, say)
    return mark, found


def _find(
    client: Client,
    journal: Journal,
    key: str,
    mark: str,
    sleep: Sleep,
    settled: float = 0,
    say: Say = lambda text: None,
) -> Job | None:
    """The job of a submission, if there is one. Looked for until `settled` seconds after a creation that was not answered."""
    known = next(
        (each for each in journal.submissions(client.account, key) if each.id == mark), None
    )
    if known and known.job_id:
        # Not there: it was deleted, or belongs to another account at the same address. Then this one may have its own.
        with suppress(NotFoundError):
            return client.job(known.job_id)
    unanswered = known is not None and known.sent_at is not None and not known.job_id
    pauses = (
        _pauses(known.sent_at, settled) if known and known.sent_at and unanswered else SETTLE[:1]
    )
    for number, pause in enumerate(pauses, 1):
        if number == 2:
            say(
                f"the job may have been created without an answer; looking for it for {sum(pauses):.0f} seconds at most"
            )
        sleep(pause)
        try:
            found = _look_up(client, journal, known, mark)
        except UnknownOutcomeError:
            if number == len(pauses):
                raise
            continue
        if found or not unanswered:
            return found
    return None


def _pauses(sent: float, settled: float) -> tuple[float, ...]:
    """Seconds before each look for a job whose creation was sent then: short ones at first, then on until it has settled."""
    left = min(sent + settled - time.time(), settled)
    if sent + SETTLED < time.time():
        return SETTLE[:1]
    return (*SETTLE, *[SETTLE[-1]] * math.ceil((left - sum(SETTLE)) / SETTLE[-1]))


def _look_up(client: Client, journal: Journal, known: Submission | None, mark: str) -> Job | None:
    if "metadata" in client.api.lacks:
        return _look_up_by_file(client, journal, known)
    return next(
        (job for job in client.jobs(metadata={MARK: mark}) if job.metadata.get(MARK) == mark), None
    )


def _look_up_by_file(client: Client, journal: Journal, known: Submission | None) -> Job | None:
    """The newest job on the same file since the creation was asked for that is of no other submission.

    For services that keep no metadata.
    """
    if known is None or known.sent_at is None:
        return None
    for job in client.jobs():
        if job.created_at and job.created_at < known.sent_at - SKEW:
            return None
        other = journal.submission_of_job(client.account, job.id)
        if other is not None and other.id != known.id:
            continue
        if (job.training_file, job.model) == (
            known.request.get("training_file"),
            known.request.get("model"),
        ):
            return job
    return None


def _create(
    body: dict[str, Any], mark: str, key: str, client: Client, journal: Journal, sleep: Sleep
) -> Job:
    journal.mark_sent(mark, body)
    try:
        job = client.create(body)
    except ConnectError:
        journal.mark_refused(mark)
        raise
    except UnknownOutcomeError as lost:
        told = UnknownOutcomeError(
            f"{lost}; there may be a job all the same: run the same command again, which looks for it first"
        )
        try:
            found = _find(client, journal, key, mark, sleep)
        except UnknownOutcomeError:
            raise told from lost
        if found is None:
            raise told from lost
        job = found
    except ProviderError:
        journal.mark_refused(mark)
        raise
    journal.mark_created(mark, job.id)
    return job
