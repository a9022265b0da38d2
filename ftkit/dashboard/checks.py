"""Checks of files by processes of their own, with results that are kept by content.

request -> result on the disk | reason of a failure | process, one of a few, with limits
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool

from ftkit._local import RUN_MODULE
from ftkit._private import make_private_folder, open_private
from ftkit._text import last_line
from ftkit.dashboard.check_results import DATA, REPORT, RESULT, Check, Task
from ftkit.server.database import Database
from ftkit.server.errors import ServiceError
from ftkit.server.folder import Folder
from ftkit.server.objects import FileObject

MODULE = "ftkit.dashboard.check_process"
"""Module that a process runs."""

MAX_RUNNING = 2
"""Maximum number of processes."""

MAX_PENDING_OF_TENANT = 8
"""Maximum number of checks of a tenant that wait or run. Further ones wait for those."""

SECONDS: dict[Task, float] = {"validate": 1800, "encode": 600, "convert": 300, "fix": 300}
"""Maximum time of a check in seconds, by task."""

ABANDONED_SECONDS = 180.0
"""Seconds after which a check ends that no page has asked for. Hidden tabs also ask, for which
browsers run timers once a minute or more often."""

ABANDONED = "The check was ended, since no page asked for it any more."
"""Reason for the end of such a check. It is not remembered: the next page starts it again."""

CACHE_BYTES, CACHE_FILES = 512 << 20, 10_000
"""Maximum size and number of the files with results; the oldest ones are removed."""

OUTPUT_BYTES = 80 << 20
"""Bytes that must be free on the disk for a check."""

MAX_FAILURES = 1_000
"""Maximum number of failures that are remembered."""

MESSAGE_BYTES = 1 << 20
"""Maximum size of a message of a process."""

logger = logging.getLogger("ftkit.server")


class CheckProgress(Struct, frozen=True):
    """A check without a result yet.

    Attributes:
        is_running: True if its process runs or starts. If not, it waits for other checks.
        share: Share of the work that is done, or None if that is not known.
    """

    is_running: bool = False
    share: float | None = None


class CheckFailure(Struct, frozen=True):
    """A check that failed, and the reason as a sentence."""

    message: str


Pending = CheckProgress | CheckFailure
"""What there is instead of a result."""

State = bytes | Pending
"""State of a check: its result as JSON, or what there is instead."""

StateKind = Literal["none", "progress", "failure", "result"]
"""Kind of a state, for templates; "none" if there is no check."""


def state_kind(state: Pending | Struct | None) -> StateKind:
    """Return the kind of the state of a check, whose result is decoded.

    Args:
        state: The result, what there is instead, or None if there is no check.
    """
    if state is None:
        return "none"
    if isinstance(state, CheckProgress):
        return "progress"
    return "failure" if isinstance(state, CheckFailure) else "result"


class _Entry(Struct, eq=False):
    """A check that waits or runs.

    Attributes:
        check: The check.
        path: The file.
        asked: Time in seconds at which a page asked for it last.
        progress: Its progress.
    """

    check: Check
    path: Path
    asked: float
    progress: CheckProgress = CheckProgress()


class Checks:
    """The checks of a service.

    Args:
        folder: Data folder of the service.
        database: Its database.
        running_of_tenant: Maximum number of processes of a tenant.
    """

    def __init__(
        self, folder: Folder, database: Database, running_of_tenant: int = MAX_RUNNING
    ) -> None:
        self._folder, self._database = folder, database
        self._running_of_tenant = running_of_tenant
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._failures: OrderedDict[str, CheckFailure] = OrderedDict()
        self._runners: set[asyncio.Task[None]] = set()

    async def state(self, check: Check) -> State:
        """Return the state of a check, which is started if necessary."""
        result = await run_in_threadpool(self._read, check)
        if result is not None:
            return result
        key = _key(check)
        if key in self._failures:
            return self._failures[key]
        now = asyncio.get_running_loop().time()
        entry = self._entries.get(key)
        if entry is None:
            if self._count(check.tenant) >= MAX_PENDING_OF_TENANT:
                return CheckProgress()
            path = self._folder.blob(check.sha256)
            entry = self._entries[key] = _Entry(check, path, now)
        entry.asked = now
        self._start_runners()
        return entry.progress

    def forget(self, check: Check) -> None:
        """Forget the failure of a check, so that it is tried again."""
        self._failures.pop(_key(check), None)

    def path(self, check: Check, suffix: str) -> Path:
        """Return the path of a file that a check has made."""
        return self._folder.checks_of(check.sha256) / f"{check.name}{suffix}"

    def _read(self, check: Check) -> bytes | None:
        path = self.path(check, RESULT)
        try:
            os.utime(path)  # the least recently used results are removed first
            return path.read_bytes()
        except OSError:
            return None

    def _start_runners(self) -> None:
        while len(self._runners) < MAX_RUNNING and (entry := self._take()):
            runner = asyncio.create_task(self._run(entry))
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)

    async def _run(self, first: _Entry) -> None:
        """Run a check, and then those that wait, one after the other."""
        entry: _Entry | None = first
        while entry:
            key = _key(entry.check)
            try:
                failure = await self._run_check(entry)
            except ServiceError as error:
                failure = str(error)
            except Exception:
                logger.exception("A check of a file failed")
                failure = "The check failed; the log of the service has the reason."
            finally:
                self._entries.pop(key, None)
            if failure and failure != ABANDONED:
                self._failures[key] = CheckFailure(failure)
                if len(self._failures) > MAX_FAILURES:
                    self._failures.popitem(last=False)
            entry = self._take()

    def _count(self, tenant: str, is_running: bool = False) -> int:
        """Return the number of a tenant's checks, or of those that run."""
        return sum(
            entry.check.tenant == tenant and entry.progress.is_running >= is_running
            for entry in self._entries.values()
        )

    def _take(self) -> _Entry | None:
        """Return the first check that may run, which is to be run.

        Those that no page asks for any more are dropped.
        """
        for key, entry in list(self._entries.items()):
            if entry.progress.is_running:
                continue
            if _is_abandoned(entry):
                del self._entries[key]
            elif self._count(entry.check.tenant, is_running=True) < self._running_of_tenant:
                entry.progress = CheckProgress(is_running=True)
                return entry
        return None

    async def _run_check(self, entry: _Entry) -> str:
        """Run a check, and return the reason of its failure, or ""."""
        await run_in_threadpool(self._folder.disk.check_free, OUTPUT_BYTES)
        output = self._folder.temporary()
        try:
            failure = await self._run_process(entry, output)
            if not failure:
                await run_in_threadpool(self._keep, entry.check, output)
            return failure
        finally:
            await run_in_threadpool(_remove, output)

    async def _run_process(self, entry: _Entry, output: Path) -> str:
        check = entry.check
        arguments = json.dumps(check.arguments)
        command = [*RUN_MODULE, MODULE, check.task, str(entry.path), str(output), arguments]
        log = output.with_name(f"{output.name}.log")
        with open_private(log) as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                limit=MESSAGE_BYTES,
                start_new_session=True,
                cwd=self._folder.working_directory,
            )
        watch = asyncio.create_task(_watch(entry, process))
        try:
            failure = await _read_messages(entry, process)
            code = await process.wait()
        finally:
            watch.cancel()
            if process.returncode is None:  # the service stops
                process.kill()
                await process.wait()
        if failure:
            self._log_failure(check, log)
            return failure
        if not watch.cancelled() and watch.done():
            return watch.result()
        if code:
            self._log_failure(check, log)
            return "The check was ended by the system, perhaps because its memory was full."
        return ""

    @staticmethod
    def _log_failure(check: Check, log: Path) -> None:
        reason = last_line(log)
        if reason:  # what is wrong with a file is the answer to its owner, and no failure
            logger.warning("The check %s failed: %s", check.name, reason)

    def _keep(self, check: Check, output: Path) -> None:
        """Move the files of a check to the results, the one with the result last."""
        with self._database.transaction():
            if not self._database.exists(FileObject, sha256=check.sha256):
                return
            make_private_folder(self._folder.checks_of(check.sha256))
            for suffix in (REPORT, DATA, RESULT):
                source = output.with_name(output.name + suffix)
                if source.exists():
                    os.replace(source, self.path(check, suffix))
        self._trim(check)

    def _trim(self, newest: Check) -> None:
        """Remove the oldest results, except for those of a check, until the others fit."""
        groups: dict[Path, list[os.stat_result]] = {}
        for path in self._folder.checks.glob("??/*/*"):
            with contextlib.suppress(OSError):
                groups.setdefault(path.with_suffix(""), []).append(path.stat())
        size = sum(stat.st_size for stats in groups.values() for stat in stats)
        count = sum(map(len, groups.values()))
        oldest = sorted(groups, key=lambda group: max(stat.st_mtime for stat in groups[group]))
        for group in oldest:
            if size <= CACHE_BYTES and count <= CACHE_FILES:
                return
            if group != self.path(newest, ""):
                _remove(group)
                size -= sum(stat.st_size for stat in groups[group])
                count -= len(groups[group])


