"""What training on a file costs: tokens, epochs, and money with the source of its price.

    billed tokens = epochs x the sum over the examples of min(tokens(example), the model's limit)

See `tokens.PER_MESSAGE` for tokens(example). `measure` scans a file once, for any number of models; `estimate` is arithmetic on
the summary that it gives.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ftkit.catalog import (
    DEFAULT_PROVIDER,
    Catalog,
    Model,
    Offer,
    Price,
    find_limits,
    find_model,
    find_provider,
    load_catalog,
)
from ftkit.dataset.detect import Head
from ftkit.dataset.formats import METHODS
from ftkit.errors import FileError, UsageError
from ftkit.rules import RULES, ScanPlan
from ftkit.summary import Summary
from ftkit.tokens.counting import APPROXIMATIONS
from ftkit.tokens.encodings import OVERHEADS, PER_EXAMPLE, counter
from ftkit.tokens.stats import TokenStats, above, total
from ftkit.tokens.tally import Metered
from ftkit.validation.pool import Progress, scanning
from ftkit.validation.runner import finding
from ftkit.dataset.reader import check_readable as must_be_readable, read_head, split
from ftkit.validation.scan import Map, choose_format, summarize

EpochsSource = Literal["given", "service", "rule"]
Counting = Literal["billing", "notebook"]

TARGET_EPOCHS, MIN_TARGET, MAX_TARGET, MAX_EPOCHS = 3, 100, 25_000, 25
"""Epochs are 3, unless that is fewer than 100 examples in all or more than 25,000; then as many as that, from 1 to 25.

Source: the notebook Data preparation and analysis for chat model fine-tuning in OpenAI's cookbook. Every job that was seen to
choose its epochs itself agrees with it.
"""

NOTEBOOK_LIMIT, NOTEBOOK_PER_EXAMPLE = 4_096, 3
NOTEBOOK_MORE = NOTEBOOK_PER_EXAMPLE - PER_EXAMPLE
NOTEBOOK = Metered("notebook", "cl100k_base", (NOTEBOOK_LIMIT - NOTEBOOK_MORE,))
"""The way the notebook counts: always in cl100k_base, cut at 4,096 tokens, and with 3 tokens an example instead of 1.

These give the figures that it is published with: 4,306 tokens, 20 epochs and 86,120 for its toy file.
"""

CANNOT_TAKE = frozenset(
    rule.name
    for rule in RULES.values()
    if rule.severity == "error" and {"reading", "shape"} & rule.checks.keys()
)


class Measured(Struct, frozen=True):
    """A file and the tokens in it."""

    file: str
    format: str
    summary: Summary

    @property
    def skipped(self) -> int:
        """The lines that were left out, since no example could be read from them."""
        counted = next((ledger.examples for ledger in self.summary.ledgers.values()), 0)
        return max(self.summary.lines - self.summary.blank.count - counted, 0)


class Cost(Struct, frozen=True):
    """What training costs in US dollars, and the price that this was computed from."""

    usd: float
    price_per_million: float
    source: str
    as_of: str


class Estimate(Struct, frozen=True):
    """What training one model on a file takes.

    Tokens are those of one epoch, after the cut at `tokens_per_example`, but for `billed_tokens`, which are those of all. `cost`
    is None where no price a token is known; `cost_note` says why. `trainable_note` says why it cannot be trained. Dates are None
    where none is published.
    """

    model: str
    provider: str
    encoding: str
    tokens_per_example: int
    examples: int
    epochs: int
    epochs_source: EpochsSource
    tokens_per_epoch: int
    billed_tokens: int
    trained_tokens_per_epoch: int
    cut_examples: int
    cut_tokens: int
    cut_trained_examples: int
    exact: bool
    approximations: tuple[str, ...]
    cost: Cost | None
    cost_note: str
    trainable: bool
    trainable_note: str
    trainable_until: datetime.date | None
    served_until: datetime.date | None
    served_days: int | None


class Usage(Struct, frozen=True):
    """What using the model costs each month, against the model that it was made from, in US dollars.

    `prompt_tokens` and `answer_tokens` are means over the examples; `break_even_requests` is the number of requests after which
    training has paid for itself, None where it never does.
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


