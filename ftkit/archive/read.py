"""Read access to an archive.

archive = open_archive("old")
for job in archive.jobs():
print(job.id, job.hyperparameters, job.training, job.metrics().rows)
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from ftkit.archive import layout
from ftkit.archive.access import NotRegularFileError, read_file, resolve_file, resolve_path
from ftkit.archive.manifest import Manifest, read_manifest
from ftkit.archive.missing import Missing
from ftkit.archive.serialize import parse_json, parse_json_lines
from ftkit.archive.store import check_file
from ftkit.client.resources import Checkpoint, Event, Job, RemoteFile, RemoteModel, unix_time
from ftkit.compare.recordings import Recording, read_recordings
from ftkit.errors import FileError, FtkitError, did_you_mean
from ftkit.jobs.metrics import Metrics, from_checkpoints, read_results


class Archive:
    """An archive, opened with `open_archive`.

    Files are checked by their sizes, not by their hashes; see `ftkit.archive.verify`.

    Attributes:
        folder: Folder of the archive.
        manifest: The manifest.
        lenient: Treat damaged files as missing instead of raising `FileError`.
    """

    def __init__(self, folder: Path, manifest: Manifest, lenient: bool = False) -> None:
        self.folder, self.manifest, self.lenient = folder, manifest, lenient

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self.manifest.account.partition(" ")[0]

    def job(self, id: str) -> ArchivedJob:
        """Return the job with that id or that folder name.

        Raises:
            FileError: There is no such job.
        """
        folders = self.manifest.jobs
        ids = {Path(folder).name: job_id for job_id, folder in folders.items()}
        job_id = id if id in folders else ids.get(id)
        if job_id is None:
            raise FileError(f"{self.folder} has no job {id}{did_you_mean(id, folders)}")
        return ArchivedJob(self, job_id, folders[job_id])

    def jobs(self) -> list[ArchivedJob]:
        """Return all jobs, newest first."""
        jobs = [ArchivedJob(self, id, folder) for id, folder in self.manifest.jobs.items()]
        return sorted(jobs, key=lambda job: (-unix_time(job.job.created_at), job.id))

    def file(self, id: str) -> Path | None:
        """Return the path of the content of the provider's file, or None if it is missing.

        Raises:
            FileError: The manifest names a path outside the archive, or a link is in its place.
        """
        path = self.manifest.contents.get(layout.key_of(id))
        try:
            return resolve_file(self.folder, path) if path else None
        except NotRegularFileError:
            if self.lenient:
                return None
            raise

    def why_unusable(self, id: str) -> str:
        """Return why a file's content is missing, incomplete or damaged, or "" if it is intact.

        Checks the hash of the file.
        """
        key = layout.key_of(id)
        path, missing = self.manifest.contents.get(key), self.missing.get(key, ())
        if path is None or path not in self.manifest.files:
            reasons = (f"{item.reason} ({item.message})" for item in missing)
            return next(reasons, "not in the archive")
        if missing:
            return f"only a part of it is in the archive: {missing[0].message}"
        state = check_file(self.folder, path, self.manifest.files[path])
        if state == "intact":
            return ""
        return f"{path} is {state} since it was archived; `ftkit archive save` fetches it again"

    @cached_property
    def files(self) -> dict[str, RemoteFile]:
        """File objects of the provider by id: names, sizes and purposes."""
        return {file.id: file for file in map(RemoteFile.read, self.json(layout.FILES, []))}

    @cached_property
    def models(self) -> dict[str, RemoteModel]:
        """Models that the account could use, by id."""
        return {model.id: model for model in map(RemoteModel.read, self.json(layout.MODELS, []))}

    @cached_property
    def missing(self) -> dict[str, list[Missing]]:
        """Everything that is missing, by job id, or by its own id if it belongs to no job."""
        missing: dict[str, list[Missing]] = {}
        for item in self.manifest.missing:
            missing.setdefault(item.job or item.id, []).append(item)
        return missing

    def has(self, path: str) -> bool:
        """Return True if the manifest lists a file with that path."""
        return path in self.manifest.files

    def bytes(self, path: str) -> bytes:
        """Return the content of a file of the archive.

        Raises:
            FileError: The file cannot be read, or its size differs from that in the manifest.
        """
        data, entry = read_file(self.folder, path), self.manifest.files.get(path)
        if entry is None or len(data) != entry.size:
            raise FileError(
                f"{path} is damaged: it has {len(data):,} bytes, unlike in the manifest;"
                " see `ftkit archive verify`"
            )
        return data

    def json(self, path: str, default: Any) -> Any:
        """Return the JSON value in a file of the archive, or `default` if there is no such file.

        Raises:
            FileError: The file is damaged, or holds a value of another type than `default`.
        """
        if not self.has(path):
            return default
        try:
            return parse_json(self.bytes(path), path, type(default))
        except FileError:
            if self.lenient:
                return default
            raise


class ArchivedJob:
    """A job of an archive. Files are read when they are needed.

    Attributes:
        archive: The archive.
        id: Id of the job.
        path: Path of the job's folder in the archive.
    """

    def __init__(self, archive: Archive, id: str, path: str) -> None:
        self.archive, self.id, self.path = archive, id, path

    @property
    def folder(self) -> Path:
        """The folder of the job."""
        return resolve_path(self.archive.folder, f"{self.path}/{layout.JOB}").parent

    @cached_property
    def job(self) -> Job:
        """The job object of the provider."""
        return Job.read(self.archive.json(f"{self.path}/{layout.JOB}", {"id": self.id}))

    @property
    def is_readable(self) -> bool:
        """False if the archive is lenient and the job object is missing or damaged."""
        return len(self.job.raw) > 1

    @cached_property
    def hyperparameters(self) -> dict[str, Any]:
        """Hyperparameters as the provider resolved them, or `auto`."""
        return self.job.hyperparameters

    @property
    def method(self) -> str:
        """Training method: `supervised`, `dpo`, `reinforcement`, or the provider's own name."""
        return self.job.method

    @property
    def training(self) -> Path | None:
        """The training file, or None if it is missing."""
        return self.archive.file(self.job.training_file)

    @property
    def validation(self) -> Path | None:
        """The validation file, or None if there was none or it is missing."""
        return self.archive.file(self.job.validation_file)

    @property
    def results(self) -> list[Path]:
        """The result files, decoded."""
        return [path for id in self.job.result_files if (path := self.archive.file(id))]

    @property
    def events(self) -> list[Event]:
        """The events, oldest first."""
        path = f"{self.path}/{layout.EVENTS}"
        if not self.archive.has(path):
            return []
        return [Event.read(raw) for raw in parse_json_lines(self.archive.bytes(path), path)]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints, oldest first."""
        raw = self.archive.json(f"{self.path}/{layout.CHECKPOINTS}", [])
        return [Checkpoint.read(checkpoint) for checkpoint in raw]

    @property
    def permissions(self) -> dict[str, list[dict[str, Any]]]:
        """Permission objects of the provider by checkpoint id."""
        permissions: dict[str, list[dict[str, Any]]] = self.archive.json(
            f"{self.path}/{layout.PERMISSIONS}", {}
        )
        return permissions

    @property
    def answers(self) -> list[Recording]:
        """Recorded answers of the fine-tuned model, with prompts, parameters and usage."""
        path = f"{self.path}/{layout.ANSWERS}"
        if not self.archive.has(path):
            return []
        return read_recordings(str(resolve_file(self.archive.folder, path)))

    @property
    def missing(self) -> list[Missing]:
        """Everything of this job and its files that is missing."""
        ids = (self.id, self.job.training_file, self.job.validation_file)
        keys = dict.fromkeys(layout.key_of(id) for id in ids if id)
        return [item for key in keys for item in self.archive.missing.get(key, ())]

    def metrics(self) -> Metrics:
        """Return losses by step from the first readable result file, else from the checkpoints."""
        for id in self.job.result_files:
            try:
                path = self.archive.manifest.contents[layout.key_of(id)]
                return read_results(self.archive.bytes(path))
            except (KeyError, FtkitError):
                continue
        return from_checkpoints(self.checkpoints)


def open_archive(folder: str | os.PathLike[str], lenient: bool = False) -> Archive:
    """Open the archive in a folder.

    Args:
        folder: Folder of the archive.
        lenient: Treat damaged files as missing instead of raising `FileError`.

    Raises:
        FileError: The folder is not an archive, or its manifest cannot be read.
    """
    path = Path(folder)
    return Archive(path, read_manifest(path), lenient)


def find_job(path: str) -> ArchivedJob | None:
    """Return the job at `ARCHIVE/JOB` or `ARCHIVE/jobs/JOB`, or None if ARCHIVE is not an archive.

    JOB is a job id or the name of a job's folder.

    Raises:
        FileError: The archive has no such job.
    """
    place = Path(path)
    for folder in (place.parent, place.parent.parent):
        if place.name and (folder / layout.MANIFEST).is_file():
            return open_archive(folder).job(place.name)
    return None
