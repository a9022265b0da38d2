"""Several prompts of one request, which are generated together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

MAX_CONCURRENT = 16
"""Maximum number of prompts of a request that are generated at a time."""

MAX_QUEUED = 64
"""Maximum number of responses that wait to be read."""

Responses = AsyncGenerator[dict[str, Any], None]


async def generate_together(
    requests: list[Responses], choices: int
) -> AsyncIterator[dict[str, Any]]:
    """Yield the responses to several requests as those to one.

    The first exception of a request ends all of them.

    Args:
        requests: Responses to the requests.
        choices: Number of choices of each request; those of the second follow those of the first.

    Raises:
        ServiceError: A completion cannot be generated.
    """
    queue: asyncio.Queue[tuple[int, dict[str, Any] | Exception]] = asyncio.Queue(MAX_QUEUED)
    slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def forward(number: int, responses: Responses) -> None:
        try:
            async with slots, aclosing(responses):
                async for response in responses:
                    await queue.put((number, response))
        except Exception as error:
            await queue.put((number, error))

    tasks = [asyncio.create_task(forward(*item)) for item in enumerate(requests)]
    pending, prompt_tokens = len(tasks), 0
    try:
        while pending:
            number, response = await queue.get()
            if isinstance(response, Exception):
                raise response
            if "done" in response:
                pending -= 1
                prompt_tokens += response["prompt_tokens"]
            else:
                yield {**response, "index": number * choices + response["index"]}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    yield {"done": True, "prompt_tokens": prompt_tokens}
