"""Answers of models, from the process that has one loaded. It is started when it is needed, and ended when nobody asks for long."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from ftkit._local import RUN_MODULE
from ftkit.server.bodies import Sampling
from ftkit.server.errors import (
    InternalError,
    InvalidRequestError,
    MissingObjectError,
    ServiceError,
    limit_reached,
)
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRef
from ftkit.server.objects import new_id

IDLE = 600.0
"""Seconds without a question after which the process is ended, so that its memory is free for training."""

QUEUE = 64
"""Questions that may wait at once."""

LINE = 16 << 20
"""Bytes that a line of the process may have."""


class Generator:
    """The process, and the questions that are under way."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._asked: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._starting = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None

    async def ask(
        self, served: ModelRef, given: dict[str, Any], sampling: Sampling, most: int | None
    ) -> AsyncIterator[dict[str, Any]]:
        """What the process says to a question, `given` as messages or prompt; raises `ServiceError`."""
        if len(self._asked) >= QUEUE:
            raise limit_reached(f"{QUEUE} questions are waiting already; ask again later.")
        id = new_id("")
        asked = self._asked[id] = asyncio.Queue()
        request = {
            "id": id,
            "base": served.base,
            "job": served.job,
            "step": served.step,
            **given,
            "n": sampling.n or 1,
            "most": most,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stops": sampling.stops,
            "seed": sampling.seed,
        }
        ended = False
        try:
            await self._send(request)
            while not ended:
                told = await asked.get()
                ended = "done" in told or "error" in told
                if "error" in told:
                    raise _error(told)
                yield told
        finally:
            del self._asked[id]
            if not ended:
                with contextlib.suppress(OSError):
                    await self._send({"cancel": id})
            self._wait_idle()

    async def _send(self, request: dict[str, Any]) -> None:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                if "cancel" in request:
                    return
                await self._start()
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        await self._process.stdin.drain()

    async def _start(self) -> None:
        command = [*RUN_MODULE, "ftkit.server.training.generate", str(self._folder.root)]
        pipe = asyncio.subprocess.PIPE
        with (self._folder.root / "generate.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                limit=LINE,
                start_new_session=True,
                cwd=self._folder.working_directory,
            )
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            told = json.loads(line)
            if told["id"] in self._asked:
                self._asked[told["id"]].put_nowait(told)
        await process.wait()
        for asked in self._asked.values():
            asked.put_nowait(
                {"error": "The process that answers has ended; ask again.", "fault": "server"}
            )

    def _wait_idle(self) -> None:
        if self._idle:
            self._idle.cancel()
        self._idle = (
            asyncio.get_running_loop().call_later(IDLE, self.end) if not self._asked else None
        )

    def end(self) -> None:
        """End the process."""
        if self._process and self._process.returncode is None:
            self._process.kill()


def _error(told: dict[str, Any]) -> ServiceError:
    if told["fault"] == "server":
        return InternalError(told["error"])
    if told["fault"] == "model_not_found":
        return MissingObjectError(told["error"], "model", told["fault"])
    return InvalidRequestError(told["error"], "messages", told["fault"])
