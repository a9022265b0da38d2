"""The pages on files: a list with an upload, the findings of a file, and its report."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from ftkit.dashboard.check_results import REPORT, Check, Validated
from ftkit.dashboard.checks import Pending, state_kind
from ftkit.dashboard.choices import TRAINING
from ftkit.dashboard.respond import HEADERS, fragment, page, respond
from ftkit.dashboard.state import get_state
from ftkit.pages.page import page_policy
from ftkit.report.data_page import SCRIPTS
from ftkit.server.context import get_context
from ftkit.server.database import PageQuery
from ftkit.server.models import SMOKE
from ftkit.server.objects import FileObject

PAGE_SIZE = 50
"""Number of files on a page."""

SEARCHED = ("$.filename", "$.id")
"""Values of a file in which a text is searched."""

MAX_TEXT = 200
"""Maximum number of characters of a text to search for."""

MAX_MODELS = 5
"""Maximum number of models for which a report counts the tokens."""

REPORT_HEADERS = HEADERS | {
    "content-security-policy": f"sandbox allow-scripts; {page_policy(SCRIPTS)};"
    " frame-ancestors 'none'"
}
"""Headers of a report. In a sandbox, it has an origin of its own, and no access to the service."""


def find_file(request: Request, id: str | None = None) -> FileObject:
    """Return the file with an id, or that of the path.

    Raises:
        MissingObjectError: The tenant has no such file.
    """
    service, tenant = get_context(request)
    return service.database.require(FileObject, id or request.path_params["id"], tenant)


def validation_check(request: Request, file: FileObject) -> Check:
    """Return the check that validates a file."""
    service, _ = get_context(request)
    models = [name for name in service.models.names() if name != SMOKE][:MAX_MODELS]
    arguments = {"name": file.filename, "models": models or [SMOKE]}
    return Check("validate", file.tenant, file.sha256, arguments)


async def validation(request: Request, file: FileObject) -> Pending | Validated:
    """Return the result of the validation of a file, or what there is instead."""
    checks, check = get_state(request).checks, validation_check(request, file)
    state = await checks.state(check)
    return msgspec.json.decode(state, type=Validated) if isinstance(state, bytes) else state


@page
async def show_files(request: Request) -> Response:
    """Return the page with all files, or those with a text in their name or id."""
    service, tenant = get_context(request)
    after = request.query_params.get("after", "")
    text = request.query_params.get("q", "").strip()[:MAX_TEXT]
    query = PageQuery(after=after, limit=PAGE_SIZE, text=text, searched=SEARCHED)
    rows, has_more = await run_in_threadpool(service.database.page, FileObject, tenant, query)
    return respond(
        request,
        "files",
        scripts=("upload.js",),
        title="Files",
        files=[json.loads(row) for row in rows],
        text=text,
        max_text=MAX_TEXT,
        first=_list_url(text),
        next=_list_url(text, json.loads(rows[-1])["id"]) if has_more else "",
        after=after,
    )


def _list_url(text: str, after: str = "") -> str:
    """Return the address of a page of the list."""
    values = {name: value for name, value in (("q", text), ("after", after)) if value}
    return f"/files?{urlencode(values)}" if values else "/files"


@page
async def show_file(request: Request) -> Response:
    """Return the page of a file."""
    file = await run_in_threadpool(find_file, request)
    state = await validation(request, file) if file.purpose == TRAINING else None
    return respond(request, "file", title=file.filename, file=file, **_values(state))


@fragment
async def show_check(request: Request) -> Response:
    """Return the findings of a file, or how far its check is."""
    file = await run_in_threadpool(find_file, request)
    if "again" in request.query_params:
        get_state(request).checks.forget(validation_check(request, file))
    return respond(request, "file_check", file=file, **_values(await validation(request, file)))


def _values(state: Pending | Validated | None) -> dict[str, Any]:
    """Return the values of a check for its template."""
    return {"state": state, "kind": state_kind(state)}


@page
async def show_report(request: Request) -> Response:
    """Return the HTML report on a file, or go to its page before the report is made."""
    file = await run_in_threadpool(find_file, request)
    path = get_state(request).checks.path(validation_check(request, file), REPORT)
    try:
        stat = await run_in_threadpool(path.stat)
    except OSError:
        return RedirectResponse(f"/files/{file.id}", 303)
    return FileResponse(path, headers=REPORT_HEADERS, media_type="text/html", stat_result=stat)


ROUTES = [
    Route("/files", show_files),
    Route("/files/{id}", show_file),
    Route("/files/{id}/check", show_check),
    Route("/files/{id}/report", show_report),
]
