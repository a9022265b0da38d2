"""The local server as a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai

from ftkit._local import find_running

RUN_SERVER = """
import importlib, json, resource, sys
from pathlib import Path
from ftkit.server.app import ServerSettings
from ftkit.server.recipes import load_recipes
from ftkit.server.run import run
from ftkit.server.storage import StorageLimits

s = json.loads(sys.argv[1])
if s["open_files"]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (s["open_files"], s["open_files"]))
for name, value in s["constants"].items():
    module, _, constant = name.rpartition(".")
    module = importlib.import_module(f"ftkit.server.{module}")
    assert hasattr(module, constant), name
    setattr(module, constant, value)
settings = ServerSettings(
    Path(s["folder"]),
    s["models"],
    tuple(s["keys"]),
    s["max_jobs"],
    storage=StorageLimits(**s["storage"]),
    recipes=load_recipes(s["recipe"]),
    answers=s["answers"],
    answers_key=s["answers_key"],
)
run(settings, "127.0.0.1", 0, print)
"""


class LocalServer:
    """A server on a folder, from `start` to `stop` or `kill`, or in a `with` block.

    `open_files` is its limit on open files. `constants` are those of the modules in `ftkit.server`,
    such as "connections.HEADER_SECONDS", with the values that they have in its process. `recipe` is
    a file with recipes. `answers` are URLs of answering servers by base model.
    """

    def __init__(
        self,
        folder: Path,
        models: dict[str, str] | None = None,
        keys: tuple[str, ...] = (),
        max_jobs: int = 1,
        open_files: int | None = None,
        constants: dict[str, Any] | None = None,
        recipe: Path | None = None,
        answers: dict[str, str] | None = None,
        answers_key: str = "",
        **storage: int,
    ) -> None:
        self.folder = folder
        self._settings = {
            "folder": str(folder),
            "models": models or {},
            "keys": keys,
            "max_jobs": max_jobs,
            "open_files": open_files,
            "constants": constants or {},
            "recipe": str(recipe) if recipe else None,
            "answers": answers or {},
            "answers_key": answers_key,
            "storage": storage,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, **environment: str) -> LocalServer:
        log = self.folder.with_suffix(".log").open("ab")
        command = [sys.executable, "-c", RUN_SERVER, json.dumps(self._settings)]
        (self.folder / "server.json").unlink(missing_ok=True)
        with log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={
                    "FTKIT_STATE_DIR": str(self.folder.parent / "state"),
                    **os.environ,
                    "HF_HUB_OFFLINE": "1",
                    **environment,
                },
            )
        deadline = time.monotonic() + 60
        while not (running := find_running(self.folder)):
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        self.url = running.url
        return self

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        """Kill the process, as a power failure would."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    def log(self) -> str:
        return self.folder.with_suffix(".log").read_text("utf-8", "replace")

    def client(self, key: str = "none", **more: Any) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=self.url, max_retries=0, timeout=60, **more)


def wait_for_job(client: openai.OpenAI, job: str, *statuses: str, seconds: float = 120) -> Any:
    """Return the job once it has one of the statuses."""
    deadline = time.monotonic() + seconds
    while True:
        result = client.fine_tuning.jobs.retrieve(job)
        if result.status in statuses:
            return result
        is_over = result.status in ("succeeded", "failed", "cancelled")
        assert not is_over, (result.status, result.error)
        assert time.monotonic() < deadline, result.status
        time.sleep(0.05)


def event_messages(client: openai.OpenAI, job: str) -> list[str]:
    """The messages of a job's events, oldest first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(job, limit=100)][::-1]
