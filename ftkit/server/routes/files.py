"""`/v1/files` and `/v1/uploads`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ftkit.server import files
from ftkit.server.bodies import FILE_BYTES, PART_BYTES, CompleteBody, UploadBody
from ftkit.server.context import get_context, read_json
from ftkit.server.errors import too_large
from ftkit.server.folder import Folder, Writer
from ftkit.server.multipart import TYPICAL_FORM_OVERHEAD, Form, read_form
from ftkit.server.objects import FileObject, deletion
from ftkit.server.paging import PageSize, list_response, object_response
from ftkit.server.responses import json_response
from ftkit.server.storage import Allowance

PAGE = PageSize(maximum=10_000, default=10_000)

CONTENT_HEADERS = {
    "content-disposition": "attachment",
    "content-security-policy": "sandbox",
    "x-content-type-options": "nosniff",
}
"""Headers with which no browser shows a file, or runs it as a script of the service."""

RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})|bytes=-([0-9]{1,15})")
"""`Range` header with the first byte, and the last one unless it is the end of the file; or with
the number of bytes at the end."""


@asynccontextmanager
async def _receive_file(
    request: Request, folder: Folder, limit: int, allowance: Allowance
) -> AsyncIterator[tuple[Form, Writer]]:
    """Write the file of a form to a temporary file, removed at the end unless it was moved.

    A body that announces too many bytes is refused before it is read.
    """
    announced = int(request.headers.get("content-length", "0"))
    size = max(announced - TYPICAL_FORM_OVERHEAD, 0)
    if size > limit:
        raise too_large("The file", limit)
    allowance.expect(size)
    writer = await run_in_threadpool(Writer, folder.temporary(), allowance)
    try:
        content_type = request.headers.get("content-type", "")
        yield await read_form(content_type, request.stream(), writer, limit), writer
    finally:
        await run_in_threadpool(writer.discard)


async def create(request: Request) -> Response:
    """Upload a file."""
    service, tenant = get_context(request)
    allowance = await run_in_threadpool(
        files.body_allowance, service.database, service.folder, tenant
    )
    async with _receive_file(request, service.folder, FILE_BYTES, allowance) as (form, writer):
        file = await run_in_threadpool(
            files.create_file, service.database, service.folder, tenant, form, writer
        )
    return json_response(file.public())


async def list_files(request: Request) -> Response:
    """List the files, optionally those of one purpose."""
    purpose = request.query_params.get("purpose")
    equal = {"$.purpose": purpose} if purpose else {}
    return list_response(request, FileObject, size=PAGE, equal=equal)


async def retrieve(request: Request) -> Response:
    """Return a file."""
    return object_response(request, FileObject, request.path_params["id"])


async def content(request: Request) -> Response:
    """Return the content of a file."""
    service, tenant = get_context(request)
    file = service.database.require(FileObject, request.path_params["id"], tenant)
    path = service.folder.blob(file.sha256)
    stat = await run_in_threadpool(path.stat)
    _keep_single_range(request, stat.st_size)
    return FileResponse(
        path, headers=CONTENT_HEADERS, media_type="application/octet-stream", stat_result=stat
    )


def _keep_single_range(request: Request, size: int) -> None:
    """Remove a `Range` header unless it is one part of the file: `bytes=N-[M]` or `bytes=-N`.

    Then the response is the whole file, as RFC 9110 (14.2) allows. Starlette's response to an
    invalid header is not OpenAI's error object.
    """
    match = RANGE.fullmatch(request.headers.get("range", ""))
    if not match or not _is_in_file(size, *match.groups()):
        headers = request.scope["headers"]
        request.scope["headers"] = [header for header in headers if header[0] != b"range"]


def _is_in_file(size: int, first: str | None, last: str | None, suffix: str | None) -> bool:
    if suffix:
        return 0 < int(suffix) < size
    return int(first or 0) < size and int(last or size) >= int(first or 0)


async def delete(request: Request) -> Response:
    """Delete a file."""
    service, tenant = get_context(request)
    id = request.path_params["id"]
    await run_in_threadpool(files.delete_file, service.database, service.folder, tenant, id)
    return json_response(deletion(id, "file"))


async def begin_upload(request: Request) -> Response:
    """Begin an upload in parts."""
    service, tenant = get_context(request)
    body = await read_json(request, UploadBody)
    upload = await run_in_threadpool(
        files.begin_upload, service.database, service.folder, tenant, body
    )
    return json_response(upload.public())


async def add_part(request: Request) -> Response:
    """Add a part to an upload."""
    service, tenant = get_context(request)
    id = request.path_params["id"]
    allowance = await run_in_threadpool(
        files.part_allowance, service.database, service.folder, tenant, id
    )
    async with _receive_file(request, service.folder, PART_BYTES, allowance) as (_, writer):
        part = await run_in_threadpool(
            files.add_part, service.database, service.folder, tenant, id, writer
        )
    return json_response(part.public())


async def complete_upload(request: Request) -> Response:
    """Make a file of the parts of an upload."""
    service, tenant = get_context(request)
    id = request.path_params["id"]
    body = await read_json(request, CompleteBody)
    upload = await run_in_threadpool(
        files.complete_upload, service.database, service.folder, tenant, id, body
    )
    return json_response(upload.public())


async def cancel_upload(request: Request) -> Response:
    """Cancel an upload."""
    service, tenant = get_context(request)
    id = request.path_params["id"]
    upload = await run_in_threadpool(
        files.cancel_upload, service.database, service.folder, tenant, id
    )
    return json_response(upload.public())


ROUTES = [
    Route("/v1/files", create, methods=["POST"]),
    Route("/v1/files", list_files),
    Route("/v1/files/{id}", retrieve),
    Route("/v1/files/{id}", delete, methods=["DELETE"]),
    Route("/v1/files/{id}/content", content),
    Route("/v1/uploads", begin_upload, methods=["POST"]),
    Route("/v1/uploads/{id}/parts", add_part, methods=["POST"]),
    Route("/v1/uploads/{id}/complete", complete_upload, methods=["POST"]),
    Route("/v1/uploads/{id}/cancel", cancel_upload, methods=["POST"]),
]
