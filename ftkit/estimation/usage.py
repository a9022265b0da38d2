"""The monthly cost of using a fine-tuned model, compared with its base model."""

from __future__ import annotations

import math

from msgspec import Struct

from ftkit.catalog import DEFAULT_PROVIDER, Catalog, Offer, find_model, load_catalog
from ftkit.estimation.estimate import Cost
from ftkit.estimation.measure import method_name
from ftkit.summary import Summary
from ftkit.tokens.encodings import OVERHEADS, token_counter
from ftkit.tokens.stats import total


class Usage(Struct, frozen=True):
    """The monthly cost of a fine-tuned model and of its base model, in US dollars.

    `prompt_tokens` and `answer_tokens` are means over the examples. `break_even_requests` is the
    number of requests after which training has paid for itself, or None if it never does.
    """

    requests: int
    prompt_tokens: float
    answer_tokens: float
    base_prompt_tokens: int
    tuned_usd: float
    base_usd: float
    break_even_requests: int | None
    source: str
    as_of: str


def usage(
    summary: Summary,
    model: str,
    requests: int,
    training: Cost | None,
    base_prompt: str = "",
    *,
    provider: str = DEFAULT_PROVIDER,
    catalog: Catalog | None = None,
) -> Usage | None:
    """Return the cost of requests like the examples of a file.

    Args:
        summary: The summary of a file that was measured for the model.
        model: Exact name of the model.
        requests: Requests per month.
        training: The cost of training, for the break-even point.
        base_prompt: Instructions that the base model needs in each request and that the
            fine-tuned model does not.
        provider: The provider whose prices apply.
        catalog: Models and prices; those that come with ftkit if None.

    Returns:
        The cost, or None if not all prices are published.
    """
    facts = find_model(model, catalog or load_catalog())
    offer, stats = facts.providers.get(provider, Offer()), summary.stats[method_name(facts)]
    if not (offer.input and offer.output and offer.base_input and offer.base_output):
        return None
    sequences = sum(stats.lengths.values())
    answer = stats.answers / sequences
    overheads = OVERHEADS[facts.encoding]
    overhead = overheads["example"] + overheads["message"] - overheads["priming"]
    prompt = total(stats.lengths) / sequences - answer - overhead
    base_prompt_tokens = token_counter(facts.encoding).count([base_prompt])[0]
    tuned = (prompt * offer.input.usd + answer * offer.output.usd) / 1e6
    base = (
        (prompt + base_prompt_tokens) * offer.base_input.usd + answer * offer.base_output.usd
    ) / 1e6
    pays_off = training is not None and base > tuned
    return Usage(
        requests=requests,
        prompt_tokens=prompt,
        answer_tokens=answer,
        base_prompt_tokens=base_prompt_tokens,
        tuned_usd=round(requests * tuned, 6),
        base_usd=round(requests * base, 6),
        break_even_requests=math.ceil(training.usd / (base - tuned))
        if pays_off and training
        else None,
        source=offer.input.source,
        as_of=offer.input.as_of,
    )
