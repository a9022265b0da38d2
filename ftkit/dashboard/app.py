"""The pages of the dashboard and their routes.

request -> page -> what the API has, as the tenant of the request -> template -> HTML

Pages change no job, file or model: the browser requests that from the API (`dashboard.js`). Pages
that check, convert or fix a file start a process and keep its result below `checks/`.
"""

from __future__ import annotations

from ftkit.dashboard import (
    devices_page,
    files_page,
    job_page,
    jobs_page,
    login,
    new_page,
    playground_page,
    prepare_page,
    static,
)
from ftkit.dashboard.respond import not_found
from ftkit.dashboard.state import create_state
from ftkit.pages.page import compile_templates
from ftkit.server.web_pages import WebPages

DASHBOARD = WebPages(
    routes=[
        *jobs_page.ROUTES,
        *job_page.ROUTES,
        *files_page.ROUTES,
        *prepare_page.ROUTES,
        *new_page.ROUTES,
        *login.ROUTES,
        *playground_page.ROUTES,
        *devices_page.ROUTES,
        *static.ROUTES,
    ],
    login=login.PATH,
    open_paths=(login.PATH, static.PATH),
    not_found=not_found,
    create_state=create_state,
    part_header="hx-current-url",  # of htmx, as the other header
    redirect_header="hx-redirect",
    prepare=compile_templates,
)
