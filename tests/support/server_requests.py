"""Requests to the local server."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai.types import FileObject

from ftkit.server import lifecycle
from ftkit.server.bodies import JobBody
from ftkit.server.database import Database
from ftkit.server.models import ModelRegistry
from ftkit.server.objects import FileObject as StoredFile
from ftkit.server.objects import JobObject
from support.examples import chat_lines
from support.models import SMOKE

CLEAN_DATA = b"".join(line + b"\n" for line in chat_lines(12))


def upload_file(
    client: openai.OpenAI, content: bytes = CLEAN_DATA, name: str = "data.jsonl"
) -> FileObject:
    return client.files.create(file=(name, content), purpose="fine-tune")


def raw_request(client: openai.OpenAI, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """What the service answers, status and JSON."""
    import httpx

    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx.Client(timeout=60) as http:
        answer = http.request(
            method, f"{client.base_url}{path}", content=None if body is None else data
        )
    return answer.status_code, answer.json()


def create_job(store: Database) -> str:
    store.add(
        StoredFile(
            id="file-1",
            tenant="t",
            bytes=2,
            filename="a.jsonl",
            purpose="fine-tune",
            sha256="0",
        )
    )
    return lifecycle.create_job(
        store, ModelRegistry(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t"
    ).id


def queue_job(store: Database) -> str:
    """Add a job that waits to be trained, and return its id."""
    # In one transaction, or a running service could start to validate the files of the job.
    with store.transaction():
        id = create_job(store)
        store.change(JobObject, id, lambda job: setattr(job, "status", "queued"))
    return id
