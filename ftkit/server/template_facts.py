"""Facts about chat templates, for answering servers; worker processes with transformers read them.

An answering server renders the chat template itself. With the facts, its prompts equal those of
training, or it is not used for chats.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._local import RUN_MODULE
from ftkit._text import printable
from ftkit.server.errors import EXCERPT
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRef
from ftkit.server.training.adaptation import TemplateFeatures

RETRY_SECONDS = 60.0
"""Seconds between attempts to read facts, which fail for example while the hub is unreachable."""

logger = logging.getLogger("ftkit.server")


class TemplateFacts(Struct, frozen=True):
    """Facts about a chat template that is rendered with the variables of a recipe.

    Attributes:
        features: Features of the template, for `adapt`.
        end_ids: Ids of the tokens that end a completion.
        obstacle: Reason why another server would render other prompts than training, or "".
    """

    features: TemplateFeatures = TemplateFeatures()
    end_ids: list[int] = []
    obstacle: str = ""


class TemplateReader:
    """Reads facts about chat templates, once for each base model and set of variables."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._facts: dict[tuple[str, bytes], TemplateFacts | None] = {}
        self._failed: dict[tuple[str, bytes], ModelRef] = {}
        self._next_retry = time.monotonic() + RETRY_SECONDS
        self._lock = asyncio.Lock()

    async def read(self, served: ModelRef) -> TemplateFacts | None:
        """Return the facts about a chat template, or None if they could not be read."""
        key = served.base, msgspec.json.encode(served.recipe["template"], order="sorted")
        if key in self._facts:
            return self._facts[key]
        async with self._lock:
            if key not in self._facts:
                self._facts[key], reason = await self._run(served)
                if self._facts[key] is None:
                    self._failed[key] = served
                if reason:
                    message = "The local process answers chats for %s; its chat template: %s"
                    logger.warning(message, served.base, printable(reason)[:EXCERPT])
            return self._facts[key]

    async def retry(self) -> None:
        """Read the facts that could not be read, if the last attempt was some time ago."""
        if time.monotonic() < self._next_retry:
            return
        self._next_retry = time.monotonic() + RETRY_SECONDS
        for key, served in list(self._failed.items()):
            async with self._lock:
                self._facts[key], _ = await self._run(served)
                if self._facts[key]:
                    del self._failed[key]

    async def _run(self, served: ModelRef) -> tuple[TemplateFacts | None, str]:
        """Return the facts, and the reason why another server cannot answer chats, or ""."""
        recipe = msgspec.json.encode(served.recipe).decode()
        command = [*RUN_MODULE, "ftkit.server.worker", "template", served.base, recipe]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            cwd=self._folder.working_directory,
        )
        try:
            output, errors = await _read_output(process)
            facts = msgspec.json.decode(output, type=TemplateFacts)
        except msgspec.MsgspecError:
            return None, _reason(errors)
        else:
            return facts, facts.obstacle
        finally:
            if process.returncode is None:
                process.kill()


async def _read_output(process: Any) -> tuple[bytes, bytes]:
    """Return the standard output and error, without closing the input, which ends the process."""
    output, errors, _ = await asyncio.gather(
        process.stdout.read(), process.stderr.read(), process.wait()
    )
    return output, errors


def _reason(errors: bytes) -> str:
    """Return the last line of the standard error."""
    lines = errors.decode("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no output")
