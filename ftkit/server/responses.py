"""HTTP responses: JSON, server-sent events, and OpenAI's error object for exceptions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ftkit.server.errors import (
    EXCERPT,
    AuthenticationError,
    BusyError,
    ConflictError,
    DisconnectedError,
    ForeignOriginError,
    FullDiskError,
    InternalError,
    InvalidRequestError,
    LimitReachedError,
    MissingObjectError,
    QuotaError,
    ServiceError,
    StaleAttemptError,
    TooLargeError,
    UnavailableError,
)
from ftkit.server.storage import full_disk, full_disk_reason
from ftkit.server.web_pages import WebPages

RETRY_SECONDS = 2
"""Seconds after which clients may repeat a request that found the service busy."""

INVALID_REQUEST = "invalid_request_error"

ERRORS: dict[type[ServiceError], tuple[int, str]] = {
    InvalidRequestError: (400, INVALID_REQUEST),
    AuthenticationError: (401, INVALID_REQUEST),
    ForeignOriginError: (403, INVALID_REQUEST),
    MissingObjectError: (404, INVALID_REQUEST),
    ConflictError: (409, INVALID_REQUEST),
    StaleAttemptError: (409, INVALID_REQUEST),
    TooLargeError: (413, INVALID_REQUEST),
    QuotaError: (413, INVALID_REQUEST),
    LimitReachedError: (429, "requests"),
    BusyError: (429, "requests"),
    DisconnectedError: (499, INVALID_REQUEST),
    InternalError: (500, "server_error"),
    UnavailableError: (503, "server_error"),
    FullDiskError: (507, "server_error"),
}
"""HTTP status and `type` of the error object for each exception."""

ENDPOINTS = (
    "This service fine-tunes models and answers with them. It has /v1/files, /v1/uploads,"
    " /v1/fine_tuning/jobs, /v1/models, /v1/chat/completions, /v1/completions and /v1/responses."
)
"""Explanation of what else clients can request."""

END_OF_STREAM = b"data: [DONE]\n\n"
"""Last server-sent event of a streamed completion."""


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with `value` as JSON."""
    return encoded_response(json.dumps(value).encode(), status, headers)


def encoded_response(
    data: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with JSON that is already encoded."""
    return Response(data, status, headers, media_type="application/json")


def server_sent_event(value: Any, name: str = "") -> bytes:
    """Return a server-sent event with `value` as JSON, and a name unless it is empty."""
    first = f"event: {name}\n" if name else ""
    return f"{first}data: {json.dumps(value)}\n\n".encode()


def error_object(error: ServiceError) -> dict[str, Any]:
    """Return the body of an error response, as OpenAI's API defines it."""
    _, type = ERRORS[error.__class__]
    return _error_body(str(error), type, error.param, error.code)


def _error_body(message: str, type: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def error_status(error: ServiceError) -> int:
    """Return the HTTP status for an exception."""
    status, _ = ERRORS[error.__class__]
    return status


def error_response(error: ServiceError) -> Response:
    """Return the response to a request that failed with `error`."""
    response = json_response(error_object(error), error_status(error))
    if isinstance(error, BusyError):
        response.headers["retry-after"] = str(RETRY_SECONDS)
    return response


async def handle_error(request: Request, error: Exception) -> Response:
    """Exception handler of the application: respond to any exception with an error object."""
    if isinstance(error, ServiceError):
        return error_response(error)
    if isinstance(error, HTTPException):
        return _routing_error(request, error.status_code)
    if isinstance(error, ClientDisconnect):
        return error_response(DisconnectedError("The client disconnected."))
    reason = full_disk_reason(error)
    if reason is not None:
        return error_response(full_disk(reason))
    return error_response(InternalError(_internal_error_message(error)))


def _internal_error_message(error: Exception) -> str:
    """Return the message of an internal error, without the paths that the exception may name."""
    if isinstance(error, OSError):
        reason = error.strerror or "a file cannot be read or written"
    elif isinstance(error, sqlite3.OperationalError):
        reason = str(error)
    else:
        return (
            "The request failed unexpectedly; the operator finds the reason in the service's log."
        )
    return f"The service cannot do this now: {reason}"


def _routing_error(request: Request, status: int) -> Response:
    """Return the response to a request that no route matches: a page, if a browser sent it."""
    pages: WebPages | None = request.app.state.pages
    is_browser = "text/html" in request.headers.get("accept", "")
    if status == 404 and pages and is_browser:
        return pages.not_found(request)
    method, path = request.method, request.url.path[:EXCERPT]
    if status == 405:
        message, code = f"Not allowed to {method} on {path}.", "method_not_supported"
    else:
        message, code = f"Unknown request URL: {method} {path}. {ENDPOINTS}", "unknown_url"
    return json_response(_error_body(message, INVALID_REQUEST, None, code), status)
