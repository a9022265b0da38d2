"""The estimate for people, and as one JSON object with stable keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ftkit._text import money, printable
from ftkit._version import __version__
from ftkit.estimation.estimate import Estimate
from ftkit.estimation.quote import Quote
from ftkit.estimation.usage import Usage
from ftkit.report.columns import table

STATISTICS = ("min", "mean", "median", "p5", "p10", "p90", "p95", "max")


CHOSEN = {
    "given": "as given",
    "service": "as the service chooses; --epochs sets another number",
    "rule": "by the published rule; --epochs sets another number",
}
"""Who has chosen the epochs."""


def render_estimate_text(quote: Quote) -> str:
    """The estimate with ANSI colours, which the caller strips where they are not wanted."""
    parts = [_heading(quote), _ledger(quote), _distributions(quote), _validation(quote)]
    parts += (
        [_model(quote.models[0])]
        if len(quote.models) == 1
        else [_comparison(quote.models), _reasons(quote.models)]
    )
    parts += [_usage(name, used) for name, used in quote.usage.items()]
    return "\n".join(part for part in parts if part)


def _heading(quote: Quote) -> str:
    title = click.style(printable(quote.file), bold=True)
    skipped = ""
    if quote.skipped:
        told = f"left out {quote.skipped:,} line{'s' * (quote.skipped != 1)} that no example could be read from"
        skipped = f"{click.style('warning', fg='yellow')}: {told}; `ftkit validate` says why\n"
    return f"{title}  {click.style(f'{quote.format} · {quote.examples:,} examples', dim=True)}\n{skipped}"


def _ledger(quote: Quote) -> str:
    first = quote.models[0]
    where = f"no example is longer than {first.tokens_per_example:,} tokens"
    if first.cut_tokens:
        where = f"beyond {first.tokens_per_example:,} tokens in {first.cut_examples:,} examples"
        where += (
            f"; {first.cut_trained_examples:,} of them lose trained tokens"
            if first.cut_trained_examples
            else ""
        )
    rows = [
        ("tokens", f"{quote.tokens:,}", f"in {first.encoding}, each epoch"),
        ("trained", f"{quote.trained:,}", "what the assistant says, unless its weight is 0"),
        ("context only", f"{quote.tokens - quote.trained:,}", "all the rest; it is billed too"),
        ("cut away", f"{first.cut_tokens:,}", where),
    ]
    width = max(len(number) for _, number, _ in rows)
    lines = [
        f"  {name:<12}  {number:>{width}}  {click.style(what, dim=True)}\n"
        for name, number, what in rows
    ]
    if quote.format != "completions":
        system, user = f"{quote.without_system:,}", f"{quote.without_user:,}"
        lines.append(
            f"  examples without a system message: {system}; without a user message: {user}\n"
        )
    return "".join(lines)


def _distributions(quote: Quote) -> str:
    rows: list[tuple[str, ...]] = [("each example", *STATISTICS)]
    for name, told in quote.distributions.items():
        numbers = msgspec.structs.asdict(told)
        rows.append(
            (name.replace("_", " "), *(_number(numbers[statistic]) for statistic in STATISTICS))
        )
    return table(rows)


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _validation(quote: Quote) -> str:
    if quote.validation is None:
        return ""
    told = quote.validation
    billed = "billed like training" if told.billed else "not billed"
    return f"  validation file {printable(told.file)}: {told.examples:,} examples, {told.tokens:,} tokens, {billed}\n"


def _model(each: Estimate) -> str:
    chosen = CHOSEN[each.epochs_source]
    rows = [
        ("epochs", f"{each.epochs}", chosen),
        ("billed", f"{each.billed_tokens:,}", f"tokens: {each.epochs} x {each.tokens_per_epoch:,}"),
        ("cost", money(each.cost.usd) if each.cost else "unknown", _price(each)),
        ("trained", "today" if each.trainable else "no", _dates(each)),
    ]
    width = max(len(value) for _, value, _ in rows)
    lines = [
        f"  {name:<8}  {value:>{width}}  {click.style(what, dim=True)}\n"
        for name, value, what in rows
    ]
    return f"{click.style(each.model, bold=True)} at {each.provider}\n{''.join(lines)}{_exactness(each)}"


def _price(each: Estimate) -> str:
    if each.cost is None:
        return each.cost_note
    return f"at {money(each.cost.price_per_million)} per million tokens ({each.cost.source}, {each.cost.as_of})"


def _dates(each: Estimate) -> str:
    if not each.trainable:
        return each.trainable_note
    until = f"until {each.trainable_until}" if each.trainable_until else "no end is announced"
    if each.served_days is None:
        return until
    return f"{until}; a model trained here today is served for {each.served_days} days, until {each.served_until}"


def _exactness(each: Estimate) -> str:
    if each.exact:
        return f"  {click.style('exact', fg='green')}: messages of a role and a text, counted as real jobs were billed\n"
    reasons = "".join(f"    {reason}\n" for reason in each.approximations)
    return f"  {click.style('approximate', fg='yellow')}: how the service writes this out is not published\n{reasons}"


def _comparison(models: Sequence[Estimate]) -> str:
    head = (
        "model",
        "limit",
        "cut",
        "epochs",
        "billed tokens",
        "cost",
        "trained until",
        "served until",
        "days",
    )
    return table([head, *map(_compared, models)])


def _compared(each: Estimate) -> tuple[str, ...]:
    return (
        each.model,
        f"{each.tokens_per_example:,}",
        f"{each.cut_examples:,}",
        f"{each.epochs}",
        f"{'' if each.exact else '~'}{each.billed_tokens:,}",
        money(each.cost.usd) if each.cost else "unknown",
        f"{each.trainable_until or '-'}" if each.trainable else "no",
        f"{each.served_until or '-'}",
        "-" if each.served_days is None else f"{each.served_days}",
    )


def _reasons(models: Sequence[Estimate]) -> str:
    """Notes below the table, each once: sources of prices, what cannot be trained, and why a number is approximate."""
    prices = {f"{_price(each)}": None for each in models if each.cost is None}
    sources = {
        f"prices: {each.cost.source}, {each.cost.as_of}": None for each in models if each.cost
    }
    obstacles = {each.trainable_note: None for each in models}
    reasons = {f"~ {reason}": None for each in models for reason in each.approximations}
    days = (
        "days: for how long a model trained today is served"
        if any(each.served_days is not None for each in models)
        else ""
    )
    return "".join(
        f"  {click.style(note, dim=True)}\n"
        for note in (*sources, *prices, *obstacles, *reasons, days)
        if note
    )


def _usage(model: str, used: Usage) -> str:
    saved = used.base_usd - used.tuned_usd
    base = f"${used.base_usd:,.2f} with the model as it is"
    longer = (
        f" and a prompt of {used.base_prompt_tokens:,} tokens more"
        if used.base_prompt_tokens
        else ""
    )
    if used.break_even_requests is not None:
        end = f"training has paid for itself after {used.break_even_requests:,} requests"
    else:
        end = (
            "it does not pay for its training by cheaper requests"
            if saved <= 0
            else "its training is not priced"
        )
    return (
        f"{click.style(model, bold=True)} in use: {used.requests:,} requests a month of about {used.prompt_tokens:,.0f} tokens, "
        f"answered with {used.answer_tokens:,.0f}\n"
        f"  ${used.tuned_usd:,.2f} a month fine-tuned, {base}{longer}; {end}\n"
        f"  {click.style(f'prices: {used.source}, {used.as_of}', dim=True)}\n"
    )


def render_estimate_json(quote: Quote) -> str:
    """See `docs/output.md` for the keys."""
    told: dict[str, Any] = msgspec.to_builtins(quote)
    return json.dumps({"ftkit": __version__, **told}, indent=2, ensure_ascii=False) + "\n"
