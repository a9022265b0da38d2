"""Estimated cost of asking a model for answers to prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import Struct

from ftkit.catalog import Catalog, Offer, Price, base_model, with_others
from ftkit.compare.recordings import Message, Prompt
from ftkit.compare.replies import text_of
from ftkit.tokens.encodings import OVERHEADS, token_counter

LENGTH_FACTOR, MIN_LIMIT = 4, 512
"""Automatic limit of an answer: factor of the longest reference, and minimum number of tokens.

A model that does not stop would otherwise answer until its context is full.
"""

MAX_LIMIT = 4096
"""Maximum automatic limit. A higher one is not sent, since some models refuse it."""


class RequestCost(Struct, frozen=True):
    """Estimated cost of the requests to a model. Unknown figures are None.

    Attributes:
        requests: Number of requests.
        input_tokens: Tokens of the prompts.
        output_tokens: Tokens of the answers, taken to be as long as the references or, without
            references, as long as allowed.
        usd: Cost in US dollars.
        source: Source of the prices with their month, or "".
    """

    requests: int
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    source: str


def request_cost(
    prompts: Sequence[Prompt],
    model: str,
    provider: str,
    catalog: Catalog,
    max_tokens: int | None = None,
) -> RequestCost:
    """Estimate the cost of a model's answers to prompts.

    Prompts with images or audio have no estimate.

    Args:
        prompts: The prompts to send.
        model: Name of the model, which may be fine-tuned.
        provider: Name of the provider, whose prices are used.
        catalog: Models with their encodings and prices.
        max_tokens: Maximum number of tokens of an answer.
    """
    facts = with_others(catalog, provider, [model]).models.get(base_model(model))
    if facts is None:
        return RequestCost(len(prompts), None, None, None, "")
    references = [prompt.reference for prompt in prompts]
    output_tokens = _output_tokens(references, facts.encoding, max_tokens)
    if any(_has_media(message) for prompt in prompts for message in prompt.messages):
        return RequestCost(len(prompts), None, output_tokens, None, "")
    input_tokens = _input_tokens(prompts, facts.encoding)
    offer = facts.providers.get(provider, Offer())
    is_tuned = model != base_model(model)
    prices = (offer.input, offer.output) if is_tuned else (offer.base_input, offer.base_output)
    usd, source = _price(input_tokens, output_tokens, *prices)
    return RequestCost(len(prompts), input_tokens, output_tokens, usd, source)


def answer_limit(
    prompts: Sequence[Prompt], model: str, provider: str, catalog: Catalog
) -> int | None:
    """Return the maximum number of tokens of an answer, by the longest reference.

    Returns None if it would exceed `MAX_LIMIT`, a prompt has no reference, or the catalog does not
    have the model or says that it reasons before it answers.
    """
    facts = with_others(catalog, provider, [model]).models.get(base_model(model))
    references = [prompt.reference for prompt in prompts if prompt.reference is not None]
    if facts is None or facts.reasoning or len(references) < len(prompts) or not references:
        return None
    longest = max(token_counter(facts.encoding).count(list(map(_counted_text, references))))
    limit = max(LENGTH_FACTOR * longest, MIN_LIMIT)
    return limit if limit <= MAX_LIMIT else None


def _input_tokens(prompts: Sequence[Prompt], encoding: str) -> int:
    messages = [message for prompt in prompts for message in prompt.messages]
    options = [json.dumps(prompt.options) for prompt in prompts if prompt.options]
    counts = token_counter(encoding).count([*map(_counted_text, messages), *options])
    return len(messages) * OVERHEADS[encoding]["message"] + sum(counts)


def _output_tokens(
    references: Sequence[Message | None], encoding: str, max_tokens: int | None
) -> int | None:
    texts = [_counted_text(reference) for reference in references if reference is not None]
    if len(texts) < len(references):
        return None if max_tokens is None else max_tokens * len(references)
    counts = token_counter(encoding).count(texts)
    return sum(count if max_tokens is None else min(count, max_tokens) for count in counts)


def _counted_text(message: Message) -> str:
    """Return the text of a message followed by its tool calls as JSON."""
    calls = [message[name] for name in ("tool_calls", "function_call") if message.get(name)]
    return "".join([text_of(message), *map(json.dumps, calls)])


def _has_media(message: Message) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    kinds = (part.get("type") for part in parts if isinstance(part, dict))
    return any(kind not in ("text", "refusal") for kind in kinds)


def _price(
    input_tokens: int, output_tokens: int | None, input: Price | None, output: Price | None
) -> tuple[float | None, str]:
    """Return the cost in US dollars, or None, and the source of the prices."""
    if input is None or output is None or output_tokens is None:
        return None, ""
    if {input.per, output.per} != {"million tokens"}:
        return None, ""
    usd = (input_tokens * input.usd + output_tokens * output.usd) / 1e6
    return usd, f"{output.source}, {output.as_of}"
