"""The pages that make examples of a file: conversion to chat examples, and safe fixes.

They only show the examples, which the browser uploads as a new file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from ftkit._text import quote_path
from ftkit.dashboard.check_results import DATA, MAX_PREPARED_BYTES, Check, PreparedFile, Task
from ftkit.dashboard.checks import CheckFailure, Pending, state_kind
from ftkit.dashboard.files_page import find_file
from ftkit.dashboard.respond import HEADERS, fragment, page, respond
from ftkit.dashboard.state import get_state
from ftkit.prepare.convert.column_names import COLUMNS
from ftkit.prepare.file_formats import convert_command
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.server.objects import FileObject

MAX_OPTION = 200
"""Maximum number of characters of an option."""

SUFFIXES = (".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".parquet", ".arrow", ".feather", ".txt")
"""Suffixes of file names by which formats are detected."""

READING = tuple(name for name in ReadOptions.__struct_fields__ if name != "pause")
"""Options of the readers of files."""


class Preparation(Struct, frozen=True):
    """One of the pages.

    Attributes:
        task: Task that makes the examples, and last part of the path.
        title: Beginning of the title.
        waiting: Text that is shown while it works.
        ending: Ending of the name of the new file.
        options: Options that the address may have.
    """

    task: Task
    title: str
    waiting: str
    ending: str
    options: tuple[str, ...] = ()


PREPARATIONS = (
    Preparation("convert", "Convert", "Converting the file", ".jsonl", (*COLUMNS, *READING)),
    Preparation("fix", "Fix", "Fixing the file", "-fixed.jsonl"),
)
"""The pages."""


async def show(preparation: Preparation, request: Request) -> Response:
    """Return the page."""
    file = await run_in_threadpool(find_file, request)
    title = f"{preparation.title} {file.filename}"
    values = await _values(preparation, request, file)
    return respond(request, "prepare", scripts=("upload.js",), title=title, **values)


async def show_result(preparation: Preparation, request: Request) -> Response:
    """Return the result, or how far it is."""
    file = await run_in_threadpool(find_file, request)
    if "again" in request.query_params:
        get_state(request).checks.forget(_check(preparation, request, file))
    return respond(request, "prepare_result", **await _values(preparation, request, file))


async def show_data(preparation: Preparation, request: Request) -> Response:
    """Return the examples as JSON Lines, or go to the page before they are made."""
    file = await run_in_threadpool(find_file, request)
    path = get_state(request).checks.path(_check(preparation, request, file), DATA)
    try:
        stat = await run_in_threadpool(path.stat)
    except OSError:
        address = f"/files/{file.id}/{preparation.task}"
        return RedirectResponse(f"{address}?{request.url.query}", 303)
    headers = HEADERS | {"content-security-policy": "sandbox"}
    return FileResponse(
        path,
        headers=headers,
        media_type="application/octet-stream",
        filename=_new_name(preparation, file),
        stat_result=stat,
    )


def _options(preparation: Preparation, request: Request) -> dict[str, str]:
    """Return the options in the address that are not empty."""
    query = request.query_params
    values = ((name, query.get(name, "")[:MAX_OPTION]) for name in preparation.options)
    return {name: value for name, value in values if value}


def _check(preparation: Preparation, request: Request, file: FileObject) -> Check:
    suffix = next((end for end in SUFFIXES if file.filename.lower().endswith(end)), "")
    arguments: dict[str, Any] = {"suffix": suffix, **_options(preparation, request)}
    return Check(preparation.task, file.tenant, file.sha256, arguments)


async def _state(
    preparation: Preparation, request: Request, file: FileObject
) -> Pending | PreparedFile:
    if file.bytes > MAX_PREPARED_BYTES:
        command = _command(preparation, file)
        return CheckFailure(f"The file is too large to {preparation.task} here; run: {command}")
    state = await get_state(request).checks.state(_check(preparation, request, file))
    return msgspec.json.decode(state, type=PreparedFile) if isinstance(state, bytes) else state


def _command(preparation: Preparation, file: FileObject) -> str:
    """Return the command that does the same."""
    if preparation.task == "convert":
        return convert_command(file.filename, "chat")
    output = quote_path(_new_name(preparation, file))
    return f"ftkit fix {quote_path(file.filename)} -o {output}"


async def _values(
    preparation: Preparation, request: Request, file: FileObject
) -> Mapping[str, Any]:
    """Return the values for the template."""
    state = await _state(preparation, request, file)
    return {
        "file": file,
        "state": state,
        "kind": state_kind(state),
        "task": preparation.task,
        "waiting": preparation.waiting,
        "options": _options(preparation, request),
        "query": urlencode(_options(preparation, request)),
        "new_name": _new_name(preparation, file),
        "is_small": file.bytes <= MAX_PREPARED_BYTES,
    }


def _new_name(preparation: Preparation, file: FileObject) -> str:
    stem = file.filename.rpartition(".")[0] or file.filename or "examples"
    return stem + preparation.ending


ROUTES = [
    Route(f"/files/{{id}}/{preparation.task}{path}", decorate(partial(endpoint, preparation)))
    for preparation in PREPARATIONS
    for path, decorate, endpoint in (
        ("", page, show),
        ("/result", fragment, show_result),
        ("/data", page, show_data),
    )
]
