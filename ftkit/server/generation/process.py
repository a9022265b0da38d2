"""Text generation, in a process of its own: `python -m ftkit.server.worker generate DATA_DIR`.

Requests and responses are JSON lines on standard input and output. A request is either of

    {"id", "base", "job", "step", "recipe", "tenant", "messages" | "prompt", "tools", "tool_choice",
     "parallel_tool_calls", "response_format", "n", "max_tokens", "stop", "temperature", "top_p",
     "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "echo"}
    {"cancel": id}

and the responses to a request, where `index` is the number of the choice, are

    {"id", "index", "text", "logprobs", if they were requested} ...
    {"id", "index", "tool_calls": [{"name", "arguments"}]}, at most once for a choice
    {"id", "index", "finish_reason", "tokens"}
    {"id", "done": true, "prompt_tokens"} | {"id", "error", "code", "param"}

`ftkit.server.generation.prompts.Request` has the types of a request, and `ftkit.server.logprobs`
describes log probabilities. The code of an error is "server_error", or names what is wrong with the
request. The process exits when its standard input is closed.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, TextIO

import msgspec

from ftkit.errors import EncodingError, ModelLoadError, RecipeError
from ftkit.server.commands import RequestReader
from ftkit.server.folder import Folder
from ftkit.server.generation.engine import Engine
from ftkit.server.generation.prompts import ParameterError, PromptTooLongError, Request
from ftkit.server.logs import LogLimit
from ftkit.server.out_of_memory import is_out_of_memory
from ftkit.server.training.base import REASON_LENGTH, load_reason

OUT_OF_MEMORY = (
    "The completion needs more memory than is free; try again later, or with a shorter prompt or"
    " fewer tokens."
)
"""Message for completions that run out of memory."""

logger = logging.getLogger(__name__)


class Responder:
    """Writes the responses to requests.

    Args:
        responses: File to write them to.
    """

    def __init__(self, responses: TextIO) -> None:
        self._responses = responses

    def send(self, request_id: str, **response: Any) -> None:
        """Write a response."""
        self._responses.write(json.dumps({"id": request_id, **response}) + "\n")
        self._responses.flush()

    def fail(self, request_id: str, error: Exception) -> None:
        """Write the error of a request, so that the process can go on."""
        code, message = _explain(error)
        param = error.param if isinstance(error, ParameterError) else None
        self.send(request_id, error=message, code=code, param=param)


def _explain(error: Exception) -> tuple[str, str]:
    """Return the code and the message of an exception, and log what clients do not see of it."""
    if is_out_of_memory(error):
        logger.warning("%s (%s)", OUT_OF_MEMORY, load_reason(error))
        return "out_of_memory", OUT_OF_MEMORY
    if isinstance(error, ModelLoadError):
        logger.warning("%s (%s)", error, load_reason(error))
        return "model_not_found", str(error)
    if isinstance(error, PromptTooLongError):
        return "context_length_exceeded", str(error)
    if isinstance(error, RecipeError):
        return "server_error", str(error)
    if isinstance(error, EncodingError):
        return "invalid_value", str(error)[:REASON_LENGTH]
    logger.exception("a completion failed")
    return "server_error", f"The completion failed ({type(error).__name__}); see generate.log."


def process_requests(root: Path, reader: RequestReader, responses: TextIO) -> None:
    """Process requests until the process ends.

    Args:
        root: Data folder of the service.
        reader: Source of the requests.
        responses: File to write the responses to.
    """
    logger.addFilter(LogLimit())
    responder = Responder(responses)
    engine = Engine(Folder(root), responder.send, responder.fail)
    while True:
        while engine.is_idle or not reader.requests.empty():
            request = reader.requests.get()
            if "cancel" in request:
                engine.cancel(request["cancel"])
            else:
                _add(request, engine, responder)
        engine.step()


def _add(request: dict[str, Any], engine: Engine, responder: Responder) -> None:
    """Add a request to the engine. One that is malformed fails alone."""
    try:
        engine.add(msgspec.convert(request, Request, strict=False))
    except msgspec.ValidationError as error:
        responder.fail(request["id"], error)
