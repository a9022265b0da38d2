"""Requests of `ftkit compare`: their cost, the confirmation, and the answers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftkit._text import money, plural
from ftkit.cli.output import (
    consent,
    print_fields,
    print_warning,
    print_warnings,
    progress_bar,
)
from ftkit.cli.terminal import preferences

if TYPE_CHECKING:
    from ftkit.catalog import Catalog
    from ftkit.compare.cost import RequestCost
    from ftkit.compare.recordings import Prompt, Recording
    from ftkit.compare.sides import Side


def confirm_requests(sides: Sequence[Side], catalog: Catalog, yes: bool) -> bool:
    """Print the requests with their estimated cost, and ask for confirmation."""
    from ftkit.compare.cost import request_cost

    total, notes = 0, []
    for name, side in zip("AB", sides, strict=True):
        if isinstance(side, list) or not side.missing:
            continue
        client = side.client
        limit = side.parameters.get("max_tokens")
        cost = request_cost(side.missing, side.model, client.name, catalog, limit)
        notes.append((name, f"{side.model} at {client.provider.title}: {_cost_text(cost)}"))
        total += cost.requests
    if not preferences.is_quiet:
        print_fields(notes, err=True)
    return not total or consent(f"Send {plural(total, 'request')}?", yes)


def _cost_text(cost: RequestCost) -> str:
    parts = [plural(cost.requests, "request")]
    if cost.input_tokens is not None:
        parts.append(f"about {plural(cost.input_tokens, 'input token')}")
    if cost.output_tokens is not None:
        parts.append(f"about {plural(cost.output_tokens, 'output token')}")
    usd = "cost unknown" if cost.usd is None else f"about {money(cost.usd)} ({cost.source})"
    return ", ".join([*parts, usd])


def collect_answers(
    side: Side, prompts: Sequence[Prompt], concurrency: int
) -> list[Recording | None]:
    """Return the answer to each prompt, or None. Missing answers are requested from the model."""
    from ftkit.compare.sides import answers_to

    if isinstance(side, list):
        return side
    total, done = len(side.missing), itertools.count(1)
    with progress_bar() as update:
        label = f"asking {side.model}"
        collected = side.collect(concurrency, lambda: update(label, next(done), total))
    print_warnings(
        [f"skipped the prompt on line {line}: {message}" for line, message in collected.refused],
        lambda more: f"skipped {plural(more, 'more prompt')}",
    )
    if cut := sum(map(_is_cut, collected.answers)):
        limit = plural(side.parameters["max_tokens"], "token")
        print_warning(
            f"{side.model}: {plural(cut, 'answer')} ended at the limit of {limit}; --max-tokens"
            " sets another one"
        )
    return answers_to(prompts, side, collected)


def _is_cut(recording: Recording | None) -> bool:
    """Return True if an answer has as many tokens as the request allowed."""
    limit = recording.parameters.get("max_tokens") if recording else None
    tokens = (recording.usage or {}).get("completion_tokens") if recording else None
    return isinstance(limit, int) and isinstance(tokens, int) and tokens >= limit > 0
