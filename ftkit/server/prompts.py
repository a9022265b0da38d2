"""Concurrent generation of completions for the prompts of one request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

MAX_CONCURRENT = 16
"""Maximum number of prompts of a request that are generated at a time."""

MAX_QUEUED = 64
"""Maximum number of responses that wait to be sent."""

Responses = AsyncGenerator[dict[str, Any], None]


async def generate_together(
    prompts: list[Responses], choices: int
) -> AsyncIterator[dict[str, Any]]:
    """Yield the responses for several prompts as if they were for one.

    The first exception ends the generation for all prompts.

    Args:
        prompts: Responses of the generation process for each prompt.
        choices: Number of choices of each prompt; those of the second follow those of the first.

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

    tasks = [asyncio.create_task(forward(*item)) for item in enumerate(prompts)]
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
