"""Completions under load: limits, turns of tenants, and clients that go away."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from support.local_server import LocalServer, wait_for_job
from support.models import SMOKE
from support.training import ask_model, method_with, question, start_job

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("load") / "data"
    with LocalServer(folder, keys=("many", "one")) as server:
        with server.client("one") as client:
            ask_model(client, SMOKE, "x", max_tokens=1)  # starts the process
        yield server


@pytest.fixture
def one(server: LocalServer) -> Iterator[openai.OpenAI]:
    with server.client("one") as client:
        yield client


@pytest.fixture
def many(server: LocalServer) -> Iterator[openai.OpenAI]:
    with server.client("many") as client:
        yield client


def test_requests_beyond_the_limit_of_a_tenant_are_told_when_to_try_again(
    one: openai.OpenAI, many: openai.OpenAI
) -> None:
    refused: list[openai.RateLimitError] = []

    def ask(_: int) -> str:
        try:
            ask_model(many, SMOKE, "x" * 50, max_tokens=300, temperature=1)
        except openai.RateLimitError as error:
            refused.append(error)
            return "refused"
        return "answered"

    with ThreadPoolExecutor(100) as pool:
        asked = pool.map(ask, range(100))
        time.sleep(1)
        start = time.monotonic()
        ask_model(one, SMOKE, "x", max_tokens=5)
        waited = time.monotonic() - start
        counts = Counter(asked)
    total = time.monotonic() - start
    assert counts["answered"] >= 64
    assert refused
    assert counts.total() == 100
    assert {error.response.headers["retry-after"] for error in refused} == {"2"}
    assert {error.code for error in refused} == {"rate_limit_exceeded"}
    assert waited < total


def test_a_client_that_disconnects_frees_its_places_at_once(many: openai.OpenAI) -> None:
    streams = [
        many.chat.completions.create(
            model=SMOKE, messages=question("x"), max_tokens=2000, n=8, stream=True
        )
        for _ in range(8)
    ]
    for stream in streams:
        next(iter(stream))
        stream.close()
    start = time.monotonic()
    ask_model(many, SMOKE, "x", max_tokens=5)
    assert time.monotonic() - start < 20  # the answers would take minutes


def test_a_job_trains_during_chats(one: openai.OpenAI, many: openai.OpenAI) -> None:
    stop = threading.Event()

    def chat(_: int) -> int:
        count = 0
        while not stop.is_set():
            ask_model(many, SMOKE, "x", max_tokens=20)
            count += 1
        return count

    with ThreadPoolExecutor(8) as pool:
        chats = pool.map(chat, range(8))
        try:
            job = start_job(one, method=method_with(n_epochs=1))
            wait_for_job(one, job.id, "succeeded")
        finally:
            stop.set()
        assert all(chats)
