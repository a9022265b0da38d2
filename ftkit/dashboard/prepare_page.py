"""The pages that make examples of a file: conversion to chat examples, and safe fixes.

They only show the examples, which the browser uploads as a new file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from ftkit.dashboard.check_results import DATA, Check, Prepared, Task
from ftkit.dashboard.checks import Failure, Pending, get_checks
from ftkit.dashboard.files_page import find_file
from ftkit.dashboard.respond import HEADERS, fragment, page, respond
from ftkit.prepare.convert.column_names import COLUMNS
from ftkit.prepare.file_formats import convert_command
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.server.context import get_context
from ftkit.server.objects import FileObject

MAX_BYTES = 64 << 20
"""Maximum size of a file that is converted or fixed here."""

MAX_OPTION = 200
"""Maximum number of characters of an option."""

SUFFIXES = (".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".parquet", ".arrow", ".feather", ".txt")
"""Suffixes of file names by which formats are detected."""

READING = tuple(name for name in ReadOptions.__struct_fields__ if name != "pause")
"""Options of the readers of files."""


class Preparation(Struct, frozen=True):
    """One of the pages.

    Attributes:
        verb: Beginning of its title.
        waiting: What is shown while it works.
        ending: Ending of the name of the new file.
        options: Options that the address may have.
    """

    task: Task
    verb: str
    waiting: str
    ending: str
    options: tuple[str, ...] = ()


PREPARATIONS = {
    "convert": Preparation(
        "convert", "Convert", "Converting the file", ".jsonl", (*COLUMNS, *READING)
    ),
    "fix": Preparation("fix", "Fix", "Fixing the file", "-fixed.jsonl"),
}
"""The pages by the last part of their path."""


@page
async def show(request: Request) -> Response:
    """Return the page."""
    file = await run_in_threadpool(find_file, request)
    preparation = _preparation(request)
    title = f"{preparation.verb} {file.filename}"
    values = await _values(request, file)
    return respond(request, "prepare", scripts=("upload.js",), title=title, **values)


@fragment
async def show_result(request: Request) -> Response:
    """Return the result, or how far it is."""
    file = await run_in_threadpool(find_file, request)
    if "again" in request.query_params:
        get_checks(request).forget(_check(request, file))
    return respond(request, "prepare_result", **await _values(request, file))


@page
async def show_data(request: Request) -> Response:
    """Return the examples as JSON Lines, or go to the page before they are made."""
    file = await run_in_threadpool(find_file, request)
    path = get_checks(request).path(_check(request, file), DATA)
    try:
        stat = await run_in_threadpool(path.stat)
    except OSError:
        address = f"/files/{file.id}/{_verb(request)}"
        return RedirectResponse(f"{address}?{request.url.query}", 303)
    headers = HEADERS | {"content-security-policy": "sandbox"}
    return FileResponse(
        path,
        headers=headers,
        media_type="application/octet-stream",
        filename=_new_name(request, file),
        stat_result=stat,
    )


def _verb(request: Request) -> str:
    """Return the part of the path after the id of the file."""
    return request.url.path.split("/")[3]


def _preparation(request: Request) -> Preparation:
    return PREPARATIONS[_verb(request)]


def _options(request: Request) -> dict[str, str]:
    """Return the options in the address that are not empty."""
    names = _preparation(request).options
    values = ((name, request.query_params.get(name, "")[:MAX_OPTION]) for name in names)
    return {name: value for name, value in values if value}


def _check(request: Request, file: FileObject) -> Check:
    suffix = next((end for end in SUFFIXES if file.filename.lower().endswith(end)), "")
    arguments: dict[str, Any] = {"suffix": suffix, **_options(request)}
    return Check(_preparation(request).task, file.sha256, arguments)


async def _state(request: Request, file: FileObject) -> Pending | Prepared:
    if file.bytes > MAX_BYTES:
        command = convert_command(file.filename, "chat")
        verb = _preparation(request).verb.lower()
        if verb == "fix":
            command = command.replace("ftkit convert", "ftkit fix").replace(" --to chat", "")
        return Failure(f"The file is too large to {verb} here; run: {command}")
    _, tenant = get_context(request)
    state = await get_checks(request).state(_check(request, file), tenant)
    return msgspec.json.decode(state, type=Prepared) if isinstance(state, bytes) else state


async def _values(request: Request, file: FileObject) -> Mapping[str, Any]:
    """Return the values for the template."""
    state, options = await _state(request, file), _options(request)
    preparation = _preparation(request)
    return {
        "file": file,
        "state": state,
        "kind": type(state).__name__.lower(),
        "verb": preparation.task,
        "waiting": preparation.waiting,
        "options": options,
        "query": request.url.query,
        "new_name": _new_name(request, file),
        "is_small": file.bytes <= MAX_BYTES,
    }


def _new_name(request: Request, file: FileObject) -> str:
    stem = file.filename.rpartition(".")[0] or file.filename or "examples"
    return stem + _preparation(request).ending


ROUTES = [
    Route(f"/files/{{id}}/{verb}{path}", endpoint)
    for verb in PREPARATIONS
    for path, endpoint in (("", show), ("/result", show_result), ("/data", show_data))
]
