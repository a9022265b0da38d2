"""Requests that fail alone: others, and the process, go on."""

from __future__ import annotations

import io
import json
import queue
from pathlib import Path
from typing import Any

import pytest

from ftkit.server.commands import RequestReader
from ftkit.server.recipes import builtin_recipes
from support.models import SMOKE

pytestmark = pytest.mark.training


class Requests(queue.Queue[dict[str, Any]]):
    """Queue of requests that raises `queue.Empty` after the last one."""

    def get(self, block: bool = True, timeout: float | None = None) -> dict[str, Any]:
        return super().get(block=False)


def request(id: str, **fields: Any) -> dict[str, Any]:
    recipe = builtin_recipes().find(SMOKE).as_json()
    prompt = {"prompt": "x", "max_tokens": 3, "temperature": 0}
    return {"id": id, "base": SMOKE, "job": "", "step": 0, "recipe": recipe, **prompt, **fields}


def process(folder: Path, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the responses of the process to requests."""
    from ftkit.server.generation.process import process_requests

    reader, responses = RequestReader(), io.StringIO()
    reader.requests = Requests()
    for item in requests:
        reader.requests.put(item)
    with pytest.raises(queue.Empty):
        process_requests(folder, reader, responses)
    return [json.loads(line) for line in responses.getvalue().splitlines()]


@pytest.mark.parametrize("fields", [{"logit_bias": {"05": 1}}, {"n": "x"}, {"prompt": {}}])
def test_a_malformed_request_does_not_end_the_process(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    responses = process(tmp_path, request("bad", **fields), request("good"))
    errors = [item for item in responses if "error" in item]
    assert [(item["id"], item["code"]) for item in errors] == [("bad", "server_error")]
    assert {"id": "good", "done": True, "prompt_tokens": 1} in responses
