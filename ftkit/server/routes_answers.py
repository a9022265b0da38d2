"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from ftkit.server.answers import Kind, frame, stream, whole
from ftkit.server.bodies import ChatBody, CompletionBody, Sampling
from ftkit.server.paging import as_json
from ftkit.server.reading import body_of, parts_of

router = APIRouter()

COMPLETION_TOKENS = 16
"""Tokens of a text completion that names no number; OpenAI's default."""


@router.post("/chat/completions")
async def chat(request: Request) -> Response:
    body = await body_of(request, ChatBody)
    most = body.max_completion_tokens or body.max_tokens
    return await _answer(request, "chat", body, {"messages": body.messages}, most)


@router.post("/completions")
async def complete(request: Request) -> Response:
    body = await body_of(request, CompletionBody)
    prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
    return await _answer(request, "text", body, {"prompt": prompt}, body.max_tokens or COMPLETION_TOKENS)


async def _answer(request: Request, kind: Kind, body: Sampling, given: dict[str, Any], most: int | None) -> Response:
    parts, tenant = parts_of(request)
    served = parts.bases.find(body.model, tenant)
    told, framed = parts.generator.ask(served, given, body, most), frame(kind, body.model, served.base)
    if not body.stream:
        return as_json(await whole(framed, told))
    with_usage = bool((body.stream_options or {}).get("include_usage"))
    return StreamingResponse(stream(framed, told, with_usage), media_type="text/event-stream")
