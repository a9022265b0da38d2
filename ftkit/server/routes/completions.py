"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ftkit.server.bodies import ChatBody, CompletionBody, Sampling
from ftkit.server.completions import Kind, begun, frame, stream, whole
from ftkit.server.context import get_context, read_json
from ftkit.server.errors import DisconnectedError
from ftkit.server.responses import json_response

T = TypeVar("T")

COMPLETION_TOKENS = 16
"""Tokens of a text completion that names no number; OpenAI's default."""


async def chat(request: Request) -> Response:
    body = await read_json(request, ChatBody)
    most = body.max_completion_tokens or body.max_tokens
    return await _answer(
        request, "chat", body, {"messages": msgspec.to_builtins(body.messages)}, most
    )


async def complete(request: Request) -> Response:
    body = await read_json(request, CompletionBody)
    prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
    return await _answer(
        request, "text", body, {"prompt": prompt}, body.max_tokens or COMPLETION_TOKENS
    )


async def _answer(
    request: Request, kind: Kind, body: Sampling, given: dict[str, Any], most: int | None
) -> Response:
    service, tenant = get_context(request)
    served = service.models.find(body.model, tenant)
    told, framed = (
        service.generator.ask(served, given, body, most),
        frame(kind, body.model, served.base),
    )
    if not body.stream:
        return json_response(await _while_there(request, whole(framed, told)))
    with_usage = bool((body.stream_options or {}).get("include_usage"))
    # What is refused is refused before the first word, while the status can still say so.
    first = await _while_there(request, begun(told))
    return StreamingResponse(stream(framed, first, with_usage), media_type="text/event-stream")


async def _while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work comes to; it is given up when the one who asks has gone."""
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise DisconnectedError("The client closed the connection.")
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


ROUTES = [
    Route("/v1/chat/completions", chat, methods=["POST"]),
    Route("/v1/completions", complete, methods=["POST"]),
]
