"""`/v1/fine_tuning/jobs`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ftkit.server import jobs
from ftkit.server.bodies import JobBody
from ftkit.server.errors import invalid, not_there
from ftkit.server.paging import as_json, one, page
from ftkit.server.reading import body_of, parts_of

router = APIRouter(prefix="/fine_tuning/jobs")
MISSING = ("fine-tuning job", "fine_tune_id", "fine_tune_not_found")


@router.post("")
async def create(request: Request) -> Response:
    parts, tenant = parts_of(request)
    body = await body_of(request, JobBody)
    made = await run_in_threadpool(jobs.create, parts.store, parts.bases, body, tenant)
    return as_json(made.shown)


@router.get("")
async def list_(request: Request) -> Response:
    parts, tenant = parts_of(request)
    # A key is quoted, so that one like `a.b` is no path.
    wanted = {
        f'$.metadata."{key[9:-1]}"': value
        for key, value in request.query_params.items()
        if _is_metadata(key)
    }
    return page(request, parts.store, "job", tenant, equal=wanted)


def _is_metadata(key: str) -> bool:
    if not (key.startswith("metadata[") and key.endswith("]")):
        return False
    if '"' in key or "\0" in key:
        raise invalid(
            "Jobs cannot be found by metadata whose key has a quotation mark or a NUL.",
            "metadata",
            "invalid_value",
        )
    return True


@router.get("/{id}")
async def retrieve(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    return one(parts.store, "job", id, tenant, *MISSING)


@router.post("/{id}/{action}")
async def act(request: Request, id: str, action: str) -> Response:
    parts, tenant = parts_of(request)
    if action not in ("cancel", "pause", "resume"):
        raise not_there("action", action)
    changed = await run_in_threadpool(jobs.act, parts.store, id, tenant, action)
    return as_json(changed.shown)


@router.get("/{id}/events")
async def events(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    one(parts.store, "job", id, tenant, *MISSING)
    return page(request, parts.store, "event", tenant, parent=id)


@router.get("/{id}/checkpoints")
async def checkpoints(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    one(parts.store, "job", id, tenant, *MISSING)
    return page(request, parts.store, "checkpoint", tenant, parent=id, usual=10)
