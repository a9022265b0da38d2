"""What asking a model costs, as far as it can be told before."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import Struct

from ftkit.catalog import Catalog, Offer, Price, base_model, with_others
from ftkit.compare.recordings import Message, Prompt
from ftkit.compare.replies import text_of
from ftkit.tokens.encodings import OVERHEADS, token_counter


class Bill(Struct, frozen=True):
    """What is to be sent, and its price: about, since answers are not known before. Fields are None where nobody knows.

    `output_tokens` is as many as the references have, or as `most_tokens` allows; `source` is that of the price, with its month.
    """

    requests: int
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    source: str


def bill(
    prompts: Sequence[Prompt],
    model: str,
    provider: str,
    catalog: Catalog,
    most_tokens: int | None = None,
) -> Bill:
    """What it costs to have the model answer the prompts; not told where they hold images or sound, which are not counted here."""
    facts = with_others(catalog, provider, [model]).models.get(base_model(model))
    if facts is None:
        return Bill(len(prompts), None, None, None, "")
    counts = token_counter(facts.encoding)
    given = [message for prompt in prompts for message in prompt.messages]
    asked = [json.dumps(prompt.options) for prompt in prompts if prompt.options]
    taken = len(given) * OVERHEADS[facts.encoding]["message"] + sum(
        counts.count([*map(_said, given), *asked])
    )
    made = _output([prompt.reference for prompt in prompts], facts.encoding, most_tokens)
    offer = facts.providers.get(provider, Offer())
    tuned = model != base_model(model)
    prices = (offer.input, offer.output) if tuned else (offer.base_input, offer.base_output)
    if any(map(_has_more_than_text, given)):
        return Bill(len(prompts), None, made, None, "")
    return Bill(len(prompts), taken, made, *_price(taken, made, *prices))


def _said(message: Message) -> str:
    """The text of a message, and the calls that it makes."""
    calls = [message[name] for name in ("tool_calls", "function_call") if message.get(name)]
    return "".join([text_of(message), *map(json.dumps, calls)])


def _has_more_than_text(message: Message) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return any(
        isinstance(part, dict) and part.get("type") not in ("text", "refusal") for part in parts
    )


def _output(references: Sequence[Message | None], encoding: str, most: int | None) -> int | None:
    """The tokens of the answers, if they are as long as the references."""
    known = [_said(reference) for reference in references if reference is not None]
    if len(known) < len(references):
        return None if most is None else most * len(references)
    counts = token_counter(encoding).count(known)
    return sum(count if most is None else min(count, most) for count in counts)


def _price(
    taken: int, made: int | None, input: Price | None, output: Price | None
) -> tuple[float | None, str]:
    if (
        input is None
        or output is None
        or made is None
        or {input.per, output.per} != {"million tokens"}
    ):
        return None, ""
    return (taken * input.usd + made * output.usd) / 1e6, f"{output.source}, {output.as_of}"
