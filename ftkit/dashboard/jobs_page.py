"""The page with all jobs: filters, sorting, pages, and the progress of each job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ftkit.dashboard.choices import models_of_jobs
from ftkit.dashboard.job_page import MAX_RUNS
from ftkit.dashboard.job_rows import JobRow, JobRows
from ftkit.dashboard.respond import UPDATE_SECONDS, page, respond
from ftkit.dashboard.state import get_state
from ftkit.server.context import Service, get_context
from ftkit.server.errors import InvalidRequestError
from ftkit.server.job_search import (
    STATUS_GROUPS,
    JobQuery,
    count_jobs,
    find_jobs,
)
from ftkit.server.objects import FINAL, now

PAGE_SIZE = 25
"""Number of jobs on a page."""

MAX_PAGE = 1_000_000
"""Highest number of a page in an address."""

MAX_TEXT = 200
"""Maximum number of characters of a text to search for."""

IDLE_SECONDS = 10
"""Seconds between updates of the list while no job is unfinished."""

SORTS = {
    "-created": "newest first",
    "created": "oldest first",
    "train_loss": "lowest training loss",
    "-train_loss": "highest training loss",
    "valid_loss": "lowest validation loss",
    "-valid_loss": "highest validation loss",
    "-finished": "last finished first",
    "finished": "first finished first",
    "-duration": "longest first",
    "duration": "shortest first",
}
"""Titles of the orders; a minus stands for descending."""

DEFAULT_SORT = "-created"
"""Order of the list unless the address has another one."""

LATEST_FIRST = ("created", "finished")
"""Values whose title in the table sorts the highest ones first."""


class Tab(Struct, frozen=True):
    """Link to the jobs with some statuses."""

    title: str
    url: str
    count: int
    is_shown: bool


class JobList(Struct, frozen=True):
    """Part of the page that is updated.

    Attributes:
        rows: Rows of the jobs.
        tabs: Links by status.
        total: Number of jobs that are selected.
        first: Number of the first row, from 1.
        query: Selection.
        has_jobs: True if the tenant has jobs at all.
        is_live: True if jobs of the tenant are unfinished.
    """

    rows: list[JobRow]
    tabs: list[Tab]
    total: int
    first: int
    query: JobQuery
    has_jobs: bool
    is_live: bool

    @property
    def url(self) -> str:
        """Address of the page."""
        return url_of(self.query)

    @property
    def previous(self) -> str:
        """Address of the previous page, or ""."""
        page = self.query.page
        return url_of(replace(self.query, page=page - 1)) if page > 1 else ""

    @property
    def next(self) -> str:
        """Address of the next page, or ""."""
        is_last = self.first + len(self.rows) > self.total
        return "" if is_last else url_of(replace(self.query, page=self.query.page + 1))

    @property
    def update_seconds(self) -> int:
        """Seconds between updates of the list."""
        return UPDATE_SECONDS if self.is_live else IDLE_SECONDS

    def sort_url(self, name: str) -> str:
        """Return the address of the page in the order of a value, the other way around if it is."""
        # The latest, but the lowest losses come first.
        is_same = self.query.sort == name
        is_descending = not self.query.is_descending if is_same else name in LATEST_FIRST
        return url_of(replace(self.query, sort=name, is_descending=is_descending, page=1))

    def direction(self, name: str) -> str:
        """Return the order of the rows by a value, as `aria-sort` has it."""
        if self.query.sort != name:
            return "none"
        return "descending" if self.query.is_descending else "ascending"


@page
async def show(request: Request) -> Response:
    """Return the page, or the part that is updated if the page requests it."""
    service, tenant = get_context(request)
    query = read_query(request.query_params)
    if "hx-request" in request.headers:
        jobs = await run_in_threadpool(_list_jobs, service, tenant, query, get_state(request).rows)
        return respond(request, "jobs_list", list=jobs, base_url=_base_url(request))
    jobs, (models, has_more) = await run_in_threadpool(
        lambda: (
            _list_jobs(service, tenant, query, get_state(request).rows),
            models_of_jobs(service.database, tenant),
        )
    )
    return respond(
        request,
        "jobs",
        title="Jobs",
        list=jobs,
        models=models,
        has_more=has_more,
        sorts=SORTS,
        sort=sort_name(query),
        base_url=_base_url(request),
    )


@page
async def compare(request: Request) -> Response:
    """Redirect to the page of the first selected job, with the others in its charts."""
    ids = list(dict.fromkeys(request.query_params.getlist("id")))
    if not ids:
        raise InvalidRequestError("No job is selected; select the jobs to compare.")
    if len(ids) > MAX_RUNS:
        raise InvalidRequestError(f"At most {MAX_RUNS} jobs can be compared, not {len(ids)}.")
    first, *others = (quote(id, safe="") for id in ids)
    return RedirectResponse(f"/jobs/{first}" + ("?with=" + ",".join(others) if others else ""), 303)


def read_query(parameters: QueryParams) -> JobQuery:
    """Return the selection of an address. Values that do not exist are ignored."""
    group, sort = parameters.get("status", ""), parameters.get("sort", "")
    number = parameters.get("page", "")
    is_number = number.isascii() and number.isdecimal() and len(number) <= len(str(MAX_PAGE))
    sort = sort if sort in SORTS else DEFAULT_SORT
    return JobQuery(
        group=group if group in STATUS_GROUPS else "",
        model=parameters.get("model", ""),
        text=parameters.get("q", "").strip()[:MAX_TEXT],
        sort=sort.removeprefix("-"),
        is_descending=sort.startswith("-"),
        page=min(max(int(number), 1), MAX_PAGE) if is_number else 1,
        size=PAGE_SIZE,
    )


def sort_name(query: JobQuery) -> str:
    """Return the name of the order of a selection, one of `SORTS`."""
    return f"{'-' if query.is_descending else ''}{query.sort}"


def url_of(query: JobQuery) -> str:
    """Return the address of a selection."""
    values = {
        "status": query.group,
        "model": query.model,
        "q": query.text,
        "sort": "" if sort_name(query) == DEFAULT_SORT else sort_name(query),
        "page": "" if query.page == 1 else str(query.page),
    }
    shown = {name: value for name, value in values.items() if value}
    return f"/?{urlencode(shown)}" if shown else "/"


def _base_url(request: Request) -> str:
    """Return the base URL of the API, as the browser reaches it."""
    return f"{request.base_url}v1"


def _list_jobs(service: Service, tenant: str, query: JobQuery, rows: JobRows) -> JobList:
    database = service.database
    counts = count_jobs(database, tenant, query)
    total = _sum(counts, STATUS_GROUPS[query.group]) if query.group else sum(counts.values())
    query = replace(query, page=min(query.page, max(-(-total // query.size), 1)))
    jobs, time = find_jobs(database, tenant, query), now()
    everything = count_jobs(database, tenant, JobQuery()) if query.model or query.text else counts
    return JobList(
        rows=[rows.row(job, time) for job in jobs],
        tabs=_tabs(counts, query),
        total=total,
        first=(query.page - 1) * query.size + 1,
        query=query,
        has_jobs=bool(everything),
        is_live=any(status not in FINAL for status in everything),
    )


def _sum(counts: dict[str, int], statuses: Sequence[str]) -> int:
    return sum(counts.get(status, 0) for status in statuses)


def _tabs(counts: dict[str, int], query: JobQuery) -> list[Tab]:
    """Return the links by status; those without jobs are left out unless they are shown."""
    groups: dict[str, Any] = {"": tuple(counts), **STATUS_GROUPS}
    tabs = []
    for name, statuses in groups.items():
        count, is_shown = _sum(counts, statuses), name == query.group
        if count or is_shown or not name:
            url = url_of(replace(query, group=name, page=1))
            tabs.append(Tab(name.capitalize() or "All", url, count, is_shown))
    return tabs


ROUTES = [Route("/", show), Route("/jobs", compare)]
