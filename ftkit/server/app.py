"""The HTTP service: what every request goes through, and how the parts are put together."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ftkit.server.auth import Access
from ftkit.server.bases import Bases
from ftkit.server.errors import Refusal, broken
from ftkit.server.files import expire
from ftkit.server.folder import Folder
from ftkit.server.inference import Generator
from ftkit.server.routes import completions as routes_answers
from ftkit.server.routes import files as routes_files
from ftkit.server.routes import jobs as routes_jobs
from ftkit.server.routes import models as routes_models
from ftkit.server.store import Store
from ftkit.server.supervisor import Supervisor

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine in requests to it."""


class Settings(Struct, frozen=True):
    """How a service is run. `keys` are those that are taken, any if there are none; `models` maps names to bases."""

    folder: Path
    models: dict[str, str] = {}
    keys: tuple[str, ...] = ()
    max_jobs: int = 1
    hosts: tuple[str, ...] = LOCAL_HOSTS


class Parts(Struct):
    """What the routes work with."""

    store: Store
    folder: Folder
    bases: Bases
    generator: Generator


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; its jobs run while it does."""
    folder = Folder(settings.folder)
    store = Store(folder.database)
    parts = Parts(store, folder, Bases(store, settings.models), Generator(folder))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        folder.sweep()
        expire(store, folder)
        supervisor = Supervisor(store, folder, settings.max_jobs)
        supervisor.start()
        yield
        supervisor.end()
        parts.generator.end()

    gate = Middleware(Gate, access=Access(settings.keys, settings.hosts))
    app = FastAPI(
        lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, middleware=[gate]
    )
    app.state.parts = parts
    for routes in (routes_files, routes_jobs, routes_models, routes_answers):
        app.include_router(routes.router, prefix="/v1")
    app.include_router(routes_models.export, prefix="/v1")
    app.add_api_route("/health", _health, methods=["GET"])
    for kind in (Refusal, HTTPException, sqlite3.OperationalError, OSError, Exception):
        app.add_exception_handler(kind, _problem)
    return app


async def _health() -> JSONResponse:
    return JSONResponse({"status": "ok", "pid": os.getpid()})


async def _problem(request: Request, error: Exception) -> JSONResponse:
    refusal = _as_refusal(request, error)
    return JSONResponse(refusal.body, refusal.status)


def _as_refusal(request: Request, error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        path = request.url.path
        if error.status_code == 405:
            return Refusal(
                405, f"Not allowed to {request.method} on {path}.", code="method_not_supported"
            )
        return Refusal(
            error.status_code, f"Unknown request URL: {request.method} {path}.", code="unknown_url"
        )
    return broken(f"The service cannot do this now: {error}")


class Gate:
    """Lets requests in that may be, and notes whose they are."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            scope.setdefault("state", {})["tenant"] = self._access.tenant(headers)
        except Refusal as refusal:
            await JSONResponse(refusal.body, refusal.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)
