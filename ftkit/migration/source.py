"""Jobs to migrate, read from an archive or from a provider."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._atomic import atomic_write
from ftkit._private import make_private_folder, open_private
from ftkit.archive.layout import is_usable_id
from ftkit.archive.missing import INVALID_ID
from ftkit.archive.read import ArchivedJob
from ftkit.client.client import Client
from ftkit.client.resources import Job
from ftkit.errors import FileError, NotFoundError, UnknownOutcomeError, os_error_message


class SourceJob(Struct, frozen=True):
    """A job to migrate, with its files on this machine.

    Attributes:
        provider: Name of the provider.
        job: The job.
        method: Training method.
        hyperparameters: Hyperparameters as the provider resolved them.
        training: Path of the training file, or "" if it is missing.
        validation: Path of the validation file, or None if the job has none or it is missing.
        missing: Why the `training` or the `validation` file is missing.
    """

    provider: str
    job: Job
    method: str
    hyperparameters: dict[str, Any]
    training: str
    validation: str | None
    missing: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Name of the job across providers: `PROVIDER/JOB`."""
        return f"{self.provider}/{self.job.id}"


def from_archive(archived: ArchivedJob) -> SourceJob:
    """Return a job of an archive.

    Raises:
        FileError: The archive is damaged.
    """
    # The id in the manifest is valid Unicode, unlike perhaps that in the job object.
    archive, job = archived.archive, msgspec.structs.replace(archived.job, id=archived.id)
    paths, missing = {}, {}
    for field, id in (("training", job.training_file), ("validation", job.validation_file)):
        reason = archive.why_unusable(id) if id else ""
        if reason:
            missing[field] = reason
        elif id:
            paths[field] = str(archive.file(id))
    return SourceJob(
        provider=archive.provider,
        job=job,
        method=archived.method,
        hyperparameters=archived.hyperparameters,
        training=paths.get("training", ""),
        validation=paths.get("validation"),
        missing=missing,
    )


def from_provider(client: Client, id: str, folder: Path) -> SourceJob:
    """Return a job of a provider, and download its files into `folder` unless they are there.

    Raises:
        ProviderError: The job or a file cannot be read.
        FileError: A file cannot be written.
    """
    job = msgspec.structs.replace(client.job(id), id=id)
    paths, missing = {}, {}
    for field, file_id in (("training", job.training_file), ("validation", job.validation_file)):
        if not is_usable_id(file_id):
            missing[field] = INVALID_ID
            continue
        try:
            paths[field] = _download(client, file_id, folder) if file_id else ""
        except NotFoundError as error:
            missing[field] = str(error)
    return SourceJob(
        provider=client.name,
        job=job,
        method=job.method,
        hyperparameters=job.hyperparameters,
        training=paths.get("training", ""),
        validation=paths.get("validation") or None,
        missing=missing,
    )


def _download(client: Client, file_id: str, folder: Path) -> str:
    name = hashlib.sha256(f"{client.account} {file_id}".encode()).hexdigest()
    path = folder / f"{name[:32]}.jsonl"
    if not path.exists():
        try:
            make_private_folder(folder)
            with atomic_write(path) as temporary, open_private(temporary) as file:
                file.writelines(client.iter_content(file_id))
        except OSError as error:
            raise FileError(f"cannot write {path}: {os_error_message(error)}") from error
        expected, size = client.file(file_id).size, path.stat().st_size
        if size < expected:
            path.unlink()
            raise UnknownOutcomeError(
                f"cannot read the file {file_id}: {client.provider.title} reports"
                f" {expected:,} bytes, and sent {size:,}"
            )
    return str(path)
