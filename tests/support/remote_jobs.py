"""A service whose training jobs run in processes that outlive it, behind a proxy that fails."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import openai

from ftkit.server import lifecycle
from ftkit.server.bodies import JobBody
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRegistry
from ftkit.server.objects import EventObject, FileObject, JobObject
from support.detached_runner import kill_all, worker_ids
from support.local_server import LocalServer
from support.models import SMOKE
from support.report_proxy import ReportProxy

STEPS = 12
"""Number of training steps of a job."""

TIMING = {"beat": 0.1, "lost": 30.0, "response": 2.0, "backoff": 0.1}
"""Durations of the workers in seconds."""


class RemoteJobs:
    """A service in `folder`, with one queued job for each of `count`, as a context manager.

    `step_seconds` is the duration of a training step. `runner` is the folder of the processes. No step
    after `last_step` is trained until `release` is called. The processes have the data folder at
    `worker_root`, by default where it is.
    """

    def __init__(
        self,
        folder: Path,
        step_seconds: float = 0.05,
        count: int = 1,
        last_step: int | None = None,
        worker_root: Path | None = None,
        **more: object,
    ):
        self._hold = folder / "hold"
        if last_step is not None:
            self._hold.write_text(str(last_step))
        self.folder, self.runner = Folder(folder / "data"), folder / "runner"
        self.proxy = ReportProxy(self._port)
        timing = json.dumps({**TIMING, **more})
        root = str(worker_root or self.folder.root)
        module = [sys.executable, "-m", "support.remote_worker"]
        command = [*module, root, str(STEPS), str(step_seconds), timing]
        arguments = {"folder": str(self.runner), "url": self.proxy.url, "command": command}
        self.database = Database(self.folder.database)
        self.jobs = [self._queue_job() for _ in range(count)]
        self.server = LocalServer(self.folder.root, max_jobs=count, runner=arguments)

    def _queue_job(self) -> str:
        file = FileObject(tenant="local", bytes=2, filename="a", purpose="fine-tune", sha256="0")
        self.database.add(file)
        body = JobBody(model=SMOKE, training_file=file.id)
        job = lifecycle.create_job(self.database, ModelRegistry(self.database, {}), body, "local")

        def queue(job: JobObject) -> None:
            job.status, job.valid = "queued", True

        self.database.change(JobObject, job.id, queue)
        return job.id

    def _port(self) -> int:
        port = urlsplit(self.server.url).port
        if not port:
            raise ConnectionError("the service does not run now")
        return port

    def __enter__(self) -> RemoteJobs:
        self.proxy.__enter__()
        self.runner.mkdir(exist_ok=True)
        self.server.start()
        return self

    def __exit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.stop()
        kill_all(self.runner)
        self.proxy.__exit__(type, error, trace)
        self.database.close()

    @property
    def id(self) -> str:
        """Id of the first job."""
        return self.jobs[0]

    def release(self) -> None:
        """Let all steps be trained."""
        self._hold.unlink()

    def job(self, id: str = "") -> JobObject:
        job = self.database.get(JobObject, id or self.id)
        assert job
        return job

    def client(self) -> openai.OpenAI:
        return self.server.client()

    def wait_for(self, *statuses: str, id: str = "", seconds: float = 90) -> JobObject:
        """Return a job once it has one of the statuses."""
        deadline = time.monotonic() + seconds
        while (job := self.job(id)).status not in statuses:
            assert time.monotonic() < deadline, (job.status, self.messages(id), self.server.log())
            time.sleep(0.02)
        return job

    def wait_for_step(self, step: int, seconds: float = 90) -> None:
        """Wait until the first job has reported a step."""
        deadline = time.monotonic() + seconds
        while max(self.steps(), default=0) < step:
            assert time.monotonic() < deadline, (self.messages(), self.server.log())
            time.sleep(0.01)

    def events(self, id: str = "") -> list[EventObject]:
        return self.database.children(EventObject, id or self.id)

    def messages(self, id: str = "") -> list[str]:
        return [event.message for event in self.events(id)]

    def steps(self, id: str = "") -> list[int]:
        """Return the steps with metrics in the order of the events."""
        return [event.data["step"] for event in self.events(id) if event.type == "metrics"]

    def name(self, number: int, id: str = "") -> str:
        """Return the name of an attempt."""
        return f"{id or self.id}-{number}"

    def trained_steps(self, number: int) -> list[int]:
        """Return the steps that an attempt has trained, whether it has reported them or not."""
        log = (self.runner / f"{self.name(number)}.log").read_text()
        return [int(line.split()[1]) for line in log.splitlines() if line.startswith("trained")]

    def kill_worker(self, id: str = "", number: int = signal.SIGKILL) -> None:
        """Send a signal to the process of the last attempt of a job, if it runs."""
        for pid in worker_ids(self.runner, self.name(self.job(id).attempt, id)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def lose_node(self, id: str = "") -> str:
        """Have the runner take the process of the last attempt for dead, and return its name."""
        name = self.name(self.job(id).attempt, id)
        (self.runner / f"{name}.lost").touch()
        return name

    def restart_service(self, pause: float = 0) -> None:
        """Kill the service, and start it after so many seconds."""
        self.server.kill()
        time.sleep(pause)
        self.server.start()

    def check_ended_once(self, id: str = "") -> None:
        """Assert that a job has succeeded exactly once, with each step reported exactly once."""
        messages = self.messages(id)
        assert self.job(id).status == "succeeded", (self.job(id).error, messages)
        assert sorted(self.steps(id)) == list(range(1, STEPS + 1))
        for end in ("New fine-tuned model", "The job has successfully completed"):
            assert sum(text.startswith(end) for text in messages) == 1, messages
        assert len(self.job(id).result_files) == 1
        if len(self.jobs) == 1:
            self._check_acknowledged()

    def _check_acknowledged(self) -> None:
        """Assert that each acknowledged event is there, as the first attempt has reported it.

        A later attempt may train a step again and report it, which has no effect.
        """
        losses = {
            event.data["step"]: event.data["train_loss"] for event in self.events() if event.data
        }
        for key, data in self.proxy.acknowledged:
            assert losses[int(key.removeprefix("train "))] <= data["train_loss"], key
