"""Style sheets and scripts of the dashboard: files of the package, which browsers keep."""

from __future__ import annotations

import hashlib
from functools import cache

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.pages.page import read

PATH = "/static/"
"""Beginning of the paths of these files."""

FILES = {
    "ftkit.css": "text/css",
    "vendor/uPlot.css": "text/css",
    "charts.js": "text/javascript",
    "dashboard.js": "text/javascript",
    "job.js": "text/javascript",
    "new_job.js": "text/javascript",
    "playground.js": "text/javascript",
    "upload.js": "text/javascript",
    "vendor/htmx.js": "text/javascript",
    "vendor/uPlot.js": "text/javascript",
}
"""Media types of the files in `ftkit/pages` that are served."""

HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
}
"""Headers of each file: its address changes with its content."""


@cache
def static_url(name: str) -> str:
    """Return the address of a file, which changes with its content."""
    return f"{PATH}{name}?v={hashlib.sha256(read(name).encode()).hexdigest()[:12]}"


async def static_file(request: Request) -> Response:
    """Return a file."""
    name = request.path_params["name"]
    if name not in FILES:
        raise HTTPException(404)
    return Response(read(name), headers=HEADERS, media_type=FILES[name])


ROUTES = [Route(f"{PATH}{{name:path}}", static_file)]
