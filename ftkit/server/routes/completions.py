"""Routes of `/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ftkit.server.bodies import PROMPT_BODY_BYTES, ChatBody, CompletionBody, Sampling
from ftkit.server.completions import Kind, collect, new_header, stream, wait_for_first
from ftkit.server.context import get_context, read_json
from ftkit.server.errors import DisconnectedError
from ftkit.server.responses import json_response

T = TypeVar("T")

DEFAULT_MAX_TOKENS = 16
"""Maximum number of tokens of a text completion without `max_tokens`; OpenAI's default."""


async def create_chat_completion(request: Request) -> Response:
    """Create a chat completion."""
    body = await read_json(request, ChatBody, PROMPT_BODY_BYTES)
    prompt = {"messages": msgspec.to_builtins(body.messages)}
    max_tokens = body.max_completion_tokens or body.max_tokens
    return await _respond(request, "chat", body, prompt, max_tokens)


async def create_completion(request: Request) -> Response:
    """Create a text completion."""
    body = await read_json(request, CompletionBody, PROMPT_BODY_BYTES)
    prompt = {"prompt": body.prompt if isinstance(body.prompt, str) else body.prompt[0]}
    max_tokens = body.max_tokens or DEFAULT_MAX_TOKENS
    return await _respond(request, "text", body, prompt, max_tokens)


async def _respond(
    request: Request, kind: Kind, body: Sampling, prompt: dict[str, Any], max_tokens: int | None
) -> Response:
    service, tenant = get_context(request)
    served = service.models.find(body.model, tenant)
    relayed = await _while_connected(request, service.relay.respond(kind, body, served, tenant))
    if relayed:
        return relayed
    responses = service.generator.generate(served, prompt, body, max_tokens)
    header = new_header(kind, body.model, served.base)
    if not body.stream:
        return json_response(await _while_connected(request, collect(header, responses)))
    with_usage = bool((body.stream_options or {}).get("include_usage"))
    # An error before the first response still sets the status of the HTTP response.
    responses = await _while_connected(request, wait_for_first(responses))
    return StreamingResponse(stream(header, responses, with_usage), media_type="text/event-stream")


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine, and cancel it if the client disconnects.

    Raises:
        DisconnectedError: The client disconnected.
    """
    task = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait((task, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise DisconnectedError("The client disconnected.")
    finally:
        for pending in (task, disconnected):
            pending.cancel()
        await asyncio.gather(task, disconnected, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


ROUTES = [
    Route("/v1/chat/completions", create_chat_completion, methods=["POST"]),
    Route("/v1/completions", create_completion, methods=["POST"]),
]
