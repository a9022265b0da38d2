"""Reading an archive: jobs as the service sent them, with all that belongs to them.

archive = open_archive("old")
for each in archive.jobs():
    print(each.job.id, each.hyperparameters, each.training, each.metrics().rows)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ftkit.archive import layout
from ftkit.archive.manifest import Manifest, Missing, read_manifest
from ftkit.archive.store import state
from ftkit.client.resources import Checkpoint, Event, Job, RemoteFile, RemoteModel
from ftkit.compare.recordings import Recording, read_recordings
from ftkit.errors import FileError, FtkitError, did_you_mean, os_error_message
from ftkit.jobs.metrics import Metrics, from_checkpoints, read_results


class Archive:
    """An archive. What is read is not checked by hash; see `verify`.

    Where it is `lenient`, a file of the archive that is damaged counts as one that it does not have.
    """

    def __init__(self, folder: Path, manifest: Manifest, lenient: bool = False) -> None:
        self.folder, self.manifest, self.lenient = folder, manifest, lenient

    @property
    def provider(self) -> str:
        """The name of the service that the archive is of."""
        return self.manifest.account.partition(" ")[0]

    def job(self, id: str) -> ArchivedJob:
        """The job of that id, or in the folder of that name; raises `FileError` where there is none."""
        names = {Path(folder).name: known for known, folder in self.manifest.jobs.items()}
        found = id if id in self.manifest.jobs else names.get(id)
        if found is None:
            raise FileError(
                f"{self.folder} holds no job {id}{did_you_mean(id, self.manifest.jobs, otherwise='')}"
            )
        return ArchivedJob(self, found, self.manifest.jobs[found])

    def jobs(self) -> list[ArchivedJob]:
        """All jobs, newest first."""
        found = [ArchivedJob(self, id, folder) for id, folder in self.manifest.jobs.items()]
        return sorted(found, key=lambda each: (-each.job.created_at, each.id))

    def file(self, id: str) -> Path | None:
        """Where the content of a file at the service is; None where it could not be had."""
        path = self.manifest.contents.get(id)
        return layout.inside(self.folder, path) if path else None

    def lack(self, id: str) -> str:
        """Why the content of a file at the service is not here as it was there; empty where it is. Checks it by its hash."""
        path, missing = self.manifest.contents.get(id), self.missing.get(id, ())
        if path is None or path not in self.manifest.files:
            return next(
                (f"{one.reason} ({one.said})" for one in missing), "the archive does not have it"
            )
        if missing:
            return f"the archive has a part of it: {missing[0].said}"
        found = state(self.folder, path, self.manifest.files[path])
        return (
            ""
            if found == "intact"
            else f"{path} is {found} since it was archived; `ftkit archive` fetches it again"
        )

    @cached_property
    def files(self) -> dict[str, RemoteFile]:
        """What the service knew of files, by id: their names, sizes and purposes."""
        return {file.id: file for file in map(RemoteFile.read, self.json(layout.FILES, []))}

    @cached_property
    def models(self) -> dict[str, RemoteModel]:
        """The models that the account could use, by id."""
        return {model.id: model for model in map(RemoteModel.read, self.json(layout.MODELS, []))}

    @cached_property
    def missing(self) -> dict[str, list[Missing]]:
        """What could not be had, by the id of its job, or its own where it belongs to no job."""
        found: dict[str, list[Missing]] = {}
        for one in self.manifest.missing:
            found.setdefault(one.job or one.id, []).append(one)
        return found

    def has(self, path: str) -> bool:
        """Whether the archive has a file of that path."""
        return path in self.manifest.files

    def bytes(self, path: str) -> bytes:
        """What is in a file of the archive; raises `FileError`."""
        try:
            return layout.inside(self.folder, path).read_bytes()
        except OSError as error:
            raise FileError(
                f"cannot read {self.folder / path}: {os_error_message(error)}"
            ) from error

    def json(self, path: str, otherwise: Any) -> Any:
        """The JSON in a file of the archive, of the type of `otherwise`, or that where there is none; raises `FileError`."""
        if not self.has(path):
            return otherwise
        try:
            return parse(self.bytes(path), path, type(otherwise))
        except FileError:
            if self.lenient:
                return otherwise
            raise


class ArchivedJob:
    """A job of an archive. What is read is read when it is asked for."""

    def __init__(self, archive: Archive, id: str, folder: str) -> None:
        self.archive, self.id, self.path = archive, id, folder

    @property
    def folder(self) -> Path:
        """The folder of the job."""
        return layout.inside(self.archive.folder, self.path)

    @cached_property
    def job(self) -> Job:
        """The job as the service sent it."""
        return Job.read(self.archive.json(f"{self.path}/{layout.JOB}", {"id": self.id}))

    @property
    def is_known(self) -> bool:
        """Whether the archive has more of the job than its id; it may not where it is lenient."""
        return len(self.job.raw) > 1

    @cached_property
    def hyperparameters(self) -> dict[str, Any]:
        """The hyperparameters as the service has resolved them; `auto` where it never said."""
        return self.job.hyperparameters

    @property
    def method(self) -> str:
        """How it was trained: `supervised`, `dpo`, `reinforcement`, or what the service calls it."""
        return self.job.method

    @property
    def training(self) -> Path | None:
        """The training file; None where it could not be had."""
        return self.archive.file(self.job.training_file)

    @property
    def validation(self) -> Path | None:
        """The validation file; None where there was none, or it could not be had."""
        return self.archive.file(self.job.validation_file)

    @property
    def results(self) -> list[Path]:
        """The result files, decoded."""
        return [path for id in self.job.result_files if (path := self.archive.file(id))]

    @property
    def events(self) -> list[Event]:
        """The events, oldest first."""
        return [Event.read(raw) for raw in self._lines(layout.EVENTS)]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints, oldest first."""
        return [
            Checkpoint.read(raw)
            for raw in self.archive.json(f"{self.path}/{layout.CHECKPOINTS}", [])
        ]

    @property
    def permissions(self) -> dict[str, list[dict[str, Any]]]:
        """The permissions by the id of the checkpoint, as the service sent them."""
        found: dict[str, list[dict[str, Any]]] = self.archive.json(
            f"{self.path}/{layout.PERMISSIONS}", {}
        )
        return found

    @property
    def answers(self) -> list[Recording]:
        """What the tuned model answered, with the prompts, parameters and usage."""
        path = f"{self.path}/{layout.ANSWERS}"
        return (
            read_recordings(str(layout.inside(self.archive.folder, path)))
            if self.archive.has(path)
            else []
        )

    @property
    def missing(self) -> list[Missing]:
        """What could not be had of this job, and of its files."""
        ids = dict.fromkeys((self.id, self.job.training_file, self.job.validation_file))
        return [one for id in ids for one in self.archive.missing.get(id, ())]

    def metrics(self) -> Metrics:
        """The losses by step: of the first result file that can be read, else of the checkpoints."""
        for id in self.job.result_files:
            try:
                return read_results(self.archive.bytes(self.archive.manifest.contents[id]))
            except (KeyError, FtkitError):
                continue
        return from_checkpoints(self.checkpoints)

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        path = f"{self.path}/{name}"
        if self.archive.has(path):
            yield from (parse(line, path, dict) for line in self.archive.bytes(path).splitlines())


def open_archive(folder: str | os.PathLike[str], lenient: bool = False) -> Archive:
    """The archive in a folder; raises `FileError` where there is none."""
    path = Path(folder)
    return Archive(path, read_manifest(path), lenient)


def find_job(place: str) -> ArchivedJob | None:
    """The job that `DIR/JOB` or `DIR/jobs/JOB` names, JOB being an id or the name of a folder; None where no archive is there."""
    path = Path(place)
    for folder in (path.parent, path.parent.parent):
        if path.name and (folder / layout.MANIFEST).is_file():
            return open_archive(folder).job(path.name)
    return None


def parse(data: bytes, path: str, kind: type) -> Any:
    """The JSON value of that kind in the data; raises `FileError`."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise FileError(f"{path} is damaged: {error}; see `ftkit archive verify`") from error
    if not isinstance(found, kind):
        raise FileError(
            f"{path} is damaged: it holds another kind of value; see `ftkit archive verify`"
        )
    return found
