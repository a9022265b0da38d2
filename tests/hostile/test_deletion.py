"""Deleted contents are gone from the disk after any order of requests, kills and restarts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from random import Random

import openai

from ftkit.server.database import Database
from ftkit.server.objects import UNFINISHED, JobObject
from support.hostile import Cases
from support.local_server import LocalServer
from support.models import SMOKE
from support.server_requests import CLEAN_DATA, upload_file
from support.traces import leave_training_data, wait_until_gone

CASES_PER_ORDER = 10
"""An order of requests takes as long as so many cases of other harnesses."""


class Model:
    """Requests in a random order, and what has to be on the disk after them.

    Attributes:
        files: Markers in the contents of the existing files, by id.
        markers: All markers.
        jobs: Markers in the files of the unfinished jobs, by id.
    """

    def __init__(self, server: LocalServer, random: Random, name: str) -> None:
        self.files: dict[str, str] = {}
        self.markers: list[str] = []
        self.jobs: dict[str, str] = {}
        self.client = server.client()
        self._server, self._random, self._name = server, random, name

    def step(self) -> str:
        """Do something, and return its name."""
        actions = (
            self.create_file, self.create_file, self.upload_parts, self.create_job,
            self.create_job, self.delete, self.cancel, self.pause, self.resume, self.train,
            self.kill, self.restart,
        )  # fmt: skip
        action = self._random.choice(actions)
        action()
        return action.__name__

    def _new_content(self) -> tuple[str, bytes]:
        if self.files and self._random.random() < 0.2:
            marker = self._random.choice(list(self.files.values()))  # the same content again
        else:
            marker = f"marker-{self._name}-{len(self.markers)}-"
            self.markers.append(marker)
        return marker, CLEAN_DATA.replace(b"follows 0", b"follows " + marker.encode())

    def create_file(self) -> None:
        marker, content = self._new_content()
        assert marker.encode() in content
        self.files[upload_file(self.client, content).id] = marker

    def upload_parts(self) -> None:
        marker, content = self._new_content()
        upload = self.client.uploads.create(
            bytes=len(content), filename="a.jsonl", mime_type="x", purpose="fine-tune"
        )
        half = len(content) // 2
        parts = [
            self.client.uploads.parts.create(upload.id, data=data).id
            for data in (content[:half], content[half:])
        ]
        if self._random.random() < 0.3:
            self.client.uploads.cancel(upload.id)
        else:
            done = self.client.uploads.complete(upload.id, part_ids=parts)
            assert done.file
            self.files[done.file.id] = marker

    def create_job(self) -> None:
        if self.files:
            id = self._random.choice(list(self.files))
            job = self.client.fine_tuning.jobs.create(model=SMOKE, training_file=id)
            self.jobs[job.id] = self.files[id]

    def delete(self) -> None:
        if self.files:
            id = self._random.choice(list(self.files))
            self.client.files.delete(id)
            del self.files[id]

    def cancel(self) -> None:
        if self.jobs:
            id = self._random.choice(list(self.jobs))
            self.client.fine_tuning.jobs.cancel(id)
            del self.jobs[id]

    def pause(self) -> None:
        self._try(self.client.fine_tuning.jobs.pause)

    def resume(self) -> None:
        self._try(self.client.fine_tuning.jobs.resume)

    def _try(self, action: Callable[[str], object]) -> None:
        if self.jobs:
            with suppress(openai.BadRequestError):  # the status of the job does not allow it
                action(self._random.choice(list(self.jobs)))

    def train(self) -> None:
        """Leave what an interrupted training process leaves."""
        if self.jobs:
            id = self._random.choice(list(self.jobs))
            leave_training_data(self._server.folder / "jobs" / id, self.jobs[id])

    def kill(self) -> None:
        self._server.kill()
        self._start()

    def restart(self) -> None:
        self._server.stop()
        self._start()

    def _start(self) -> None:
        self._server.start()
        self.client = self._server.client()

    def forget_finished_jobs(self) -> None:
        """Drop the jobs that have ended on their own."""
        store = Database(self._server.folder / "service.db")
        unfinished = {job.id for job in store.matching(JobObject, *UNFINISHED)}
        self.jobs = {id: marker for id, marker in self.jobs.items() if id in unfinished}
        store.close()

    def check(self) -> None:
        """Check that contents that nothing needs are gone, and the others are there."""
        self.forget_finished_jobs()
        needed = {*self.files.values(), *self.jobs.values()}
        for marker in set(self.markers) - needed:
            wait_until_gone(self._server.folder, marker)
        for id, marker in self.files.items():
            assert marker.encode() in self.client.files.content(id).read()


def test_hostile_orders_of_deletions(hostile: Cases, tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", max_jobs=0) as server:
        for number, random in islice(hostile, max(hostile.count // CASES_PER_ORDER, 1)):
            steps: list[str] = []
            with hostile.case(number, steps):
                model = Model(server, random, str(number))
                for _ in range(random.randint(3, 8)):
                    steps.append(model.step())  # noqa: PERF401, a failure shows those so far
                model.check()
                for _ in range(len(model.jobs)):
                    model.cancel()
                model.check()
                for _ in range(len(model.files)):
                    model.delete()
                model.check()
                hostile.count_outcome("gone")
