"""`/v1/files` and `/v1/uploads`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response

from ftkit.server import files
from ftkit.server.bodies import FILE_BYTES, PART_BYTES, CompleteBody, UploadBody
from ftkit.server.errors import not_there
from ftkit.server.folder import Writer
from ftkit.server.multipart import read_form
from ftkit.server.objects import deleted_object
from ftkit.server.paging import as_json, one, page
from ftkit.server.reading import body_of, parts_of

router = APIRouter()
MOST = 10_000


@router.post("/files")
async def create(request: Request) -> Response:
    parts, tenant = parts_of(request)
    with Writer(parts.folder.aside()) as writer:
        form = await read_form(
            request.headers.get("content-type", ""), request.stream(), writer, FILE_BYTES
        )
        made = await run_in_threadpool(files.add, parts.store, parts.folder, tenant, form, writer)
    return as_json(made)


@router.get("/files")
async def list_(request: Request) -> Response:
    parts, tenant = parts_of(request)
    purpose = request.query_params.get("purpose")
    equal = {"$.purpose": purpose} if purpose else {}
    return page(request, parts.store, "file", tenant, most=MOST, usual=MOST, equal=equal)


@router.get("/files/{id}")
async def retrieve(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    return one(parts.store, "file", id, tenant, "File object")


@router.get("/files/{id}/content")
async def content(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    found = parts.store.get("file", id, tenant)
    if found is None:
        raise not_there("File object", id)
    return FileResponse(
        parts.folder.blob(found.kept["sha256"]), media_type="application/octet-stream"
    )


@router.delete("/files/{id}")
async def delete(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    await run_in_threadpool(files.delete, parts.store, parts.folder, tenant, id)
    return as_json(deleted_object(id, "file"))


@router.post("/uploads")
async def begin(request: Request) -> Response:
    parts, tenant = parts_of(request)
    body = await body_of(request, UploadBody)
    return as_json(
        await run_in_threadpool(files.begin_upload, parts.store, parts.folder, tenant, body)
    )


@router.post("/uploads/{id}/parts")
async def add_part(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    files.pending(parts.store, id, tenant)
    with Writer(parts.folder.aside()) as writer:
        await read_form(
            request.headers.get("content-type", ""), request.stream(), writer, PART_BYTES
        )
        made = await run_in_threadpool(
            files.add_part, parts.store, parts.folder, tenant, id, writer
        )
    return as_json(made)


@router.post("/uploads/{id}/complete")
async def complete(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    body = await body_of(request, CompleteBody)
    return as_json(
        await run_in_threadpool(files.complete_upload, parts.store, parts.folder, tenant, id, body)
    )


@router.post("/uploads/{id}/cancel")
async def cancel(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    return as_json(
        await run_in_threadpool(files.cancel_upload, parts.store, parts.folder, tenant, id)
    )
