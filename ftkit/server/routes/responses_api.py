"""`/v1/responses`, OpenAI's Responses API."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ftkit.server.bodies import PROMPT_BODY_BYTES
from ftkit.server.completions import wait_for_first
from ftkit.server.context import get_context, read_json
from ftkit.server.disconnects import while_connected
from ftkit.server.errors import EXCERPT, MissingObjectError
from ftkit.server.model_headers import model_headers
from ftkit.server.response_bodies import ResponseBody
from ftkit.server.response_events import RESPONSE_PREFIX, collect_response, stream_response
from ftkit.server.responses import json_response
from ftkit.server.unsupported import NOT_STORED


async def create_response(request: Request) -> Response:
    """Create a response."""
    body = await read_json(request, ResponseBody, PROMPT_BODY_BYTES)
    service, tenant = get_context(request)
    fields, echo = body.request(), body.echo()
    served = service.models.find(body.model, tenant)
    responses = service.generator.generate(served, tenant, fields)
    names = model_headers(served, "generation-process")
    if not body.stream:
        response = await while_connected(request, collect_response(echo, responses))
        return json_response(response, headers=names)
    # An error before the first event still sets the status of the HTTP response.
    first = await while_connected(request, wait_for_first(responses))
    return StreamingResponse(
        stream_response(echo, first), headers=names, media_type="text/event-stream"
    )


async def find_response(request: Request) -> Response:
    """Respond with 404 to requests for an earlier response, since none is stored."""
    id = request.path_params["id"][:EXCERPT]
    if not id.startswith(RESPONSE_PREFIX):  # such as /v1/responses/input_tokens
        raise HTTPException(404)
    raise MissingObjectError(f"No such response: '{id}'; {NOT_STORED}.", "response_id")


ROUTES = [
    Route("/v1/responses", create_response, methods=["POST"]),
    Route("/v1/responses/{id:path}", find_response, methods=["GET", "POST", "DELETE"]),
]