def auto_epochs(examples: int) -> int:
    """The epochs that a service chooses for so many examples; see `TARGET_EPOCHS`."""
    if examples * TARGET_EPOCHS < MIN_TARGET:
        return min(MAX_EPOCHS, MIN_TARGET // examples)
    if examples * TARGET_EPOCHS > MAX_TARGET:
        return max(1, MAX_TARGET // examples)
    return TARGET_EPOCHS


def meters(models: Sequence[str], provider: str, catalog: Catalog) -> tuple[Metered, ...]:
    """The ways to count that these models need, each once, cut at the limits of them all; and the notebook's."""
    found: dict[str, Metered] = {}
    for name in models:
        model = find_model(name, catalog)
        known = found.get(
            meter_name(model),
            Metered(meter_name(model), model.encoding, (), catalog.images.get(model.images)),
        )
        limits = {*known.limits, find_limits(provider, name, catalog).tokens}
        found[known.name] = msgspec.structs.replace(known, limits=tuple(sorted(limits)))
    return tuple(found.values())


def meter_name(model: Model) -> str:
    """The name of the ledger that a model's tokens are in."""
    return f"{model.encoding} {model.images}".rstrip()


def measure(
    file: str | os.PathLike[str],
    models: Sequence[str],
    *,
    provider: str = DEFAULT_PROVIDER,
    format: str | None = None,
    counting: Counting = "billing",
    catalog: Catalog | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Count the tokens of a file for these models, in one scan.

    Raises `FileError` where the file cannot be read or is none that is trained on, `UnknownNameError` for a name that nobody knows.
    """
    known = catalog or load_catalog()
    asked = meters(models, provider, known) if counting == "billing" else (NOTEBOOK,)
    path = os.fspath(file)
    must_be_readable(path)
    plan = ScanPlan(
        find_limits(provider, None, known),
        asked=(format,) if format else (),
        rules=CANNOT_TAKE,
        meters=asked,
        judges=False,
    )
    with scanning(workers, [Path(path)], progress) as map_:
        return _measure(path, plan, map_)


def _measure(path: str, plan: ScanPlan, map_: Map) -> Measured:
    head = read_head(path)
    plan = msgspec.structs.replace(plan, format=format_of(head, next(iter(plan.asked), None)))
    for rule in RULES.values():
        for hit in rule.checks["file"](head, plan) if "file" in rule.checks else ():
            raise FileError(f"{path}: {finding(rule, hit, 0).message}; see `ftkit validate`")
    return Measured(path, plan.format, summarize(split(path), plan, map_))


def format_of(head: Head, asked: str | None) -> str:
    """The format to read a file as; raises `UsageError` if it has another than was asked for."""
    found = choose_format(head, (asked,) if asked else ())
    if asked not in (None, found):
        raise UsageError(
            f"{head.name} is in the {found} format and cannot be read as {asked}; name its own format, or none"
        )
    return found


def candidates(format: str, provider: str, today: datetime.date, catalog: Catalog) -> list[str]:
    """The models that can be trained on the format at the provider today."""
    offered = {
        name: model.providers.get(provider)
        for name, model in catalog.models.items()
        if format in model.formats
    }
    return [
        name
        for name, offer in offered.items()
        if offer and not _obstacle(name, offer, provider, format, today, catalog)
    ]


def _obstacle(
    model: str, offer: Offer, provider: str, format: str, today: datetime.date, catalog: Catalog
) -> str:
    """Why the model cannot be trained on files of the format at the provider today; empty if it can."""
    ends, title = offer.trainable_until, find_provider(provider, catalog).title
    if ends and ends.date < today:
        return f"{model} can no longer be trained at {title}, since {ends.date}"
    if offer.methods and METHODS[format] not in offer.methods:
        known = f"{model} is known to be trained at {title} by {' and '.join(offer.methods)} only"
        return f"{known}; {format} files need {METHODS[format]}"
    return ""


def estimate(
    summary: Summary,
    model: str,
    *,
    provider: str = DEFAULT_PROVIDER,
    format: str = "chat",
    epochs: int | None = None,
    price: float | None = None,
    counting: Counting = "billing",
    today: datetime.date | None = None,
    catalog: Catalog | None = None,
) -> Estimate:
    """What training the model on a measured file takes.

    Args:
        summary: The summary of a file that was measured for this model.
        epochs: How often each example is trained on; by the published rule if None.
        price: US dollars for a million trained tokens, instead of the published price.
        counting: `billing` for the bill, `notebook` for the figures of the widely copied notebook.

    Raises:
        UnknownNameError: A model or provider that nobody knows.
        UsageError: The provider does not offer the model, the model does not train on the format, or there is no example.
    """
    known, day = catalog or load_catalog(), today or datetime.date.today()
    facts, service = find_model(model, known), find_provider(provider, known)
    offer = _offer(model, facts, provider, service.title)
    if format not in facts.formats:
        raise UsageError(
            f"{model} trains on {' and '.join(facts.formats)} files, and this is a {format} file"
        )
    ledger = ledger_of(summary, model, counting, known)
    limit = find_limits(provider, model, known).tokens if counting == "billing" else NOTEBOOK_LIMIT
    if not ledger.examples:
        raise UsageError("no example could be read; `ftkit validate` says why")
    rounds, chosen_by = _epochs(epochs, offer, ledger.examples)
    tokens, lost = total(ledger.lengths, limit), ledger.trained_cut.get(limit)
    cut = above(ledger.lengths, limit)
    approximations = _approximations(ledger, cut, counting, offer, facts)
    obstacle = _obstacle(model, offer, provider, format, day, known)
    cost, note = _cost(rounds * tokens, offer, price, day, service.title)
    served = offer.served_until.date if offer.served_until else None
    return Estimate(
        model=model,
        provider=provider,
        encoding=facts.encoding if counting == "billing" else NOTEBOOK.encoding,
        tokens_per_example=limit,
        examples=ledger.examples,
        epochs=rounds,
        epochs_source=chosen_by,
        tokens_per_epoch=tokens,
        billed_tokens=rounds * tokens,
        trained_tokens_per_epoch=total(ledger.trained) - (lost.tokens if lost else 0),
        cut_examples=cut,
        cut_tokens=total(ledger.lengths) - tokens,
        cut_trained_examples=lost.examples if lost else 0,
        exact=not approximations,
        approximations=approximations,
        cost=cost,
        cost_note=note,
        trainable=not obstacle,
        trainable_note=obstacle,
        trainable_until=offer.trainable_until.date if offer.trainable_until else None,
        served_until=served,
        served_days=max((served - day).days, 0) if served else None,
    )


def _epochs(given: int | None, offer: Offer, examples: int) -> tuple[int, EpochsSource]:
    """How many epochs a job has, and who says so."""
    if given:
        return given, "given"
    return (offer.epochs.value, "service") if offer.epochs else (auto_epochs(examples), "rule")


def _offer(model: str, facts: Model, provider: str, title: str) -> Offer:
    if provider not in facts.providers:
        others = f"; it is offered by {', '.join(facts.providers)}" if facts.providers else ""
        raise UsageError(
            f"{title} does not offer {model} for training{others}; see `ftkit catalog`"
        )
    return facts.providers[provider]


def ledger_of(summary: Summary, model: str, counting: Counting, catalog: Catalog) -> TokenStats:
    """The ledger that holds the model's tokens; raises `UsageError` if the file was not measured for it."""
    name = meter_name(find_model(model, catalog)) if counting == "billing" else NOTEBOOK.name
    if name not in summary.ledgers:
        raise UsageError(f"the file was not measured for {model}; name it when calling measure()")
    ledger = summary.ledgers[name]
    return ledger if counting == "billing" else _as_in_notebook(ledger)


def _as_in_notebook(ledger: TokenStats) -> TokenStats:
    """The ledger with the notebook's tokens for an example."""
    lengths = {length + NOTEBOOK_MORE: times for length, times in ledger.lengths.items()}
    cut = {limit + NOTEBOOK_MORE: lost for limit, lost in ledger.trained_cut.items()}
    return msgspec.structs.replace(ledger, lengths=lengths, trained_cut=cut)


def _approximations(
    ledger: TokenStats, cut: int, counting: Counting, offer: Offer, facts: Model
) -> tuple[str, ...]:
    """Why the tokens may not be those of the bill: how many examples, and the rule used."""
    kinds = {**ledger.kinds, "cut": cut}
    found = [
        f"{kinds[kind]:,} examples: {text}"
        for kind, text in APPROXIMATIONS.items()
        if kinds.get(kind)
    ]
    if counting == "notebook":
        found.insert(
            0,
            "counted as the notebook counts, in cl100k_base with 3 tokens an example; the service bills 1",
        )
    if facts.borrowed:
        found.insert(0, facts.borrowed)
    if offer.training and offer.training[0].per == "hour":
        found.insert(0, "training is billed by the hour, not by the token")
    return tuple(found)


def _cost(
    billed: int, offer: Offer, price: float | None, today: datetime.date, title: str
) -> tuple[Cost | None, str]:
    if price is not None:
        return _at(billed, Price(price, f"{today:%Y-%m}", "given with --price", today)), ""
    if not offer.training:
        return (
            None,
            f"{title} publishes no price for this; give yours with --price, in US dollars per million tokens",
        )
    current = offer.training[0]
    if current.per == "hour":
        return (
            None,
            f"billed by the hour of training: ${current.usd:,.2f} ({current.source}); tokens do not tell the cost",
        )
    return _at(billed, current), ""


def _at(billed: int, price: Price) -> Cost:
    return Cost(round(billed * price.usd / 1e6, 6), price.usd, price.source, price.as_of)


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
    """What `requests` a month on prompts like those of the file cost; None where the prices are not published.

    `base_prompt` is what the model that is not fine-tuned needs to be told in each request besides.
    """
    known = catalog or load_catalog()
    facts = find_model(model, known)
    offer, ledger = facts.providers.get(provider, Offer()), summary.ledgers[meter_name(facts)]
    if not (offer.input and offer.output and offer.base_input and offer.base_output):
        return None
    number = sum(ledger.lengths.values())
    answer = ledger.answers / number
    per = OVERHEADS[facts.encoding]
    prompt = (
        total(ledger.lengths) / number - answer - per["example"] - per["message"] + per["priming"]
    )
    longer = counter(facts.encoding).count([base_prompt])[0]
    tuned = (prompt * offer.input.usd + answer * offer.output.usd) / 1e6
    base = ((prompt + longer) * offer.base_input.usd + answer * offer.base_output.usd) / 1e6
    saves = training is not None and base > tuned
    return Usage(
        requests=requests,
        prompt_tokens=prompt,
        answer_tokens=answer,
        base_prompt_tokens=longer,
        tuned_usd=round(requests * tuned, 6),
        base_usd=round(requests * base, 6),
        break_even_requests=math.ceil(training.usd / (base - tuned))
        if saves and training
        else None,
        source=offer.input.source,
        as_of=offer.input.as_of,
    )
