"""`ftkit serve bases`, and the base models that a service offers under other names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from msgspec import to_builtins

from ftkit.catalog import RecommendedBase, base_models, recommended_bases
from ftkit.cli.command import Command
from ftkit.cli.options import output_option
from ftkit.cli.output import print_json, print_note, terminal_width
from ftkit.cli.terminal import write
from ftkit.errors import UsageError
from ftkit.report.columns import table

RECOMMENDED = "recommended"
"""Value of `--models`, and of an element of `FTKIT_MODELS`."""

HEAD = ("base model", "parameters", "licence", "context", "training", "stands for")


@click.command(cls=Command)
@output_option
def bases(output: str) -> None:
    """List the recommended base models, and the hosted models that they stand for.

    `ftkit serve --models recommended` maps those names to them. The column "training" is the GPU
    memory of LoRA training in bfloat16 with Unsloth, where it is published; without Unsloth,
    training takes more. JSON output has sources and dates.
    """
    if output == "json":
        print_json(to_builtins(base_models()))
        return
    rows = [_row(id, base) for id, base in base_models().items()]
    write(table([HEAD, *rows], left=len(HEAD), width=terminal_width()))


def _row(id: str, base: RecommendedBase) -> tuple[str, ...]:
    memory = f"{base.training_gb.value} GB" if base.training_gb else "-"
    names = ", ".join(base.stands_for) or "-"
    return id, base.parameters, base.licence, f"{base.context_length:,}", memory, names


def base_mapping(pairs: Iterable[str], recommended: bool) -> dict[str, str]:
    """Return base models by the names that stand for them.

    Args:
        pairs: Values of `--map`; a later one overrides those before it.
        recommended: Add the recommended base models for other names, and print all of them.

    Raises:
        UsageError: A pair is not `NAME=BASE`.
    """
    mapping = recommended_bases() if recommended else {}
    for pair in pairs:
        mapping |= _parse_pair(pair)
    if recommended:
        for name, base in mapping.items():
            print_note(f"{name} stands for {', '.join((base, *_facts(base)))}")
    return mapping


def _parse_pair(value: str) -> dict[str, str]:
    """Return the name and the base model of `NAME=BASE`.

    A folder becomes an absolute path, since other processes load it.
    """
    name, _, base = value.partition("=")
    if not (name and base):
        raise UsageError(
            f"--map must be NAME=BASE, such as gpt-3.5-turbo=Qwen/Qwen3-0.6B, not {value!r}"
        )
    return {name: str(Path(base).absolute()) if Path(base).is_dir() else base}


def _facts(id: str) -> Iterator[str]:
    """Yield licence, context and memory of a recommended base model; nothing for another one."""
    base = base_models().get(id)
    if base is None:
        return
    yield base.licence
    yield f"context {base.context_length:,} tokens"
    if base.training_gb:
        yield f"training takes at least {base.training_gb.value} GB"
