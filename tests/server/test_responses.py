"""Responses to exceptions."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from ftkit.server.request_ids import RequestIdMiddleware
from ftkit.server.responses import handle_error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("/home/user/file.jsonl"),
            "The request failed unexpectedly; the operator finds the reason in the service's log.",
        ),
        (
            PermissionError(13, "Permission denied", "/home/user/file.jsonl"),
            "The service cannot do this now: Permission denied",
        ),
        (
            sqlite3.OperationalError("database is locked"),
            "The service cannot do this now: database is locked",
        ),
    ],
)
def test_an_internal_error_has_a_message_without_paths(error: Exception, message: str) -> None:
    response = asyncio.run(handle_error(Request({"type": "http"}), error))
    assert response.status_code == 500
    assert json.loads(bytes(response.body))["error"]["message"] == message


def test_an_unexpected_error_has_the_id_of_its_response_in_the_log() -> None:
    import httpx

    def fail(request: Request) -> None:
        raise ValueError("too bad")

    app = Starlette(routes=[Route("/", fail)], exception_handlers={Exception: handle_error})
    raised: list[Exception] = []

    async def run_and_keep_errors(*arguments: Any) -> None:
        try:
            await RequestIdMiddleware(app)(*arguments)
        except Exception as error:
            raised.append(error)

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(run_and_keep_errors)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get("http://localhost/")

    response = asyncio.run(request())
    (error,) = raised
    assert response.status_code == 500
    assert error.__notes__ == [f"x-request-id of the response: {response.headers['x-request-id']}"]
