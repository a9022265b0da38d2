"""`/v1/fine_tuning/jobs`."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ftkit.server import downloads
from ftkit.server.bodies import MAX_METADATA, JobBody
from ftkit.server.cleanup import remove_job_data
from ftkit.server.context import get_context, read_json
from ftkit.server.errors import InvalidRequestError, missing_object
from ftkit.server.job_deletion import delete_job
from ftkit.server.lifecycle import ACTIONS, apply_action, create_job
from ftkit.server.objects import CheckpointObject, EventObject, JobObject, deletion
from ftkit.server.paging import PageSize, list_response, object_response
from ftkit.server.responses import json_response


async def create(request: Request) -> Response:
    """Create a job."""
    service, tenant = get_context(request)
    body = await read_json(request, JobBody)
    job = await run_in_threadpool(
        create_job, service.database, service.models, body, tenant, service.limits
    )
    return json_response(job.public())


async def list_jobs(request: Request) -> Response:
    """List the jobs, optionally those with given metadata: `?metadata[KEY]=VALUE`."""
    metadata = {
        key.removeprefix("metadata[").removesuffix("]"): value
        for key, value in request.query_params.items()
        if key.startswith("metadata[") and key.endswith("]")
    }
    if len(metadata) > MAX_METADATA:
        message = f"Invalid 'metadata': expected at most {MAX_METADATA} keys."
        raise InvalidRequestError(message, "metadata", "invalid_value")
    return list_response(request, JobObject, metadata=metadata)


async def retrieve(request: Request) -> Response:
    """Return a job."""
    return object_response(request, JobObject, request.path_params["id"])


async def act(request: Request) -> Response:
    """Cancel, pause or resume a job."""
    service, tenant = get_context(request)
    id, action = request.path_params["id"], request.path_params["action"]
    if action not in ACTIONS:
        raise missing_object("action", action)
    job = await run_in_threadpool(apply_action, service.database, id, tenant, action)
    if action == "cancel":
        # The supervisor does this again for a job with a process, once that has ended.
        await run_in_threadpool(remove_job_data, service.database, service.folder, id)
    return json_response(job.public())


async def delete(request: Request) -> Response:
    """Delete a finished job, with its events, checkpoints, models, log and result files."""
    service, tenant = get_context(request)
    id = request.path_params["id"]
    await run_in_threadpool(delete_job, service.database, service.folder, id, tenant)
    service.relay.wake()
    return json_response(deletion(id, "fine_tuning.job"))


async def read_log(request: Request) -> Response:
    """Return the output of the last process of a job, as far as it is written."""
    service, tenant = get_context(request)
    job = service.database.require(JobObject, request.path_params["id"], tenant)
    path = service.folder.log(job.id)
    try:
        size = (await run_in_threadpool(path.stat)).st_size
    except FileNotFoundError:
        raise missing_object("log", job.id) from None
    headers = {"x-content-type-options": "nosniff"}
    log = downloads.read_log(path, size)
    return StreamingResponse(log, media_type="text/plain", headers=headers)


async def list_events(request: Request) -> Response:
    """List the events of a job."""
    return _list_children(request, EventObject, PageSize())


async def list_checkpoints(request: Request) -> Response:
    """List the checkpoints of a job."""
    return _list_children(request, CheckpointObject, PageSize(default=10))


def _list_children(
    request: Request, type: type[EventObject | CheckpointObject], size: PageSize
) -> Response:
    service, tenant = get_context(request)
    job = service.database.require(JobObject, request.path_params["id"], tenant)
    return list_response(request, type, parent=job.id, size=size)


ROUTES = [
    Route("/v1/fine_tuning/jobs", create, methods=["POST"]),
    Route("/v1/fine_tuning/jobs", list_jobs),
    Route("/v1/fine_tuning/jobs/{id}", retrieve),
    Route("/v1/fine_tuning/jobs/{id}", delete, methods=["DELETE"]),
    Route("/v1/fine_tuning/jobs/{id}/log", read_log),
    Route("/v1/fine_tuning/jobs/{id}/{action}", act, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{id}/events", list_events),
    Route("/v1/fine_tuning/jobs/{id}/checkpoints", list_checkpoints),
]
