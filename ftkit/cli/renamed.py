"""Former names of options, which work with a warning."""

from __future__ import annotations

import copy
from typing import Any

import click

from ftkit.cli.output import print_warning

RENAMED_OPTIONS = {
    "compare": {"--seed": "--bootstrap-seed"},
    "estimate": {"--all": "--all-models"},
    "migrate": {"--all": "--archive"},
    "serve": {"--model": "--map"},
}
"""Present names of renamed options, by command and former name."""


def add_former_names(parser: Any, context: click.Context) -> None:
    """Add the former names of a command's options to its parser, which warns about them."""
    name = context.command.name or ""
    renamed = RENAMED_OPTIONS.get(name, {})
    aliases = [
        _alias(option, former)
        for former, present in renamed.items()
        for option in context.command.params
        if present in option.opts
    ]
    for alias in aliases:
        alias.add_to_parser(parser, context)
    parse_args = parser.parse_args

    def parse_and_warn(args: list[str]) -> tuple[dict[str, Any], list[str], list[Any]]:
        values, rest, order = parse_args(args)
        for former in (alias.opts[0] for alias in aliases if alias in order):
            print_warning(f"{former} of `ftkit {name}` is now {renamed[former]}")
        return values, rest, order

    parser.parse_args = parse_and_warn


def _alias(option: click.Parameter, name: str) -> click.Parameter:
    """Return an option of another name that stores its value as the option does."""
    alias = copy.copy(option)
    alias.opts, alias.secondary_opts = [name], []
    return alias
