"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ftkit.server.bodies import PROMPT_BODY_BYTES
from ftkit.server.completion_bodies import ChatBody, CompletionBody, CompletionFields
from ftkit.server.completion_choices import ChatChoices, TextChoices
from ftkit.server.completions import Kind, collect, new_header, stream, wait_for_first
from ftkit.server.context import get_context, read_json
from ftkit.server.disconnects import while_connected
from ftkit.server.model_headers import model_headers
from ftkit.server.prompts import generate_together
from ftkit.server.responses import json_response


async def create_chat_completion(request: Request) -> Response:
    """Create a chat completion."""
    body = await read_json(request, ChatBody, PROMPT_BODY_BYTES)
    choices = ChatChoices(has_functions=bool(body.functions))
    return await _respond(request, "chat", body, [body.request()], choices)


async def create_completion(request: Request) -> Response:
    """Create a text completion."""
    body = await read_json(request, CompletionBody, PROMPT_BODY_BYTES)
    return await _respond(request, "text", body, body.requests(), TextChoices())


async def _respond(
    request: Request,
    kind: Kind,
    body: CompletionFields,
    requests: list[dict[str, Any]],
    choices: ChatChoices | TextChoices,
) -> Response:
    service, tenant = get_context(request)
    served = service.models.find(body.model, tenant)
    relayed = await while_connected(request, service.relay.respond(body, requests, served, tenant))
    if relayed:
        relayed.headers.update(model_headers(served, "answering-server"))
        return relayed
    generated = [service.generator.generate(served, tenant, fields) for fields in requests]
    responses = generate_together(generated, body.n or 1)
    header = new_header(kind, body.model, served.base)
    names = model_headers(served, "generation-process")
    if not body.stream:
        completion = await while_connected(request, collect(header, responses, choices))
        return json_response(completion, headers=names)
    # An error before the first response still sets the status of the HTTP response.
    responses = await while_connected(request, wait_for_first(responses))
    return StreamingResponse(
        stream(header, responses, choices, body.includes_usage),
        headers=names,
        media_type="text/event-stream",
    )


ROUTES = [
    Route("/v1/chat/completions", create_chat_completion, methods=["POST"]),
    Route("/v1/completions", create_completion, methods=["POST"]),
]
