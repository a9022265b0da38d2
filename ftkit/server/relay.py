"""Relay of completions to answering servers, such as vLLM, in place of the generation process.

request -> answering server of its base model -> response
        -> generation process, if no server is configured or it cannot answer

Adapters are loaded when their jobs succeed or at their first requests. A task compares the loaded
adapters with the existing models, and unloads those of deleted models, also after an outage of the
server.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ftkit.server.answering import (
    Adapter,
    AnsweringServer,
    RejectedError,
    UnusableError,
    read_content,
    read_lines,
)
from ftkit.server.completion_bodies import ChatBody, CompletionFields
from ftkit.server.completions import Kind
from ftkit.server.database import Database
from ftkit.server.errors import BusyError, InternalError, ServiceError
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRef
from ftkit.server.objects import JobObject, ModelObject
from ftkit.server.relay_messages import (
    Names,
    public_completion,
    public_error,
    public_events,
    upstream_fields,
)
from ftkit.server.responses import END_OF_STREAM, error_object, json_response, server_sent_event
from ftkit.server.template_facts import TemplateReader

MAX_CONCURRENT = 256
"""Maximum number of concurrent requests to answering servers."""

MAX_CONCURRENT_OF_TENANT = 64
"""Maximum number of concurrent requests of a tenant to answering servers."""

SYNC_SECONDS = 60.0
"""Seconds between comparisons of the loaded adapters with the existing ones."""

BROKEN_STREAM = "The answer ended early; try again."
"""Message of an error after the first event of a stream."""

PATHS: dict[Kind, str] = {"chat": "chat/completions", "text": "completions"}
"""Paths of requests for completions."""

logger = logging.getLogger("ftkit.server")


class RelayedStream(StreamingResponse):
    """Streamed response that releases resources when it ends, or its client disconnects."""

    def __init__(self, events: AsyncIterator[bytes], resources: AsyncExitStack) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        async with self._resources:
            await super().__call__(scope, receive, send)


class Relay:
    """Client of all answering servers: relays completions, and keeps the adapters in sync.

    Args:
        servers: URLs of the servers by base model.
        key: API key for the servers, or "".
        database: Database with the fine-tuned models.
        folder: Folder with their adapters.
        recipe: Returns the recipe of a base model, as a JSON object.
    """

    def __init__(
        self,
        servers: Mapping[str, str],
        key: str,
        database: Database,
        folder: Folder,
        recipe: Callable[[str], dict[str, Any]],
    ) -> None:
        self._servers = {base: AnsweringServer(base, url, key) for base, url in servers.items()}
        self._database, self._folder, self._recipe = database, folder, recipe
        self._templates = TemplateReader(folder)
        self._salt_key = secrets.token_bytes(32)
        self._active: Counter[str] = Counter()  # requests by tenant
        self._models: dict[str, dict[str, ModelObject]] = {}  # by base model, at the last sync
        self._changed = asyncio.Event()
        self._sync_task: asyncio.Task[None] | None = None
        digest = hashlib.sha256(str(folder.root).encode()).hexdigest()
        self._prefix = f"ftkit-{digest[:8]}-"

    @property
    def bases(self) -> list[str]:
        """Base models that an answering server is configured for."""
        return list(self._servers)

    async def respond(
        self, body: CompletionFields, requests: list[dict[str, Any]], served: ModelRef, tenant: str
    ) -> Response | None:
        """Return the response of the answering server, or None if the local process is to answer.

        Args:
            body: Body of the client's request.
            requests: Its translation for the generation process, one request for each prompt.
            served: Model to answer with.
            tenant: Tenant that sent the request.

        Raises:
            ServiceError: The server rejected the request, or too many are pending.
        """
        server = self._servers.get(served.base)
        adapter = self._adapter(served.job, served.step) if served.job else None
        if server is None or not server.is_usable(adapter):
            return None
        model = adapter.name if adapter else server.base
        kind: Kind = "chat" if isinstance(body, ChatBody) else "text"
        facts = await self._templates.read(served) if kind == "chat" else None
        fields = upstream_fields(body, requests, served.recipe["template"], facts)
        if fields is None:
            return None
        fields["model"] = model
        # Without a salt, response times would show if another account had sent the same prefix.
        fields["cache_salt"] = self._salt(tenant)
        names = Names(body.model, served.base, model)
        try:
            async with AsyncExitStack() as resources:
                self._take_slot(tenant, resources)
                upstream = await server.open(PATHS[kind], fields, adapter)
                resources.push_async_callback(upstream.aclose)
                if not body.stream:
                    response = json_response(public_completion(await read_content(upstream), names))
                else:
                    events = public_events(read_lines(upstream), names)
                    # An error before the first event still sets the HTTP status, or has no effect.
                    first = await anext(events)
                    stream = _with_error_event(server, names, first, events)
                    response = RelayedStream(stream, resources.pop_all())
        except UnusableError as error:
            server.note_failure(error)
            return None
        except RejectedError as error:
            raise public_error(error, names) from error
        server.note_success(adapter)
        return response

    def _take_slot(self, tenant: str, resources: AsyncExitStack) -> None:
        """Count a request as active until the resources are released."""
        for count, limit in (
            (self._active[tenant], MAX_CONCURRENT_OF_TENANT),
            (self._active.total(), MAX_CONCURRENT),
        ):
            if count >= limit:
                message = f"{limit} requests are pending already; try again later."
                raise BusyError(message, code="rate_limit_exceeded")
        self._active[tenant] += 1

        def release() -> None:
            self._active[tenant] -= 1

        resources.callback(release)

    def _adapter(self, job: str, step: int) -> Adapter:
        """Return the adapter of a job at a step, with a name that no other service uses."""
        return Adapter(f"{self._prefix}{job}-{step}", str(self._folder.adapter(job, step)))

    def _salt(self, tenant: str) -> str:
        return hmac.new(self._salt_key, tenant.encode(), hashlib.sha256).hexdigest()

    async def start(self) -> None:
        """Start to keep the adapters of the servers in sync with the existing models."""
        for base in self._servers:
            self._models[base] = await self._existing_models(base)
        if self._servers:
            self._changed.set()
            self._sync_task = asyncio.create_task(self._keep_in_sync())

    async def stop(self) -> None:
        """Close all connections. Adapters stay loaded."""
        if self._sync_task:
            self._sync_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._sync_task
        for server in self._servers.values():
            await server.close()

    def wake(self) -> None:
        """Compare the adapters soon, since a model was added or deleted."""
        self._changed.set()

    async def _keep_in_sync(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), SYNC_SECONDS)
            self._changed.clear()
            try:
                for server in self._servers.values():
                    await _try(server, self._sync(server))
                for base in self._servers:
                    await self._templates.read(ModelRef(base, recipe=self._recipe(base)))
                await self._templates.retry()
            except Exception:  # for example a full disk, which may have room again later
                logger.exception("The adapters of other servers cannot be compared")

    async def _sync(self, server: AnsweringServer) -> None:
        """Unload the adapters of deleted models, and load those of jobs that have succeeded."""
        loaded = await server.loaded(self._prefix)
        # After `loaded`: a model that was added and loaded in between would seem deleted.
        models = await self._existing_models(server.base)
        before = self._models[server.base]
        adapters = {
            id: self._adapter(model.job, model.step) for id, model in (before | models).items()
        }
        existing = {adapters[id].name for id in models}
        server.forget(adapters[id].name for id in before if id not in models)
        new = [model for id, model in models.items() if id not in before]
        self._models[server.base] = models
        for name in loaded - existing:
            await _try(server, server.unload(name))
        for model in filter(self._is_final, new):
            await _try(server, server.load(adapters[model.id]))

    async def _existing_models(self, base: str) -> dict[str, ModelObject]:
        """Return the fine-tuned models of a base model, of all tenants, by their names."""
        models = await run_in_threadpool(self._database.all, ModelObject)
        return {model.id: model for model in models if model.base == base}

    def _is_final(self, model: ModelObject) -> bool:
        """Return True for the model of a job, and False for that of a checkpoint."""
        job = self._database.get(JobObject, model.job)
        return job is not None and job.fine_tuned_model == model.id


async def _try(server: AnsweringServer, change: Coroutine[Any, Any, None]) -> None:
    """Change the adapters of a server. A failure is logged, and does not prevent other changes."""
    try:
        await change
    except UnusableError as error:
        server.note_failure(error)


async def _with_error_event(
    server: AnsweringServer, names: Names, first: bytes, events: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the events of a stream, and errors as events, since the status has been sent."""
    yield first
    failure: ServiceError | None = None
    try:
        async for data in events:
            yield data
    except UnusableError as error:
        server.note_failure(error)
        failure = InternalError(BROKEN_STREAM)
    except RejectedError as error:
        failure = public_error(error, names)
    if failure:
        yield server_sent_event(error_object(failure)) + END_OF_STREAM
