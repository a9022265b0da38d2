"""The page of a job, its parts that change, and its metrics as JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.client.resources import Event
from ftkit.dashboard.job_details import details_of, newest_messages, training_of
from ftkit.dashboard.job_metrics import JobMetrics
from ftkit.dashboard.job_rows import job_actions
from ftkit.dashboard.respond import fragment, page, respond
from ftkit.dashboard.state import get_state
from ftkit.report.charts import TONES, Run, charts_of
from ftkit.report.job_page import SCRIPTS, STYLES, JobDetails, page_values
from ftkit.server.context import Service, get_context
from ftkit.server.database import PageQuery
from ftkit.server.downloads import is_complete, read_tail
from ftkit.server.objects import EventObject, JobObject, ModelObject
from ftkit.server.responses import json_response

EVENTS = 30
"""Number of events on a page."""

LOG_BYTES = 16 << 10
"""Maximum number of bytes of the log on the page, the last ones."""

CHOICES = 30
"""Maximum number of other jobs to choose from, the newest ones."""

POINTS = 1_500
"""Maximum number of points of a line in a chart."""

MAX_RUNS = len(TONES)
"""Maximum number of jobs in the charts, with the job of the page."""


class JobPageQuery(Struct, frozen=True):
    """Selection of a request for the page.

    Attributes:
        others: Ids of other jobs in the charts.
        kind: "all" for all events, or "" for those without metrics.
        before: Id of the event before those that are shown, or "" for the newest.
    """

    others: tuple[str, ...] = ()
    kind: str = ""
    before: str = ""

    @classmethod
    def read(cls, request: Request, own: str) -> JobPageQuery:
        """Return what the query parameters of a request for the page of job `own` select."""
        query = request.query_params
        ids = [id for text in query.getlist("with") for id in text.split(",")]
        others = [id for id in dict.fromkeys(ids) if id and id != own][: MAX_RUNS - 1]
        kind = "all" if query.get("events") == "all" else ""
        return cls(tuple(others), kind, query.get("before", ""))

    def query(self, **changes: str) -> str:
        """Return the query of an address that selects this, with some values changed."""
        fields = {"with": ",".join(self.others), "events": self.kind, "before": self.before}
        chosen = {name: text for name, text in {**fields, **changes}.items() if text}
        return f"?{urlencode(chosen, safe=',')}" if chosen else ""


NOT_STORED = {"cache-control": "no-store"}
"""Headers of JSON that is different a moment later."""


@page
async def show(request: Request) -> Response:
    """Return the page."""
    values = await run_in_threadpool(_values, request)
    return respond(request, "job", scripts=SCRIPTS, styles=STYLES, **values)


@fragment
async def show_live(request: Request) -> Response:
    """Return the content of the page, which replaces it while the job runs."""
    return respond(request, "job_body", **await run_in_threadpool(_values, request))


async def show_metrics(request: Request) -> Response:
    """Return the charts as JSON, or 204 if nothing has changed since `version`."""
    return await run_in_threadpool(_charts, request)


def _charts(request: Request) -> Response:
    service, tenant = get_context(request)
    job = service.database.require(JobObject, request.path_params["id"], tenant)
    ids = JobPageQuery.read(request, job.id).others
    others = (service.database.get(JobObject, id, tenant) for id in ids)
    jobs = [job, *filter(None, others)]
    cache = get_state(request).metrics
    read = [cache.read(service.database, member) for member in jobs]
    version = " ".join(
        f"{member.status} {metrics.version}" for member, metrics in zip(jobs, read, strict=True)
    )
    if request.query_params.get("version") == version:
        return Response(status_code=204, headers=NOT_STORED)
    trainings = list(map(training_of, jobs, read))
    runs = [
        Run(_short_name(member), details.metrics, details.steps_per_epoch)
        for member, details in zip(jobs, trainings, strict=True)
    ]
    is_over = all(details.job.is_over for details in trainings)
    charts = {"version": version, "isOver": is_over, "charts": charts_of(runs, POINTS)}
    response = json_response(charts)
    response.headers.update(NOT_STORED)
    return response


def _short_name(job: JobObject) -> str:
    """Return a name of a job for the legend of a chart."""
    id = job.id.removeprefix("ftjob-")[:8]
    return f"{job.user_provided_suffix} {id}" if job.user_provided_suffix else id


def _values(request: Request) -> dict[str, Any]:
    """Return the values of the template."""
    service, tenant = get_context(request)
    job = service.database.require(JobObject, request.path_params["id"], tenant)
    view = JobPageQuery.read(request, job.id)
    metrics = get_state(request).metrics.read(service.database, job)
    events, older = _events(service, job, metrics, view)
    details = details_of(service, job, metrics, events)
    log, is_whole = read_tail(service.folder.log(job.id), LOG_BYTES)
    path, (runs, has_more) = f"/jobs/{quote(job.id)}", _choices(service, job, view)
    live = {
        "fragment": f"{path}/live{view.query()}",
        "metrics": f"{path}/metrics{view.query(events='', before='')}",
        "actions": list(job_actions(job)),
        "model": _newest_model(service, details, tenant),
        "runs": runs,
        "shown": sum(run["is_shown"] for run in runs),
        "max_runs": MAX_RUNS,
        "has_more_runs": has_more,
        "filters": [
            {
                "name": name,
                "is_shown": view.kind == kind,
                "link": f"{path}{view.query(events=kind, before='')}#events",
            }
            for name, kind in (("Messages", ""), ("All events", "all"))
        ],
        "newest": f"{path}{view.query(before='')}#events" if view.before else "",
        "older": f"{path}{view.query(before=older)}#events" if older else "",
        "log": log,
        "log_is_whole": is_whole,
    }
    return {**page_values(details), "live": live}


def _events(
    service: Service, job: JobObject, metrics: JobMetrics, view: JobPageQuery
) -> tuple[list[Event], str]:
    """Return a page of events, newest first, and the id of the last one if there are older ones."""
    if view.kind == "all":
        is_known = view.before and service.database.get(EventObject, view.before, job.tenant)
        query = PageQuery(parent=job.id, after=view.before if is_known else "", limit=EVENTS)
        rows, has_more = service.database.page(EventObject, job.tenant, query)
        events = [Event.read(json.loads(row)) for row in rows]
    else:
        events, has_more = newest_messages(service, job, metrics, view.before, EVENTS)
    return events, events[-1].id if has_more else ""


def _newest_model(service: Service, details: JobDetails, tenant: str) -> str:
    """Return the name of the newest model of the job whose adapter can be downloaded, or ""."""
    names = [details.job.fine_tuned_model, *(item.model for item in details.checkpoints)]
    for name in filter(None, names):
        model = service.database.get(ModelObject, name, tenant)
        if model and is_complete(service.folder.adapter(model.job, model.step)):
            return name
    return ""


def _choices(
    service: Service, job: JobObject, view: JobPageQuery
) -> tuple[list[dict[str, Any]], bool]:
    """Return other jobs to show in the charts, and True if there are more.

    They are those that are shown, and the newest ones.
    """
    rows, has_more = service.database.page(JobObject, job.tenant, PageQuery(limit=CHOICES + 1))
    newest = (json.loads(row)["id"] for row in rows)
    ids = [id for id in dict.fromkeys([*view.others, *newest]) if id != job.id]
    jobs = (service.database.get(JobObject, id, job.tenant) for id in ids)
    choices = [
        {
            "id": other.id,
            "name": _short_name(other),
            "details": f"{other.model}, {other.status.replace('_', ' ')}",
            "is_shown": other.id in view.others,
        }
        for other in filter(None, jobs)
    ]
    return choices, has_more


ROUTES = [
    Route("/jobs/{id}", show),
    Route("/jobs/{id}/live", show_live),
    Route("/jobs/{id}/metrics", show_metrics),
]
