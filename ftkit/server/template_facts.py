"""Facts about the chat templates of base models, read by processes that have transformers.

An answering server renders the chat template by itself. With the facts, its prompts are those of
training, or it is not used for chats.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._local import RUN_MODULE
from ftkit._text import printable
from ftkit.server.errors import EXCERPT
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRef
from ftkit.server.training.adaptation import TemplateFeatures

logger = logging.getLogger("ftkit.server")


class TemplateFacts(Struct, frozen=True):
    """Facts about a chat template, with the variables of a recipe.

    Attributes:
        features: Features of the template, for `adapt`.
        end_ids: Ids of the tokens that end a completion.
        obstacle: Reason why another server would render other prompts than training, or "".
    """

    features: TemplateFeatures = TemplateFeatures()
    end_ids: list[int] = []
    obstacle: str = ""


class TemplateReader:
    """Reads facts about chat templates, once for each base model and variables of a recipe."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._facts: dict[tuple[str, bytes], TemplateFacts | None] = {}
        self._lock = asyncio.Lock()

    async def read(self, served: ModelRef, again: bool = False) -> TemplateFacts | None:
        """Return the facts about a chat template, or None if they cannot be read.

        Args:
            served: Base model, and the recipe.
            again: Try again if the facts could not be read before.
        """
        key = served.base, msgspec.json.encode(served.recipe["template"], order="sorted")
        async with self._lock:
            is_new = key not in self._facts
            if is_new or (again and self._facts[key] is None):
                facts, reason = await self._run(served)
                self._facts[key] = facts
                if is_new and reason:
                    message = "The local process answers chats for %s; its chat template: %s"
                    logger.warning(message, served.base, printable(reason)[:EXCERPT])
            return self._facts[key]

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
