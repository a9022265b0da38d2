"""Responses to exceptions."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest
from starlette.requests import Request

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
