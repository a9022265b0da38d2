"""The local server as a subprocess."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai

from ftkit._local import RUN_MODULE, find_running
from support.forking import ForkedPopen, ForkServer

FORKS = sys.platform == "linux"

RUN_SERVER = """
import importlib, json, resource, sys
from pathlib import Path
from ftkit.dashboard.app import DASHBOARD
from ftkit.server.app import ServerSettings
from ftkit.server.job_limits import TenantLimits
from ftkit.server.ray_settings import RaySettings
from ftkit.server.recipes import load_recipes
from ftkit.server.run import run
from ftkit.server.storage import StorageLimits

s = json.loads(sys.argv[1])
if s["open_files"]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (s["open_files"], s["open_files"]))
if s["forked"]:
    from support.forking import fork_workers

    fork_workers()
for name, value in s["constants"].items():
    module, _, constant = name.rpartition(".")
    module = importlib.import_module(f"ftkit.server.{module}")
    assert hasattr(module, constant), name
    setattr(module, constant, value)
runner = None
if s["runner"]:
    sys.path[:] = s["path"]
    from support.detached_runner import DetachedRunner

    runner = DetachedRunner(**s["runner"])
settings = ServerSettings(
    Path(s["folder"]),
    s["models"],
    tuple(s["keys"]),
    s["max_jobs"],
    storage=StorageLimits(**s["storage"]),
    recipes=load_recipes(s["recipe"]),
    answers=s["answers"],
    answers_key=s["answers_key"],
    runner=runner,
    limits=TenantLimits(**s["limits"]),
    shared_priorities=s["shared_priorities"],
    pages=DASHBOARD,
)
cluster = RaySettings(**s["cluster"]) if s["cluster"] else None
run(settings, "127.0.0.1", s["port"], print, cluster=cluster)
"""

SERVER_MODULES = [
    "ftkit.server.checking",
    "ftkit.server.run",
    "ftkit.tokens.encodings",
    "ftkit.validation.validate",
]

TRAINING_MODULES = [
    "ftkit.server.generation.process",
    "ftkit.server.training.checking",
    "ftkit.server.training.run",
    "ftkit.server.training.trainers",
]


def run_forked(
    *command: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `ftkit` with these arguments in a process that has imported PyTorch, if it is there."""
    arguments, pipe = [*RUN_MODULE, "ftkit", *command], subprocess.PIPE
    with popen_forked()(arguments, stdout=pipe, stderr=pipe, env=env) as process:
        out, err = process.communicate()
    code = process.returncode
    return subprocess.CompletedProcess(["ftkit", *command], code, out.decode(), err.decode())


def popen_forked() -> type[subprocess.Popen[bytes]]:
    """Return `subprocess.Popen` for commands that are forked, from a process started if necessary."""
    return type("Popen", (ForkedPopen,), {"fork_server": _fork_server()})


@functools.cache
def _fork_server() -> ForkServer:
    """Return the process from which servers and their workers are forked."""
    training = TRAINING_MODULES if find_spec("torch") else []
    return ForkServer.start([*SERVER_MODULES, *training], HF_HUB_OFFLINE="1")


class LocalServer:
    """A server on a folder, from `start` to `stop` or `kill`, or in a `with` block.

    `open_files` is its limit on open files. `constants` are those of the modules in `ftkit.server`,
    such as "connections.HEADER_SECONDS", with the values that they have in its process. `recipe` is
    a file with recipes. `answers` are URLs of answering servers by base model. `forked` is False in
    tests of what the start of the server and its workers does: see `forking`. `runner` are the
    arguments of the `DetachedRunner` of training jobs, and `cluster` the settings of a Ray cluster
    for them. `port` is 0 for a free one.
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
        forked: bool = FORKS,
        cluster: dict[str, str] | None = None,
        port: int = 0,
        runner: dict[str, Any] | None = None,
        limits: dict[str, int] | None = None,
        shared_priorities: bool = False,
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
            "forked": forked,
            "cluster": cluster,
            "port": port,
            "runner": runner,
            "path": sys.path if runner else [],
            "limits": limits or {},
            "shared_priorities": shared_priorities,
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
            popen = popen_forked() if self._settings["forked"] else subprocess.Popen
            self._process = popen(
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
        # The nodes of a cluster are probed first, which takes up to 150 seconds.
        deadline = time.monotonic() + (240 if self._settings["cluster"] else 180)
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


def wait_for_job(client: openai.OpenAI, job: str, *statuses: str, seconds: float = 300) -> Any:
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
    """The messages of all events of a job, oldest first."""
    page = client.fine_tuning.jobs.list_events(job, limit=100)
    return [event.message for event in page][::-1]  # which requests further pages