def _key(check: Check) -> str:
    return f"{check.sha256} {check.name}"


def _is_abandoned(entry: _Entry) -> bool:
    return asyncio.get_running_loop().time() > entry.asked + ABANDONED_SECONDS


async def _watch(entry: _Entry, process: asyncio.subprocess.Process) -> str:
    """Kill a process that takes too long, or that no page asks for, and return the reason."""
    limit = SECONDS[entry.check.task]
    end = asyncio.get_running_loop().time() + limit
    while True:
        await asyncio.sleep(0.5)
        if asyncio.get_running_loop().time() > end:
            process.kill()
            return f"The check took longer than {limit / 60:.0f} minutes and was ended."
        if _is_abandoned(entry):
            process.kill()
            return ABANDONED


async def _read_messages(entry: _Entry, process: asyncio.subprocess.Process) -> str:
    """Note the progress of a process until it ends, and return why it failed, or ""."""
    assert process.stdout
    failure = ""
    async for line in process.stdout:
        message = msgspec.json.decode(line)
        entry.progress = CheckProgress(True, message.get("share", entry.progress.share))
        failure = message.get("error", failure)
    return failure


def _remove(output: Path) -> None:
    """Remove the files whose names begin with that of a check."""
    for path in list(output.parent.glob(f"{output.name}[.-]*")):
        path.unlink(missing_ok=True)
