"""Attempts to train a job: numbers, tokens, and fencing.

Each start of a training process is an attempt, which is stored before the process is started. Only
the last one is current, until it ends. A cluster may take a process for dead that lives on, so all
that a worker reports over HTTP is written in a transaction that checks the token of its attempt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from ftkit._private import make_private_folder
from ftkit.server.database import Database
from ftkit.server.errors import StaleAttemptError
from ftkit.server.folder import Folder, remove, sync_folder
from ftkit.server.objects import JobObject
from ftkit.server.runner import Attempt

TOKEN = re.compile("ftattempt-[0-9a-f]{64}")
"""Token of an attempt."""

CHECKPOINT = re.compile("checkpoint-([0-9]+)")
"""Folder of a state that training resumes from; the number is that of the step."""

NUMBER = re.compile("[0-9]{1,18}")
"""Name of the folder of an attempt."""

KEPT_CHECKPOINTS = 2
"""Number of states that are kept of a job, of which it needs the last one."""


def new_attempt(database: Database, id: str) -> Attempt | None:
    """Store a new attempt to train a queued job. Return None if the job is not queued any more."""
    token = f"ftattempt-{secrets.token_hex(32)}"
    attempt = None

    def edit(job: JobObject) -> bool:
        nonlocal attempt
        if job.status != "queued":
            return False
        job.attempt += 1
        attempt = Attempt(id, job.attempt, token)
        job.token_hash, job.handle = hash_token(token), attempt.name
        return True

    database.change(JobObject, id, edit)
    return attempt


def store_handle(database: Database, attempt: Attempt, handle: str) -> None:
    """Store the handle of an attempt, unless it is its name, which is stored already."""
    if handle != attempt.name:
        database.change(JobObject, attempt.job, lambda job: setattr(job, "handle", handle))


def end_attempt(database: Database, id: str) -> None:
    """Make the last attempt of a job stale."""

    def edit(job: JobObject) -> bool:
        had_attempt = bool(job.token_hash or job.handle)
        job.token_hash = job.handle = ""
        return had_attempt

    database.change(JobObject, id, edit)


def hash_token(token: str) -> str:
    """Return what is stored of a token: its SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


def require_current(database: Database, id: str, token_hash: str) -> JobObject:
    """Return the job whose current attempt has a token with that hash.

    Raises:
        StaleAttemptError: There is no such job, or the attempt is not its current one.
    """
    job = database.get(JobObject, id)
    # An empty one is no hash of a token.
    expected = job.token_hash if job else ""
    if not hmac.compare_digest(expected.encode(), token_hash.encode()) or not job:
        raise StaleAttemptError
    return job


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last complete state in a folder, or None."""
    complete = {step: path for step, path in _checkpoints(folder).items() if _is_complete(path)}
    return complete[max(complete)] if complete else None


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Return the states in a folder by their steps."""
    matches = {path: CHECKPOINT.fullmatch(path.name) for path in folder.glob("checkpoint-*")}
    return {int(match[1]): path for path, match in matches.items() if match}


def _is_complete(checkpoint: Path) -> bool:
    """Return True if the trainer saved its state, which is the last file that it writes."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def commit_checkpoint(folder: Folder, job: str, attempt: int, step: int) -> bool:
    """Move a state from the folder of its attempt to where the job resumes from.

    No other attempt can change it there. Moving it again has no effect.

    Returns:
        False if there is no such state.
    """
    source = folder.attempt_checkpoints(job, attempt) / f"checkpoint-{step}"
    committed = folder.checkpoints(job)
    target = committed / source.name
    if not source.is_dir():
        return target.is_dir()
    make_private_folder(committed)
    remove(target)
    os.rename(source, target)
    sync_folder(committed)
    return True


def remove_old_checkpoints(folder: Folder, job: str) -> None:
    """Remove all but the last states of a job."""
    committed = _checkpoints(folder.checkpoints(job))
    for step in sorted(committed)[:-KEPT_CHECKPOINTS]:
        remove(committed[step])


def adopt_checkpoint(folder: Folder, job: str, attempt: int) -> None:
    """Move the last state of the previous attempt to where training resumes.

    The previous attempt is the last one with a folder: an attempt whose start was interrupted has
    none. The folders of all earlier attempts are then removed, so a process of theirs that still
    runs cannot save any more.

    Args:
        folder: Data folder of the service.
        job: Id of the job.
        attempt: Number of the current attempt.

    Raises:
        OSError: The state cannot be moved; it is left where it is.
    """
    previous = max(_earlier_attempts(folder, job, attempt), default=0)
    saved = last_checkpoint(folder.attempt_checkpoints(job, previous))
    if saved:
        step = int(saved.name.rpartition("-")[2])
        with suppress(FileNotFoundError):  # the process still runs, and has removed it
            if step > max(_checkpoints(folder.checkpoints(job)), default=0):
                commit_checkpoint(folder, job, previous, step)
    make_private_folder(folder.attempt(job, attempt))
    for path in folder.attempts(job).glob("*"):
        if path.name != str(attempt):
            remove(path)


def _earlier_attempts(folder: Folder, job: str, attempt: int) -> list[int]:
    """Return the numbers of the earlier attempts that have a folder."""
    names = [path.name for path in folder.attempts(job).glob("*")]
    return [int(name) for name in names if NUMBER.fullmatch(name) and int(name) < attempt]
