"""`/v1/models`, and `/v1/adapters`, which OpenAI's API does not have."""

from __future__ import annotations

import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from ftkit.server.cleanup import remove_adapters
from ftkit.server.context import get_context
from ftkit.server.database import PageQuery
from ftkit.server.downloads import ADAPTER_FILES, is_complete, zip_adapter
from ftkit.server.errors import MissingObjectError, missing_object
from ftkit.server.lifecycle import delete_model
from ftkit.server.model_headers import base_header
from ftkit.server.objects import ModelObject, base_model, deletion
from ftkit.server.responses import encoded_response, json_response

MAX_MODELS = 10_000
"""Maximum number of fine-tuned models in the list."""


async def list_models(request: Request) -> Response:
    """List the base models, then the fine-tuned models."""
    service, tenant = get_context(request)
    tuned, _ = service.database.page(ModelObject, tenant, PageQuery(limit=MAX_MODELS))
    bases = [json.dumps(base_model(name)).encode() for name in service.models.names()]
    return encoded_response(b'{"object": "list", "data": [' + b", ".join([*bases, *tuned]) + b"]}")


async def retrieve(request: Request) -> Response:
    """Return a fine-tuned model or a base model."""
    return _retrieve(request, request.path_params["id"])


def _retrieve(request: Request, id: str) -> Response:
    service, tenant = get_context(request)
    tuned = service.database.encoded(ModelObject, id, tenant)
    if tuned:
        return encoded_response(tuned)
    missing = missing_object("model", id, "model", "model_not_found")
    if id.startswith("ft:"):
        raise missing
    try:
        service.models.find(id, tenant)
    except MissingObjectError as error:
        raise missing from error
    return json_response(base_model(id))


async def delete(request: Request) -> Response:
    """Delete a fine-tuned model, and its adapter if no other model has it."""
    service, tenant = get_context(request)
    id = request.path_params["id"]
    models = await run_in_threadpool(delete_model, service.database, id, tenant)
    await run_in_threadpool(remove_adapters, service.database, service.folder, models)
    service.relay.wake()
    return json_response(deletion(id, "model"))


async def adapter(request: Request) -> Response:
    """Return a file of a fine-tuned model's adapter."""
    service, tenant = get_context(request)
    id, file = request.path_params["id"], request.path_params["file"]
    model = service.database.get(ModelObject, id, tenant)
    if model is None or file not in ADAPTER_FILES:
        raise missing_object("adapter", id, "model", "model_not_found")
    path = service.folder.adapter(model.job, model.step) / file
    return FileResponse(path, headers=base_header(model.base))


async def adapter_archive(request: Request) -> Response:
    """Return the adapter of a fine-tuned model as a zip archive."""
    service, tenant = get_context(request)
    id = request.path_params["id"]
    if not id.startswith("ft:"):
        return _retrieve(request, f"{id}/adapter")  # a base model may have this name
    model = service.database.require(ModelObject, id, tenant)
    path = service.folder.adapter(model.job, model.step)
    if not await run_in_threadpool(is_complete, path):
        raise missing_object("adapter", id, "model", "model_not_found")
    name = f"{model.job}-step-{model.step}.zip"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        **base_header(model.base),
    }
    return StreamingResponse(zip_adapter(path), media_type="application/zip", headers=headers)


ROUTES = [
    Route("/v1/models", list_models),
    Route("/v1/models/{id:path}/adapter", adapter_archive),
    Route("/v1/models/{id:path}", retrieve),
    Route("/v1/models/{id:path}", delete, methods=["DELETE"]),
    Route("/v1/adapters/{file}/{id:path}", adapter),
]
