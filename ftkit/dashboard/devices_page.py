"""The page with the devices of the machine, what runs on them, and the disk space."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit._text import format_duration, format_size
from ftkit.dashboard.gpus import Gpu
from ftkit.dashboard.machine import MachineState, cpu_name
from ftkit.dashboard.processes import ServiceProcess
from ftkit.dashboard.respond import fragment, page, respond
from ftkit.dashboard.state import get_state
from ftkit.server.auth import LOCAL_TENANT
from ftkit.server.context import Service, get_context
from ftkit.server.objects import JobObject

ROLE_NAMES = {
    "service": "The service",
    "answers": "Answers of models",
    "file check": "File check",
    "validation": "Validation",
    "training": "Training",
}
"""Names of the roles of processes."""

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
"""Environment variable that limits the GPUs of the processes."""


class ProcessRow(Struct, frozen=True):
    """A process on the page.

    Attributes:
        name: What it does.
        job: Job of the account that it works on, or "".
        model: Model of that job.
        is_foreign: True if it works on a job of another account, which is not named.
        duration: Time since its start.
        cores: CPU cores in use.
        memory: Main memory.
        gpu_memory: Memory on each GPU that it uses, or "".
    """

    name: str
    job: str
    model: str
    is_foreign: bool
    duration: str
    cores: str
    memory: str
    gpu_memory: str


@page
async def show(request: Request) -> Response:
    """Return the page."""
    service, tenant = get_context(request)
    values = await run_in_threadpool(_state_values, request)
    return respond(
        request,
        "devices",
        title="Devices",
        cpu=cpu_name(),
        trains_elsewhere=service.trains_elsewhere,
        answered_elsewhere=service.relay.bases,
        visible_devices=os.environ.get(VISIBLE_DEVICES),
        root=str(service.folder.root) if tenant == LOCAL_TENANT else "",
        **values,
    )


@fragment
async def show_state(request: Request) -> Response:
    """Return the part of the page with what changes all the time."""
    values = await run_in_threadpool(_state_values, request)
    return respond(request, "devices_state", **values)


@fragment
async def show_sizes(request: Request) -> Response:
    """Return the part of the page with the sizes of the data folder.

    With API keys, an account is shown the size of its own files only.
    """
    service, tenant = get_context(request)
    if tenant == LOCAL_TENANT:
        parts = await run_in_threadpool(get_state(request).monitor.sizes)
        sizes = [
            (part.name, f"{'' if part.is_complete else 'at least '}{format_size(part.size)}")
            for part in parts
        ]
    else:
        own = await run_in_threadpool(service.database.total_bytes, tenant)
        quota = service.folder.disk.limits.tenant
        of_quota = f" of {format_size(quota)}" if quota else ""
        sizes = [("your files", f"{format_size(own)}{of_quota}")]
    return respond(request, "devices_sizes", sizes=sizes)


def _state_values(request: Request) -> dict[str, Any]:
    service, tenant = get_context(request)
    state = get_state(request).monitor.state()
    return {
        "state": state,
        "reserve": format_size(service.folder.disk.reserve(state.disk.total)),
        "memory": _sizes(state.memory.used, state.memory.total),
        "free": format_size(state.disk.total - state.disk.used),
        "disk": format_size(state.disk.total),
        "gpus": [(gpu, _sizes(gpu.used, gpu.total)) for gpu in state.gpus.gpus],
        "processes": list(_rows(service, tenant, state)),
    }


def _sizes(used: int | None, total: int | None) -> str:
    if used is None or total is None:
        return "unknown"
    return f"{format_size(used)} of {format_size(total)}"


def _rows(service: Service, tenant: str, state: MachineState) -> Iterator[ProcessRow]:
    for process in state.processes:
        job = service.database.get(JobObject, process.job, tenant) if process.job else None
        yield ProcessRow(
            name=ROLE_NAMES[process.role],
            job=job.id if job else "",
            model=job.model if job else "",
            is_foreign=bool(process.job) and job is None,
            duration=format_duration(time.time() - process.started),
            cores="…" if process.cores is None else f"{process.cores:.1f}",
            memory=format_size(process.memory),
            gpu_memory=_gpu_memory(process, state.gpus.gpus),
        )


def _gpu_memory(process: ServiceProcess, gpus: tuple[Gpu, ...]) -> str:
    """Return the memory of a process on each GPU that it uses."""
    parts = []
    for number, gpu in enumerate(gpus):
        sizes = [size for pid, size in gpu.processes.items() if pid in process.pids]
        if sizes:
            is_unknown = any(size is None for size in sizes)
            text = "size unknown" if is_unknown else format_size(sum(filter(None, sizes)))
            parts.append(f"GPU {number}: {text}")
    return ", ".join(parts)


ROUTES = [
    Route("/devices", show),
    Route("/devices/state", show_state),
    Route("/devices/sizes", show_sizes),
]
