"""Starts a process for each job that is to be checked or trained, and sees to those that pause, are cancelled, or die.

What is to be done follows from the states of the jobs alone, so that a server which starts again goes on where another ended.
"""

from __future__ import annotations

import subprocess
import threading
import traceback
from pathlib import Path
from typing import Literal

from ftkit._local import RUN_MODULE
from ftkit._text import last_line
from ftkit.server.files import release
from ftkit.server.folder import Folder
from ftkit.server.jobs import FINAL, add_event, fail, move
from ftkit.server.store import Store, Thing

TICK = 0.1
"""Seconds between two looks at the jobs."""

ATTEMPTS = 3
"""Times that a process is started for a job that makes no progress."""

CHECKS = 2
"""Jobs whose files are checked at once."""

Task = Literal["check", "train"]


class Supervisor(threading.Thread):
    """The thread that does this, from `start` to `end`."""

    def __init__(self, store: Store, folder: Folder, max_jobs: int) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._store, self._folder, self._max_jobs = store, folder, max_jobs
        self._processes: dict[str, tuple[Task, subprocess.Popen[bytes]]] = {}
        self._ending = threading.Event()

    def run(self) -> None:
        recovered = False
        while not self._ending.wait(TICK):
            try:
                if not recovered:
                    self._recover()
                recovered = True
                self._look()
            except Exception:  # the disk may be full now, and have room again later
                traceback.print_exc()

    def end(self) -> None:
        """End the processes. Their jobs go on when a server is started again."""
        self._ending.set()
        self.join()
        for _, process in self._processes.values():
            process.kill()
            process.wait()

    def _recover(self) -> None:
        """Take up the jobs that were running when an earlier server ended."""
        for job in self._store.with_status("job", "running"):
            move(
                self._store,
                job.id,
                ("running",),
                "queued",
                "The service was started again; the job goes on",
            )
        for job in self._store.with_status("job", "pausing"):
            move(
                self._store,
                job.id,
                ("pausing",),
                "paused",
                "The job is paused",
                estimated_finish=None,
            )

    def _look(self) -> None:
        for id, (task, process) in list(self._processes.items()):
            job, code = self._store.get("job", id), process.poll()
            if code is not None:
                self._ended(id, task, code)
                del self._processes[id]
                job = self._store.get("job", id)
                if job is None or job.shown["status"] in FINAL:
                    self._folder.clear(id)
            elif job is None or job.shown["status"] == "cancelled":
                process.kill()
            elif job.shown["status"] == "pausing":
                _tell(process, "pause")
        self._start("check", "validating_files", CHECKS)
        self._start("train", "queued", self._max_jobs)

    def _start(self, task: Task, status: str, most: int) -> None:
        free = most - sum(each == task for each, _ in self._processes.values())
        waiting = self._store.with_status("job", status) if free > 0 else []
        for job in [job for job in waiting if job.id not in self._processes][:free]:
            self._processes[job.id] = (task, self._spawn(task, job))

    def _spawn(self, task: Task, job: Thing) -> subprocess.Popen[bytes]:
        place = self._folder.job(job.id)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [*RUN_MODULE, "ftkit.server.work", task, str(self._folder.root), job.id]
        with _log(place).open("wb") as log:
            # A session of its own, so that Ctrl-C ends the server alone, and the job is not taken for one whose process died.
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder.nowhere,
            )

    def _ended(self, id: str, task: Task, code: int) -> None:
        """A process has ended: its job is in a state where that is right, or it died on the way."""
        job = self._store.get("job", id)
        if task == "check" and job:
            for sha256 in job.kept["files"].values():
                release(self._store, self._folder, sha256)
        if move(
            self._store, id, ("pausing",), "paused", "The job is paused", estimated_finish=None
        ):
            return
        before = "validating_files" if task == "check" else "running"
        job = self._store.get("job", id)
        if job is None or job.shown["status"] not in (
            before,
            "queued" if task == "train" else before,
        ):
            return
        line = last_line(_log(self._folder.job(id)))
        said = f": {line}" if line else ""
        attempts = job.kept["attempts"] + 1
        if attempts >= ATTEMPTS:
            told = f"The training process ended {attempts} times ({_cause(code)}{said})"
            fail(self._store, id, "server_error", told)
            return
        with self._store.transaction():
            self._store.change("job", id, lambda found: found.kept.update(attempts=attempts))
            told = f"The process of the job ended ({_cause(code)}{said}); it is started again"
            add_event(self._store, id, job.tenant, told, "warn")
            if task == "train":
                move(self._store, id, ("running",), "queued", "The job is queued")


def _tell(process: subprocess.Popen[bytes], what: str) -> None:
    assert process.stdin
    try:
        process.stdin.write(f"{what}\n".encode())
        process.stdin.flush()
    except OSError:
        pass  # it has ended, which the next look finds


def _log(place: Path) -> Path:
    return place / "process.log"


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
