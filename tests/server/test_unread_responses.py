"""Responses of the generation process that nobody reads, or that are too long."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from ftkit.server import inference
from ftkit.server.errors import InternalError, LimitReachedError
from ftkit.server.folder import Folder
from ftkit.server.inference import MAX_LINE_BYTES, MAX_UNREAD_BYTES, Generator
from ftkit.server.models import ModelRef

PROCESS = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if "cancel" in request:
        open(sys.argv[-1] + "/cancelled", "w").close()
        continue
    for _ in range(request["parts"]):
        text = "x" * request["size"]
        print(json.dumps({"id": request["id"], "index": 0, "text": text}), flush=True)
    print(json.dumps({"id": request["id"], "done": True, "prompt_tokens": 1}), flush=True)
"""
"""Process that answers with a number of parts of a size."""

SIZE = 1_000
PARTS = 4 * MAX_UNREAD_BYTES // SIZE

Test = Callable[[Generator], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Test], None]:
    """Run a test with a generator whose process is `PROCESS`."""
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    monkeypatch.setattr(inference, "RUN_MODULE", [sys.executable, str(script)])

    async def run_test(test: Test) -> None:
        generator = Generator(Folder(tmp_path))
        try:
            await test(generator)
        finally:
            generator.end()
            await asyncio.gather(*generator._readers)

    return lambda test: asyncio.run(run_test(test))


async def receive(generator: Generator, parts: int, size: int = SIZE) -> int:
    """Return the number of characters of an answer."""
    fields = {"parts": parts, "size": size}
    responses = generator.generate(ModelRef("m"), "t", fields)
    return sum([len(item.get("text", "")) async for item in responses])


def test_a_client_that_does_not_read_ends_its_request_and_no_other(
    run: Callable[[Test], None], tmp_path: Path
) -> None:
    async def test(generator: Generator) -> None:
        fields = {"parts": PARTS, "size": SIZE}
        async with aclosing(generator.generate(ModelRef("m"), "t", fields)) as responses:
            await anext(responses)
            assert await receive(generator, 10) == 10 * SIZE
            while not (tmp_path / "cancelled").exists():
                await asyncio.sleep(0.01)
            (pending,) = generator._pending.values()
            assert pending.responses.qsize() <= 1
            with pytest.raises(LimitReachedError, match="too slowly"):
                await anext(responses)
        assert await receive(generator, 10) == 10 * SIZE

    run(test)


def test_a_client_that_reads_receives_any_number_of_responses_at_once(
    run: Callable[[Test], None],
) -> None:
    async def test(generator: Generator) -> None:
        sizes = await asyncio.gather(*(receive(generator, PARTS) for _ in range(3)))
        assert sizes == [PARTS * SIZE] * 3

    run(test)


def test_a_response_that_is_too_long_ends_the_process_and_not_the_service(
    run: Callable[[Test], None],
) -> None:
    async def test(generator: Generator) -> None:
        with pytest.raises(InternalError, match="try again"):
            await receive(generator, 1, MAX_LINE_BYTES)
        assert await receive(generator, 10) == 10 * SIZE

    run(test)
