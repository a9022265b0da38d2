"""Completion of the values of options and arguments in a shell.

A completer returns the candidates that begin with a text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

import click
from click.shell_completion import CompletionItem

Completer: TypeAlias = Callable[[click.Context, str], list[CompletionItem]]
"""Function of the context and the beginning of a value."""

LAST = "@last"
"""Name of the job or file that was created last from this machine, or of that job's model."""

SAFE_ID = re.compile(r"[\w:.@/+-]+", re.ASCII)
"""Ids that a shell takes as one word. A provider can send any others."""

TAKE_LAST = ("chat", "compare")
"""Commands that take `LAST` for a model."""


class CompletedString(click.types.StringParamType):
    """Text that a completer completes."""

    def __init__(self, completer: Completer) -> None:
        self._complete = completer

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the candidates of the completer."""
        return self._complete(ctx, incomplete)


def add_completion(parameter: click.Parameter) -> None:
    """Complete the values of a parameter by its name, or else by its metavar."""
    completer = BY_NAME.get(parameter.name or "") or BY_METAVAR.get(parameter.metavar or "")
    if completer and parameter.type is click.STRING:
        parameter.type = CompletedString(completer)


def _matching(names: Iterable[str], beginning: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(beginning)]


def complete_models(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Return the models of the catalog, those of one provider if the command names it."""
    from ftkit.catalog import load_catalog

    provider = context.params.get("provider")
    models = load_catalog().models.items()
    offered = (name for name, model in models if provider is None or provider in model.providers)
    last = [LAST] if context.info_name in TAKE_LAST or _group(context) == "models" else []
    return _matching([*last, *offered], beginning)


def _group(context: click.Context) -> str:
    """Return the name of the group of a command."""
    return (context.parent.info_name if context.parent else "") or ""


def complete_models_or_files(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Return the models of the catalog, or let the shell complete the name of a file."""
    return complete_models(context, beginning) or complete_files(context, beginning)


def complete_providers(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Return the providers of the catalog."""
    from ftkit.catalog import load_catalog

    return _matching(load_catalog().providers, beginning)


def complete_rules(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Return the names of rules, as the last of a list that is separated by commas."""
    from ftkit.rules import RULES

    before, comma, last = beginning.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{name}", help=rule.summary)
        for name, rule in RULES.items()
        if name.startswith(last)
    ]


def complete_formats(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Return the formats of datasets."""
    from ftkit.dataset.formats import FORMATS

    return _matching(FORMATS, beginning)


def complete_ids(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Return the ids of jobs or files in the journal, or models, as the group of the command."""
    group = _group(context)
    if group == "models":
        return complete_models(context, beginning)
    from ftkit._local import state_folder
    from ftkit.jobs.journal import journaled_ids

    ids = journaled_ids(state_folder(os.environ), "file" if group == "files" else "job")
    return _matching([LAST, *filter(SAFE_ID.fullmatch, ids)], beginning)


def complete_files(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Let the shell complete the name of a file."""
    return [CompletionItem(beginning, type="file")]


def complete_folders(context: click.Context, beginning: str) -> list[CompletionItem]:
    """Let the shell complete the name of a folder."""
    return [CompletionItem(beginning, type="dir")]


BY_NAME: dict[str, Completer] = {
    "id": complete_ids,
    "job": complete_ids,
    "model": complete_models,
    "models": complete_models,
    "a": complete_models_or_files,
    "b": complete_models_or_files,
    "provider": complete_providers,
    "provider_b": complete_providers,
    "to": complete_providers,
    "name": complete_rules,
    "format": complete_formats,
    "path": complete_files,
    "file": complete_files,
}
"""Completers by the names of parameters."""

BY_METAVAR: dict[str, Completer] = {
    "FILE": complete_files,
    "FILES...": complete_files,
    "FILE|ARCHIVE": complete_files,
    "DIR": complete_folders,
}
"""Completers by the metavars of parameters whose names have none."""
