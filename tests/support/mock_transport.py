"""An SDK client whose requests a respx router answers.

respx knows httpx; newer SDKs use httpx2, which has the same shapes under another name, so requests and answers are carried over.
"""

from __future__ import annotations

from typing import Any

import httpx
import openai
import respx

from ftkit.catalog import load_catalog
from ftkit.client.client import Client

try:
    import httpx2 as engine
except ImportError:  # the SDK's version 2
    engine = httpx  # type: ignore[no-redef]

MOCK_URL = "http://service.test/v1"


def mock_client(router: respx.MockRouter) -> openai.OpenAI:
    """A client whose requests the router answers."""

    def answer(request: Any) -> Any:
        sent = httpx.Request(
            request.method, str(request.url), headers=request.headers.raw, content=request.read()
        )
        response = router.handler(sent)
        return engine.Response(
            response.status_code, headers=response.headers.raw, content=response.read()
        )

    transport = engine.MockTransport(answer)
    return openai.OpenAI(
        api_key="sk-test",
        base_url=MOCK_URL,
        max_retries=0,
        http_client=engine.Client(transport=transport),
    )


JOB = {
    "id": "ftjob-1",
    "object": "fine_tuning.job",
    "status": "running",
    "model": "m",
    "created_at": 1,
    "training_file": "file-1",
}


FILE = {
    "id": "file-1",
    "object": "file",
    "filename": "a.jsonl",
    "bytes": 3,
    "purpose": "fine-tune",
    "created_at": 1,
}


EVENT = {
    "id": "e-1",
    "object": "fine_tuning.job.event",
    "created_at": 1,
    "level": "info",
    "message": "Step 1",
}


def mock_service(router: respx.MockRouter, provider: str = "openai") -> Client:
    facts = load_catalog().providers[provider]
    assert facts.api
    return Client(provider, facts, facts.api, mock_client(router))


def list_body(*items: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": False}
