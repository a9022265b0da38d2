"""The estimated cost of a comparison."""

from __future__ import annotations

import json

import pytest

from ftkit.catalog import load_catalog
from ftkit.compare.cost import answer_limit, request_cost
from ftkit.compare.recordings import (
    Prompt,
)
from support.models import MINI
from support.recordings import TUNED, assistant_message, tool_call_message


def test_the_cost_is_that_of_the_prompts_and_of_answers_as_long_as_the_references() -> None:
    catalog = load_catalog()
    prompts = [
        Prompt(1, [{"role": "user", "content": "Hello world"}], {}, assistant_message("Hi"), {})
    ] * 1000
    cost = request_cost(prompts, TUNED, "openai", catalog)
    assert (cost.requests, cost.input_tokens, cost.output_tokens) == (
        1000,
        1000 * (3 + 1 + 2),
        1000,
    )
    offer = catalog.models[MINI].providers["openai"]
    assert offer.input
    assert offer.output
    assert cost.usd == pytest.approx((6000 * offer.input.usd + 1000 * offer.output.usd) / 1e6)
    bare = [Prompt(1, [{"role": "user", "content": "Hello world"}], {}, None, {})]
    assert request_cost(bare, TUNED, "openai", catalog).usd is None
    assert request_cost(bare, TUNED, "openai", catalog, 50).output_tokens == 50
    assert request_cost(bare, "nobody-knows", "openai", catalog).input_tokens is None
    assert request_cost(bare, TUNED, "crusoe", catalog, 50).usd is None


def test_the_cost_counts_tools_and_calls_and_is_not_told_for_images() -> None:
    catalog, user = load_catalog(), {"role": "user", "content": "Hello world"}
    tools = [{"type": "function", "function": {"name": "f", "description": "word " * 500}}]
    plain = request_cost(
        [Prompt(1, [user], {}, assistant_message("Hi"), {})], TUNED, "openai", catalog
    )
    calls = tool_call_message(("f", json.dumps({"text": "word " * 300})))
    cost = request_cost(
        [Prompt(1, [user, calls, user], {"tools": tools}, calls, {})], TUNED, "openai", catalog
    )
    assert plain.input_tokens
    assert cost.input_tokens
    assert cost.output_tokens
    assert cost.input_tokens > plain.input_tokens + 500 + 300
    assert cost.output_tokens > 300
    image = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
    }
    seen = request_cost(
        [Prompt(1, [image], {}, assistant_message("Hi"), {})], TUNED, "openai", catalog
    )
    assert (seen.input_tokens, seen.usd) == (None, None)


def test_an_answer_is_limited_to_a_multiple_of_the_longest_reference() -> None:
    catalog = load_catalog()

    def limit(model: str, *lengths: int | None, provider: str = "openai") -> int | None:
        prompts = [
            Prompt(1, [], {}, None if length is None else assistant_message("word " * length), {})
            for length in lengths
        ]
        return answer_limit(prompts, model, provider, catalog)

    assert limit(TUNED, 10, 20) == limit(MINI, 1) == 512
    assert limit(TUNED, 10, 999) == 4 * 1000  # the last space is a token
    assert limit("Qwen/Qwen3-0.6B", 999, provider="local") == 4 * 1000
    assert limit(TUNED, 1100) is None
    assert limit(TUNED, 10, None) is None
    assert limit("nobody-knows", 10) is None
    assert limit("o4-mini-2025-04-16", 10) is None
