"""State of the dashboard of a service: its checks of files, caches, and the machine's monitor."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request

from ftkit.dashboard.checks import MAX_RUNNING, Checks
from ftkit.dashboard.job_metrics import MetricsCache
from ftkit.dashboard.job_rows import JobRows
from ftkit.dashboard.machine import Monitor
from ftkit.server.database import Database
from ftkit.server.folder import Folder


class DashboardState(Struct, frozen=True):
    """Objects that the pages keep between requests.

    Attributes:
        checks: Checks of files.
        rows: Makes the rows of the list of jobs.
        metrics: Metrics of the jobs that were looked at last.
        monitor: Reads the state of the machine.
    """

    checks: Checks
    rows: JobRows
    metrics: MetricsCache
    monitor: Monitor


def create_state(folder: Folder, database: Database, needs_keys: bool) -> DashboardState:
    """Return the state of the dashboard of a service that starts.

    Args:
        folder: Data folder of the service.
        database: Its database.
        needs_keys: True if the service has API keys, so that there may be several tenants.
    """
    # One tenant's long checks leave a process for the others.
    running_of_tenant = MAX_RUNNING - 1 if needs_keys else MAX_RUNNING
    return DashboardState(
        Checks(folder, database, running_of_tenant),
        JobRows(database),
        MetricsCache(),
        Monitor(folder),
    )


def get_state(request: Request) -> DashboardState:
    """Return the state of the dashboard that a request is for."""
    state: DashboardState = request.app.state.page_state
    return state
