"""The commands of ftkit, with their subcommands."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ftkit.cli import cli


def walk(
    command: click.Command = cli, parent: click.Context | None = None, name: str = "ftkit"
) -> Iterator[tuple[str, click.Context]]:
    """Yield the path and the context of a command and of all below it."""
    context = click.Context(command, parent, name, **command.context_settings)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            assert child is not None
            yield from walk(child, context, child_name)


COMMAND_TREE = dict(walk())
"""The context of each command by its path, such as "ftkit jobs list"."""
