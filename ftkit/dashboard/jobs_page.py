"""The page with all jobs."""

from __future__ import annotations

import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.dashboard.respond import page, respond
from ftkit.server.context import get_context
from ftkit.server.database import PageQuery
from ftkit.server.objects import JobObject

PAGE_SIZE = 50
"""Number of jobs on a page."""


@page
async def show(request: Request) -> Response:
    """Return the page."""
    service, tenant = get_context(request)
    rows, _ = await run_in_threadpool(
        service.database.page, JobObject, tenant, PageQuery(limit=PAGE_SIZE)
    )
    return respond(request, "jobs", title="Jobs", jobs=[json.loads(row) for row in rows])


ROUTES = [Route("/", show)]
