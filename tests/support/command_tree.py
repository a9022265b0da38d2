"""The commands of ftkit, with their subcommands."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ftkit.cli import cli
from ftkit.cli.terminal import preferences


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


def parse_command(arguments: list[str]) -> None:
    """Parse the arguments of a command as ftkit does, without running it."""
    command, context = cli, click.Context(cli, info_name="ftkit", **cli.context_settings)
    while isinstance(command, click.Group) and arguments and arguments[0][0] != "-":
        name, arguments = arguments[0], arguments[1:]
        found = command.get_command(context, name)
        assert found is not None, name
        command, context = found, click.Context(found, context, name)
    command.make_context(context.info_name, arguments, context.parent)
    preferences.reset()
