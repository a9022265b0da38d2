"""Measuring a file: its tokens, counted for any number of models in one scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from ftkit._text import validate_command
from ftkit.catalog import (
    DEFAULT_PROVIDER,
    Catalog,
    Model,
    find_limits,
    find_model,
    load_catalog,
)
from ftkit.dataset.detect import Head
from ftkit.dataset.inputs import Examples, File, open_source, sizes_of
from ftkit.errors import FileError, UsageError, check_choice, check_name, check_names
from ftkit.rules import RULES, ScanPlan
from ftkit.summary import Summary
from ftkit.tokens.encodings import PER_EXAMPLE
from ftkit.tokens.stats import TokenStats
from ftkit.tokens.tally import CountingMethod
from ftkit.validation.engines import LOCAL, open_engine
from ftkit.validation.runner import finding
from ftkit.validation.scan import Progress, choose_format, summarize

Counting = Literal["billing", "notebook"]

NOTEBOOK_LIMIT, NOTEBOOK_PER_EXAMPLE = 4_096, 3
NOTEBOOK_EXTRA_TOKENS = NOTEBOOK_PER_EXAMPLE - PER_EXAMPLE
NOTEBOOK = CountingMethod("notebook", "cl100k_base", (NOTEBOOK_LIMIT - NOTEBOOK_EXTRA_TOKENS,))
"""Counting as in the cookbook's notebook: always in cl100k_base, cut at 4,096 tokens, and with 3
tokens per example instead of 1.

These give its published figures: 4,306 tokens, 20 epochs and 86,120 for its toy file.
"""


class Measured(Struct, frozen=True):
    """A file and the statistics of its tokens."""

    file: str
    format: str
    summary: Summary

    @property
    def examples(self) -> int:
        """Number of examples."""
        return next((stats.examples for stats in self.summary.stats.values()), 0)

    @property
    def skipped(self) -> int:
        """Number of lines that were left out because no example could be read from them."""
        return max(self.summary.lines - self.summary.blank.count - self.examples, 0)


def measure(  # noqa: PLR0913 # public keyword-only API
    file: File | Examples,
    models: Sequence[str],
    *,
    provider: str = DEFAULT_PROVIDER,
    format: str | None = None,
    counting: Counting = "billing",
    catalog: Catalog | None = None,
    workers: int | None = None,
    engine: str = LOCAL,
    progress: Progress | None = None,
) -> Measured:
    """Count the tokens of a file for these models, in one scan.

    Args:
        file: The path, a URL in object storage, an open file, or the examples as dictionaries. A
            path that ends in `.gz` is read through gzip.
        models: Exact names of models.
        provider: The provider to train at, which sets the limits.
        format: The format to read the file as; detected if None.
        counting: `billing` as providers bill, `notebook` as the cookbook's notebook counts.
        catalog: Models and providers; those that come with ftkit if None.
        workers: Number of processes for large files, or of tasks at a time in a cluster; one per
            processor if None.
        engine: `local`, `ray` or `ray=HOST:PORT`; see `validate`.
        progress: Called with the file's name and the bytes scanned since the last call.

    Raises:
        FileError: The file cannot be read, or is not a dataset.
        UsageError: The file has another format.
        UnknownNameError: No model or provider has that name.
    """
    check_name("provider", provider)
    if format is not None:
        check_name("format", format)
    catalog = catalog or load_catalog()
    plan = ScanPlan(
        find_limits(provider, None, catalog),
        requested_formats=(format,) if format else (),
        named_format=format,
        counting_methods=counting_methods(models, provider, counting, catalog),
        applies_rules=False,
    )
    source = open_source(file, "file")
    with open_engine(workers, sizes_of([source]), progress, engine) as scan_engine:
        plan = _with_format(plan, source.head(), format)
        return Measured(source.path, plan.format, summarize(source.parts(), plan, scan_engine.map))


def _with_format(plan: ScanPlan, head: Head, requested: str | None) -> ScanPlan:
    """Return the plan with the file's format; raise if it has none or another one."""
    plan = msgspec.structs.replace(plan, format=format_of(head, requested))
    for rule in RULES.values():
        for hit in rule.checks[Head](head, plan) if Head in rule.checks else ():
            raise not_a_dataset(head.name, finding(rule, hit, 0).message)
    return plan


def not_a_dataset(path: str, message: str) -> FileError:
    """Return the error for a file that a rule on the beginning of files refuses."""
    return FileError(f"{path}: {message}; see {validate_command(path)}")


def no_example(path: str) -> UsageError:
    """Return the error for a file in which no line is an example."""
    return UsageError(f"{path}: no example could be read; run {validate_command(path)} to see why")


def format_of(head: Head, requested: str | None) -> str:
    """Return the format to read a file as.

    Raises:
        UsageError: The file has another format than the requested one.
    """
    format = choose_format(head, (requested,) if requested else ())
    if requested not in (None, format):
        raise wrong_format(head.name, format, requested or "")
    return format


def wrong_format(path: str, format: str, requested: str) -> UsageError:
    """Return the error for a file that does not have the requested format."""
    return UsageError(
        f"{path} is in the {format} format and cannot be read as {requested}; "
        "name its own format, or leave `format` out"
    )


def counting_methods(
    models: Sequence[str], provider: str, counting: Counting, catalog: Catalog
) -> tuple[CountingMethod, ...]:
    """Return the distinct ways to count that these models need, cut at the limits of all of them.

    Raises:
        UnknownNameError: No model or provider has that name.
        UsageError: `models` is one text, or there is no such way to count.
    """
    check_names("models", models)
    check_choice("counting", counting, get_args(Counting))
    if counting == "notebook":
        return (NOTEBOOK,)
    methods: dict[str, CountingMethod] = {}
    for name in models:
        model = find_model(name, catalog)
        key = method_name(model)
        method = methods.get(
            key, CountingMethod(key, model.encoding, (), catalog.images.get(model.images))
        )
        limits = {*method.limits, find_limits(provider, name, catalog).tokens}
        methods[key] = msgspec.structs.replace(method, limits=tuple(sorted(limits)))
    return tuple(methods.values())


def method_name(model: Model) -> str:
    """Return the name under which a model's tokens are counted."""
    return f"{model.encoding} {model.images}".rstrip()


def stats_of(summary: Summary, model: str, counting: Counting, catalog: Catalog) -> TokenStats:
    """Return the token statistics of a file for a model.

    Raises:
        UsageError: The file was not measured for the model.
    """
    name = method_name(find_model(model, catalog)) if counting == "billing" else NOTEBOOK.name
    if name not in summary.stats:
        raise UsageError(f"the file was not measured for {model}; name it when calling measure()")
    stats = summary.stats[name]
    return stats if counting == "billing" else _as_in_notebook(stats)


def _as_in_notebook(stats: TokenStats) -> TokenStats:
    """Return the statistics with the notebook's number of tokens per example."""
    lengths = {length + NOTEBOOK_EXTRA_TOKENS: times for length, times in stats.lengths.items()}
    cut = {limit + NOTEBOOK_EXTRA_TOKENS: lost for limit, lost in stats.trained_cut.items()}
    return msgspec.structs.replace(stats, lengths=lengths, trained_cut=cut)
