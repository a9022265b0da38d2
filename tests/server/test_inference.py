"""The generation process as the service sees it: its errors and end, limits, and cancellations.

A process without a model takes its place.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from support import generation_process
from support.local_server import LocalServer
from support.models import SMOKE
from support.processes import wait_for_end, worker_processes

CONSTANTS = {
    "inference.RUN_MODULE": [sys.executable, str(Path(generation_process.__file__))],
    "inference.MAX_PENDING": 3,
    "inference.MAX_PENDING_OF_TENANT": 2,
    "inference.IDLE_SECONDS": 1.0,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("inference") / "data"
    with LocalServer(folder, keys=("a", "b", "c"), constants=CONSTANTS) as server:
        yield server


@pytest.fixture
def client(server: LocalServer) -> Iterator[openai.OpenAI]:
    with server.client("a") as client:
        yield client


def ask(client: openai.OpenAI, content: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": content}]
    return client.chat.completions.create(model=SMOKE, messages=messages, **more)


def wait_for_log(server: LocalServer, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in (server.folder / "generate.log").read_text():
        assert time.monotonic() < deadline, text
        time.sleep(0.02)


def test_each_endpoint_has_the_answer_of_the_process(client: openai.OpenAI) -> None:
    assert ask(client, "x").choices[0].message.content == "local"
    chunks = ask(client, "x", stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "local"
    texts = client.completions.create(model=SMOKE, prompt=["x", "y"]).choices
    assert [choice.text for choice in texts] == ["local", "local"]
    assert client.responses.create(model=SMOKE, input="x").output_text == "local"
    with client.responses.stream(model=SMOKE, input="x") as stream:
        assert stream.get_final_response().output_text == "local"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("server_error", 500),
        ("out_of_memory", 503),
        ("model_not_found", 404),
        ("context_length_exceeded", 400),
        ("invalid_value", 400),
    ],
)
def test_an_error_of_the_process_has_a_status(
    code: str, status: int, stream: bool, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.APIStatusError, match=r"It failed\.") as error:
        ask(client, f"fail {code}", stream=stream)
    assert error.value.status_code == status


def test_a_process_that_ends_fails_its_requests_and_is_started_again(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.InternalServerError, match="The generation process ended"):
        ask(client, "exit")
    assert ask(client, "x").choices


def test_pending_requests_are_limited_by_tenant_and_in_all(server: LocalServer) -> None:
    with (
        server.client("a") as first,
        server.client("b") as second,
        server.client("c") as third,
        ThreadPoolExecutor() as pool,
    ):
        waiting = [pool.submit(ask, client, "wait") for client in (first, first, second)]
        wait_for_log(server, "waiting\n" * 3)
        for client, limit in ((first, 2), (third, 3)):
            with pytest.raises(openai.RateLimitError, match=f"{limit} requests") as error:
                ask(client, "x")
            assert error.value.response.headers["retry-after"] == "2"
        os.kill(worker_processes(server.folder, "generate")[0], signal.SIGKILL)
        for future in waiting:
            with pytest.raises(openai.InternalServerError, match="The generation process ended"):
                future.result()
        assert ask(third, "x").choices


def test_a_request_of_a_client_that_disconnects_is_cancelled(
    server: LocalServer, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=1), "wait")
    wait_for_log(server, "cancelled\n")


def test_a_process_ends_only_while_it_has_no_requests(
    client: openai.OpenAI, server: LocalServer
) -> None:
    ask(client, "x")
    with pytest.raises(openai.APITimeoutError):  # and not the error of a process that ended
        ask(client.with_options(timeout=2 * CONSTANTS["inference.IDLE_SECONDS"]), "wait")
    wait_for_end(server.folder, "generate", 5)
    assert ask(client, "x").choices
