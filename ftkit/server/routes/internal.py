"""`/internal/jobs/ID`: reports of training processes on other machines.

The token of the attempt is the only authentication. No API key gives access to these routes, and no
token to any other. All tokens that are not those of current attempts get the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import json
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.server.attempts import TOKEN, hash_token, require_current
from ftkit.server.context import Service, read_json
from ftkit.server.database_reports import DatabaseReports
from ftkit.server.errors import AuthenticationError
from ftkit.server.objects import JobError
from ftkit.server.report_messages import (
    BODY_BYTES,
    BeatResponse,
    DoneMessage,
    EmptyMessage,
    EventsMessage,
    StartResponse,
    StateMessage,
)
from ftkit.server.responses import encoded_response, json_response

T = TypeVar("T")

SECRET_FIELDS = ("token_hash", "handle")
"""Internal fields of a job that its process does not need."""


def _authenticate(request: Request) -> tuple[Service, str, str]:
    """Return the components of the service, the id of the job, and the hash of the token.

    Raises:
        AuthenticationError: There is no token.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not TOKEN.fullmatch(token):
        raise AuthenticationError("Send the token of the attempt.", code="invalid_token")
    service: Service = request.app.state.service
    return service, request.path_params["id"], hash_token(token)


async def _handle(
    request: Request, type: type[T], report: Callable[[DatabaseReports, T], Response]
) -> Response:
    """Pass a message on to the database.

    Raises:
        StaleAttemptError: The attempt is not the current one of its job.
    """
    service, id, token_hash = _authenticate(request)
    # Before the body is read, and again in the transaction that writes.
    await run_in_threadpool(require_current, service.database, id, token_hash)
    body = await read_json(request, type, BODY_BYTES)
    reports = DatabaseReports(service.database, service.folder, id, token_hash)
    return await run_in_threadpool(report, reports, body)


async def spec(request: Request) -> Response:
    """Begin the training, and return the job."""
    return await _handle(request, EmptyMessage, _begin)


def _begin(reports: DatabaseReports, _: EmptyMessage) -> Response:
    start = reports.begin()
    assert start  # None is for processes on this machine
    public, internal = start.job.documents()
    for name in SECRET_FIELDS:
        del internal[name]
    steps = list(start.published_steps)
    return encoded_response(
        json.encode(StartResponse(public, internal, start.reported_step, steps))
    )


async def beat(request: Request) -> Response:
    """Return what the process is to do."""
    return await _handle(request, EmptyMessage, _beat)


def _beat(reports: DatabaseReports, _: EmptyMessage) -> Response:
    return encoded_response(json.encode(BeatResponse(reports.beat())))


async def add_events(request: Request) -> Response:
    """Add events, and set the hyperparameters."""
    return await _handle(request, EventsMessage, _add_events)


def _add_events(reports: DatabaseReports, message: EventsMessage) -> Response:
    if message.hyperparameters:
        reports.set_hyperparameters(message.hyperparameters)
    reports.add_events(message.events)
    return json_response({})


async def add_checkpoint(request: Request) -> Response:
    """Commit a saved state, or publish its adapter."""
    return await _handle(request, StateMessage, _add_checkpoint)


def _add_checkpoint(reports: DatabaseReports, message: StateMessage) -> Response:
    if message.metrics is None:
        reports.commit(message.step)
    else:
        reports.publish(message.step, message.metrics)
    return json_response({})


async def finish(request: Request) -> Response:
    """End the job."""
    return await _handle(request, DoneMessage, _finish)


def _finish(reports: DatabaseReports, message: DoneMessage) -> Response:
    if message.error:
        error = message.error
        reports.fail(JobError(error.code, error.message, error.param))
    else:
        reports.succeed(message.steps, message.tokens)
    return json_response({})


ROUTES = [
    Route("/internal/jobs/{id}/spec", spec, methods=["POST"]),
    Route("/internal/jobs/{id}/beat", beat, methods=["POST"]),
    Route("/internal/jobs/{id}/events", add_events, methods=["POST"]),
    Route("/internal/jobs/{id}/checkpoint", add_checkpoint, methods=["POST"]),
    Route("/internal/jobs/{id}/done", finish, methods=["POST"]),
]
