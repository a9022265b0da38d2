"""ASGI application of the local service.

request -> request id -> authentication -> route -> response, or error -> OpenAI's error object
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import traceback
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from threading import Thread

from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ftkit._local import prove
from ftkit.server.auth import AuthenticationMiddleware, Authenticator
from ftkit.server.cleanup import collect_garbage
from ftkit.server.context import Service
from ftkit.server.database import Database
from ftkit.server.errors import ServiceError
from ftkit.server.folder import Folder
from ftkit.server.inference import Generator
from ftkit.server.job_limits import DEFAULT_LIMITS, TenantLimits
from ftkit.server.models import ModelRegistry
from ftkit.server.recipes import Recipes
from ftkit.server.relay import Relay
from ftkit.server.request_ids import RequestIdMiddleware
from ftkit.server.request_log import RequestLogMiddleware, start_request_log
from ftkit.server.responses import handle_error, json_response
from ftkit.server.routes import completions, files, internal, jobs, models, responses_api
from ftkit.server.runner import Runner
from ftkit.server.scheduling import Capacity
from ftkit.server.storage import StorageLimits
from ftkit.server.supervisor import Supervisor
from ftkit.server.web_pages import WebPages

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine in the `Host` header."""

HANDLED_ERRORS = (
    ServiceError,
    HTTPException,
    ClientDisconnect,
    sqlite3.OperationalError,
    OSError,
    Exception,
)
"""Exceptions that are answered with an error object. Only those under `Exception` are logged."""


class ServerSettings(Struct, frozen=True):
    """Settings of a service.

    Attributes:
        folder: Data folder.
        models: Base models by further names that stand for them.
        keys: Accepted API keys; without any, only requests from this machine are accepted. With
            keys, only the base models in `models` and `ftkit/smoke` are loaded.
        max_jobs: Maximum number of concurrent training jobs.
        hosts: Host names under which a service without API keys accepts requests.
        secret: Key with which the service proves its identity to local clients, or "".
        storage: Limits on disk space.
        recipes: Recipes of the base models; the built-in ones by default.
        answers: URLs of servers that answer for base models, by base model.
        answers_key: API key for these servers, or "".
        log_requests: Log a line for each request to standard error.
        runner: Runner of training jobs on other machines; None to train on this one.
        limits: Limits on the jobs of each tenant.
        shared_priorities: Compare the priorities of the jobs of all tenants.
        pages: Pages for browsers, or None.
    """

    folder: Path
    models: dict[str, str] = {}
    keys: tuple[str, ...] = ()
    max_jobs: int = 1
    hosts: tuple[str, ...] = LOCAL_HOSTS
    secret: str = ""
    storage: StorageLimits = StorageLimits()
    recipes: Recipes | None = None
    answers: dict[str, str] = {}
    answers_key: str = ""
    log_requests: bool = False
    runner: Runner | None = None
    limits: TenantLimits = DEFAULT_LIMITS
    shared_priorities: bool = False
    pages: WebPages | None = None

    @property
    def capacity(self) -> Capacity:
        """Number of training processes that may run."""
        return Capacity(self.max_jobs, self.limits.running, self.shared_priorities)


def create_app(settings: ServerSettings) -> ASGIApp:
    """Return the service as an ASGI application, which runs jobs from startup to shutdown."""
    folder = Folder(settings.folder, settings.storage)
    database = Database(folder.database)
    folder.make_private()
    registry = ModelRegistry(
        database, settings.models, uses_hub=not settings.keys, recipes=settings.recipes
    )
    relay = Relay(settings.answers, settings.answers_key, database, folder, registry.recipe)
    service = Service(
        database,
        folder,
        registry,
        Generator(folder),
        relay,
        settings.limits,
        trains_elsewhere=settings.runner is not None,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            collect_garbage(database, folder)
        except (OSError, sqlite3.Error):  # for example a full disk; the next start tries again
            traceback.print_exc()
        loop, generator = asyncio.get_running_loop(), service.generator
        wake = partial(loop.call_soon_threadsafe, relay.wake)
        free_memory = partial(loop.call_soon_threadsafe, generator.end_when_idle)
        supervisor = Supervisor(
            database, folder, settings.capacity, free_memory, wake, settings.runner
        )
        await relay.start()
        supervisor.start()
        if settings.pages:  # not before the service is ready, since the API needs none of it
            Thread(target=settings.pages.prepare, daemon=True).start()
        yield
        supervisor.stop()
        await relay.stop()
        generator.end()
        with contextlib.suppress(sqlite3.Error):  # such as a full disk; the next start does it
            database.checkpoint()

    authenticator = Authenticator(settings.keys, settings.hosts)
    app = Starlette(
        routes=[
            _health_route(settings.secret),
            *files.ROUTES,
            *jobs.ROUTES,
            *models.ROUTES,
            *completions.ROUTES,
            *responses_api.ROUTES,
            *(internal.ROUTES if settings.runner else ()),
            *(settings.pages.routes if settings.pages else ()),
        ],
        middleware=[
            Middleware(
                AuthenticationMiddleware,
                authenticator=authenticator,
                internal=settings.runner is not None,
                pages=settings.pages,
            )
        ],
        exception_handlers=dict.fromkeys(HANDLED_ERRORS, handle_error),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service, app.state.authenticator = service, authenticator
    app.state.pages = settings.pages
    if settings.pages:
        needs_keys = authenticator.needs_keys
        app.state.page_state = settings.pages.create_state(folder, database, needs_keys)
    # Not one of Starlette's middlewares, which unexpected errors bypass.
    identified = RequestIdMiddleware(app)
    if not settings.log_requests:
        return identified
    start_request_log()
    return RequestLogMiddleware(identified)


def _health_route(secret: str) -> Route:
    """Return the route by which local clients find the service, see `ftkit._local`."""

    async def health(request: Request) -> Response:
        challenge = request.query_params.get("challenge", "")
        proof = prove(secret, challenge) if secret and challenge else None
        return json_response({"status": "ok", "proof": proof})

    return Route("/health", health)
