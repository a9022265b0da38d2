"""Cost estimates as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ftkit._text import money, plural, printable, validate_command
from ftkit._version import __version__
from ftkit.estimation.estimate import BY_THE_HOUR, Estimate, ModelFreeEstimate
from ftkit.estimation.quote import Quote
from ftkit.estimation.usage import Usage
from ftkit.report.columns import table, wrap

STATISTICS = ("min", "mean", "median", "p5", "p10", "p90", "p95", "max")
"""Columns of the table of distributions."""

COLUMNS = (
    "model",
    "max tokens",
    "truncated",
    "epochs",
    "billed tokens",
    "cost",
    "trainable until",
    "served until",
    "days",
)
"""Columns of the table of models."""

EPOCHS_SOURCES = {
    "given": "as requested",
    "service": "the provider's default; set another number with --epochs",
    "rule": "the default rule; set another number with --epochs",
}
"""Sources of the number of epochs."""

TRAINED = {
    "chat": "assistant messages, except those of weight 0",
    "completions": "the completions",
    "preference": "the preferred and the non-preferred answers",
}
"""Parts of an example that are trained, by format. Others are trained on answers of the model."""


def render_estimate_text(quote: Quote, width: int | None = None) -> str:
    """Render an estimate as text with ANSI colours.

    Args:
        quote: The estimate.
        width: Width of the terminal, or None for an unlimited width.
    """
    parts = [_heading(quote), _tokens(quote, width), _distributions(quote, width)]
    parts.append(_validation(quote))
    if quote.without_model:
        parts.append(_without_model(quote.without_model, width))
    elif len(quote.models) == 1:
        parts.append(_model(quote.models[0], width))
    else:
        rows = [COLUMNS, *map(_row, quote.models)]
        parts += [table(rows, width=width), _notes(quote.models, width)]
    parts += [_usage(name, usage) for name, usage in quote.usage.items()]
    return "\n".join(part for part in parts if part)


def _heading(quote: Quote) -> str:
    title = click.style(printable(quote.file), bold=True)
    facts = click.style(f"{quote.format} · {plural(quote.examples, 'example')}", dim=True)
    heading = f"{title}  {facts}\n"
    if quote.skipped:
        heading += _warning(quote, f"skipped {plural(quote.skipped, 'invalid line')}")
    if quote.extra_keys:
        examples = plural(quote.extra_keys, "example")
        heading += _warning(
            quote, f"{examples} with keys that the provider refuses, counted without them"
        )
    return heading


def _warning(quote: Quote, text: str) -> str:
    label = click.style("warning", fg="yellow")
    return f"{label}: {text}; run {printable(validate_command(quote.file))} for details\n"


def _tokens(quote: Quote, width: int | None) -> str:
    first = quote.without_model or quote.models[0]
    rows = [("tokens", f"{quote.tokens:,}", f"per epoch, in {first.encoding}")]
    if quote.format in TRAINED:
        context = f"{quote.tokens - quote.trained:,}"
        rows.append(("trained", f"{quote.trained:,}", TRAINED[quote.format]))
        rows.append(("context", context, "all other tokens; they are billed too"))
    if isinstance(first, Estimate):
        rows.append(("truncated", f"{first.cut_tokens:,}", _truncation(first)))
    text = _figures(rows, width)
    if quote.format != "completions":
        text += (
            f"  examples without a system message: {quote.without_system:,}; "
            f"without a user message: {quote.without_user:,}\n"
        )
    return text


def _truncation(estimate: Estimate) -> str:
    limit = f"{estimate.tokens_per_example:,} tokens"
    if not estimate.cut_tokens:
        return f"no example is longer than {limit}"
    text = f"{plural(estimate.cut_examples, 'example')} longer than {limit}"
    if estimate.cut_trained_examples:
        text += f"; trained tokens are lost in {estimate.cut_trained_examples:,} of them"
    return text


def _figures(rows: Sequence[tuple[str, str, str]], width: int | None) -> str:
    """Align names, values and explanations in three columns."""
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    indent = " " * (names + values + 6)
    return "".join(
        wrap(explanation, f"  {name:<{names}}  {value:>{values}}  ", indent, width, dim=True)
        for name, value, explanation in rows
    )


def _distributions(quote: Quote, width: int | None) -> str:
    rows: list[tuple[str, ...]] = [("per example", *STATISTICS)]
    for name, distribution in quote.distributions.items():
        if not distribution.max:
            continue  # completions have no messages, and reinforcement examples no trained tokens
        values = (_number(getattr(distribution, statistic)) for statistic in STATISTICS)
        rows.append((name.replace("_", " "), *values))
    return table(rows, width=width)


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _validation(quote: Quote) -> str:
    validation = quote.validation
    if validation is None:
        return ""
    examples, tokens = plural(validation.examples, "example"), plural(validation.tokens, "token")
    billed = "billed like training tokens" if validation.billed else "not billed"
    return f"  validation file {printable(validation.file)}: {examples}, {tokens}, {billed}\n"


def _model(estimate: Estimate, width: int | None) -> str:
    tokens = f"tokens: {estimate.epochs} x {estimate.tokens_per_epoch:,}{_condition(estimate)}"
    rows = [
        ("epochs", f"{estimate.epochs}", EPOCHS_SOURCES[estimate.epochs_source]),
        ("billed", f"{estimate.billed_tokens:,}", tokens),
        ("cost", _cost(estimate), _price(estimate)),
        ("trainable", "yes" if estimate.trainable else "no", _dates(estimate)),
    ]
    heading = f"{click.style(estimate.model, bold=True)} at {estimate.provider}\n"
    return heading + _figures(rows, width) + _exactness(estimate, width)


def _without_model(estimate: ModelFreeEstimate, width: int | None) -> str:
    """Return the figures that do not depend on a model, and the cost at any price."""
    billed, condition = estimate.billed_tokens, _condition(estimate)
    tokens = f"tokens: {estimate.epochs} x {estimate.tokens_per_epoch:,}{condition}"
    at_one = f"{money(billed / 1e6)} for each dollar per million tokens{condition}"
    price = f"{at_one}; set your price with --price"
    if estimate.cost:
        own = money(estimate.cost.price_per_million)
        price = f"{own} per million tokens (your own price){condition}"
    rows = [
        ("epochs", f"{estimate.epochs}", EPOCHS_SOURCES[estimate.epochs_source]),
        ("billed", f"{billed:,}", tokens),
        ("cost", money(estimate.cost.usd) if estimate.cost else "unknown", price),
        ("trainable", "no", estimate.note),
    ]
    notes = "".join(wrap(reason, "    ", "    ", width) for reason in estimate.approximations)
    return _figures(rows, width) + notes


def _cost(estimate: Estimate) -> str:
    return money(estimate.cost.usd) if estimate.cost else "unknown"


def _price(estimate: Estimate) -> str:
    cost = estimate.cost
    if cost is None:
        return estimate.cost_note
    price = f"{money(cost.price_per_million)} per million tokens ({cost.source}, {cost.as_of})"
    return price + _condition(estimate)


def _condition(estimate: Estimate | ModelFreeEstimate) -> str:
    """Return the condition of billed tokens and their cost, if training is billed by the hour."""
    return ", if billed by the token" if BY_THE_HOUR in estimate.approximations else ""


def _dates(estimate: Estimate) -> str:
    if not estimate.trainable:
        return estimate.trainable_note
    until = f"until {estimate.trainable_until}" if estimate.trainable_until else "no end date"
    if estimate.served_days is None:
        return until
    days = plural(estimate.served_days, "day")
    return f"{until}; a model trained today is served for {days}, until {estimate.served_until}"


def _exactness(estimate: Estimate, width: int | None) -> str:
    if estimate.exact:
        label = click.style("exact", fg="green")
        return f"  {label}: plain text messages, counted by the formula that real bills confirm\n"
    label = click.style("approximate", fg="yellow")
    reasons = "".join(wrap(reason, "    ", "    ", width) for reason in estimate.approximations)
    return f"  {label}: the provider does not publish how it counts these tokens\n{reasons}"


def _row(estimate: Estimate) -> tuple[str, ...]:
    return (
        estimate.model,
        f"{estimate.tokens_per_example:,}",
        f"{estimate.cut_examples:,}",
        f"{estimate.epochs}",
        f"{'' if estimate.exact else '~'}{estimate.billed_tokens:,}",
        _cost(estimate),
        f"{estimate.trainable_until or '-'}" if estimate.trainable else "no",
        f"{estimate.served_until or '-'}",
        "-" if estimate.served_days is None else f"{estimate.served_days}",
    )


def _notes(estimates: Sequence[Estimate], width: int | None) -> str:
    """Return the notes as lines, with one on the column of days."""
    notes = price_notes(estimates)
    if any(estimate.served_days is not None for estimate in estimates):
        notes.append("days: how long a model trained today is served")
    return "".join(wrap(note, "  ", "    ", width, dim=True) for note in notes)


def price_notes(estimates: Sequence[Estimate]) -> list[str]:
    """Return the distinct notes on prices, models that cannot be trained, and approximations."""
    priced = [estimate.cost for estimate in estimates if estimate.cost]
    notes = [f"prices: {cost.source}, {cost.as_of}" for cost in priced]
    notes += [estimate.cost_note for estimate in estimates if not estimate.cost]
    notes += [estimate.trainable_note for estimate in estimates]
    notes += [f"~ {reason}" for estimate in estimates for reason in estimate.approximations]
    return list(filter(None, dict.fromkeys(notes)))


def _usage(model: str, usage: Usage) -> str:
    longer = ""
    if usage.base_prompt_tokens:
        longer = f" and {plural(usage.base_prompt_tokens, 'more prompt token')}"
    return (
        f"{click.style(model, bold=True)} in use: {plural(usage.requests, 'request')} per month, "
        f"each with about {usage.prompt_tokens:,.0f} prompt tokens "
        f"and {usage.answer_tokens:,.0f} completion tokens\n"
        f"  {money(usage.tuned_usd)} per month fine-tuned, "
        f"{money(usage.base_usd)} with the base model{longer}; {_break_even(usage)}\n"
        f"  {click.style(f'prices: {usage.source}, {usage.as_of}', dim=True)}\n"
    )


def _break_even(usage: Usage) -> str:
    if usage.break_even_requests is not None:
        return f"training pays for itself after {plural(usage.break_even_requests, 'request')}"
    if usage.base_usd <= usage.tuned_usd:
        return "requests are not cheaper, so training never pays for itself"
    return "the price of training is unknown"


def render_estimate_json(quote: Quote) -> str:
    """Render an estimate as JSON; see `docs/output.md` for the keys."""
    values: dict[str, Any] = msgspec.to_builtins(quote)
    return json.dumps({"ftkit": __version__, **values}, indent=2, ensure_ascii=False) + "\n"
