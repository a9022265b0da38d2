"""`/v1/models`."""

from __future__ import annotations

import contextlib
import json
import shutil

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response

from ftkit.server import jobs
from ftkit.server.errors import Refusal, not_there
from ftkit.server.objects import deleted_object, model_object
from ftkit.server.paging import as_json, shown
from ftkit.server.reading import parts_of

router = APIRouter(prefix="/models")
MOST = 10_000
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
"""The files of an adapter, as PEFT names them."""


@router.get("")
async def list_(request: Request) -> Response:
    parts, tenant = parts_of(request)
    tuned, _ = parts.store.page("model", tenant, limit=MOST)
    known = [json.dumps(model_object(name, "ftkit", 0)).encode() for name in parts.bases.names()]
    return shown(b'{"object": "list", "data": [' + b", ".join([*known, *tuned]) + b"]}")


@router.get("/{id:path}")
async def retrieve(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    tuned = parts.store.text("model", id, tenant)
    if tuned:
        return shown(tuned)
    with contextlib.suppress(Refusal):
        if not id.startswith("ft:") and parts.bases.find(id, tenant):
            return as_json(model_object(id, "ftkit", 0))
    raise not_there("model", id, "model", "model_not_found")


@router.delete("/{id:path}")
async def delete(request: Request, id: str) -> Response:
    parts, tenant = parts_of(request)
    found = await run_in_threadpool(jobs.delete_model, parts.store, id, tenant)
    job, step = found.kept["job"], found.kept["step"]
    if not parts.store.holds_adapter(job, step):
        await run_in_threadpool(shutil.rmtree, parts.folder.adapter(job, step), ignore_errors=True)
    return as_json(deleted_object(id, "model"))


export = APIRouter(prefix="/adapters")
"""An addition to the protocol: the files of a tuned model's adapter, which OpenAI keeps to itself."""


@export.get("/{file}/{id:path}")
async def adapter(request: Request, file: str, id: str) -> Response:
    parts, tenant = parts_of(request)
    found = parts.store.get("model", id, tenant)
    if found is None or file not in ADAPTER:
        raise not_there("adapter", id, "model", "model_not_found")
    path = parts.folder.adapter(found.kept["job"], found.kept["step"]) / file
    return FileResponse(path, headers={"x-ftkit-base": found.kept["base"]})
