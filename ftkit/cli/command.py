"""Base classes of all commands: their shared options, help, examples and suggestions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ftkit.cli.completers import add_completion
from ftkit.cli.examples import EXAMPLES
from ftkit.cli.renamed import add_former_names
from ftkit.cli.terminal import output_file, preferences, show_logs, write
from ftkit.cli.urls import refuse_urls
from ftkit.errors import UsageError, did_you_mean

COLORS = {"auto": None, "always": True, "never": False}
"""Values of `--color`, as `Preferences.color`."""


def _set_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    preferences.is_quiet = preferences.is_quiet or value


def _set_verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        preferences.is_verbose = True
        show_logs()


def _set_color(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        preferences.color = COLORS[value]


def _print_help(context: click.Context, parameter: click.Parameter, is_requested: bool) -> None:
    if is_requested and not context.resilient_parsing:
        write(f"{context.get_help()}\n")
        context.exit()


SHARED_OPTIONS = (
    click.Option(
        ["--quiet", "-q"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_quiet,
        help="Print only results and problems: no notes and no progress bars.",
    ),
    click.Option(
        ["--verbose", "-v"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_verbose,
        help="Log requests and settings files to standard error.",
    ),
    click.Option(
        ["--color"],
        type=click.Choice(list(COLORS)),
        expose_value=False,
        is_eager=True,
        callback=_set_color,
        help="When to use colour.  [default: auto: on a terminal, unless NO_COLOR is set]",
    ),
)
"""Options of all commands, unless a command has its own option of that name."""

STDOUT = "/dev/stdout"
"""Name of standard output. A file that it is redirected to must not be replaced."""


def _set_output_file(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.meta[OUTPUT_FILE_KEY] = None if value == STDOUT else value


OUTPUT_FILE = click.Option(
    ["--output-file"],
    metavar="FILE",
    expose_value=False,
    is_eager=True,
    callback=_set_output_file,
    help="Write the output to FILE when it is complete.",
)
"""Option of all commands with `--output`."""

OUTPUT_FILE_KEY = "ftkit.output_file"
"""Key of the value of `--output-file` in the context."""

add_completion(OUTPUT_FILE)

ERROR_CODE = 2
"""Exit code of errors."""

MAX_SHORT_HELP = 200
"""Maximum length of a command's help in the list of commands, in characters."""


class Command(click.Command):
    """Command with the shared options, and examples at the end of its help."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for parameter in self.params:
            add_completion(parameter)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters of the command, and the shared options before `--help`."""
        parameters = super().get_params(ctx)
        own = {name for parameter in parameters for name in parameter.opts}
        shared = [option for option in SHARED_OPTIONS if option.opts[0] not in own]
        if "--output" in own:
            shared.append(OUTPUT_FILE)
        end = len(self.params)
        return [*parameters[:end], *shared, *parameters[end:]]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option `--help`, which prints as the commands do."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option

    def make_parser(self, ctx: click.Context) -> Any:
        """Return the parser of the arguments, in which options may have their former names."""
        parser = super().make_parser(ctx)
        if not ctx.resilient_parsing:
            add_former_names(parser, ctx)
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and refuse URLs where only local files can be named."""
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            refuse_urls(ctx, ctx.meta.get(OUTPUT_FILE_KEY))
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Its output may go to a file, which is not written after an error."""
        path = ctx.meta.get(OUTPUT_FILE_KEY)
        if path is None or isinstance(self, click.Group):
            return super().invoke(ctx)
        inputs = (value for value in ctx.params.values() if isinstance(value, (str, Path)))
        refuse_output_over_input(map(str, inputs))
        refuse_output_over_settings(path)
        with output_file(path):
            code = super().invoke(ctx)
            if code == ERROR_CODE:
                ctx.exit(ERROR_CODE)
            return code

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the command, and those that all commands have."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Global options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                is_shared = parameter not in (*self.params, OUTPUT_FILE)
                sections["Global options" if is_shared else "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog and the examples."""
        super().format_epilog(ctx, formatter)
        examples = EXAMPLES.get(ctx.command_path, ())
        if examples:
            with formatter.section("Examples"):
                indent = " " * formatter.current_indent
                formatter.write("".join(f"{indent}{example}\n" for example in examples))


def refuse_output_over_input(paths: Iterable[str]) -> None:
    """Raise `UsageError` if the output would replace one of the files that a command reads."""
    context = click.get_current_context(silent=True)
    output = context.meta.get(OUTPUT_FILE_KEY) if context else None
    if output is None or not os.path.exists(output):
        return
    is_input = _is_standard_input(output) or any(
        os.path.exists(path) and os.path.samefile(path, output) for path in paths
    )
    if is_input:
        raise UsageError(f"--output-file {output} would replace an input; name another file")


def refuse_output_over_settings(output: str, option: str = "--output-file") -> None:
    """Raise `UsageError` if the file of an option would replace a settings file."""
    from ftkit.cli.settings import settings_files

    for path in settings_files():
        if os.path.exists(output) and os.path.samefile(path, output):
            reason = "would replace a settings file; name another file"
            raise UsageError(f"{option} {output} {reason}")


def _is_standard_input(path: str) -> bool:
    """Return True if standard input is redirected from that file."""
    try:
        return os.path.samestat(os.fstat(0), os.stat(path))
    except OSError:  # no standard input
        return False


QUOTED = r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
"""A value in quotes, as `repr` writes it."""


def with_options(message: str, command: click.Command | None) -> str:
    """Replace the names of parameters in backticks by the options of the command.

    Values in quotes are data.
    """
    options = dict(_options(command)) if command else {}

    def with_option(match: re.Match[str]) -> str:
        return f"`{options.get(match[1], match[1])}`" if match[1] else match[0]

    return re.sub(rf"{QUOTED}|`(\w+)`", with_option, message)


def _options(command: click.Command) -> Iterator[tuple[str, str]]:
    """Yield the parameter name and the option of each option of a command or group."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name:
            yield parameter.name, parameter.opts[0]
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            yield from _options(subcommand)


class Group(Command, click.Group):
    """Group of commands. Without a command it prints its help, and it suggests similar names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, or print the help without arguments."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            write(f"{self.get_help(ctx)}\n")
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, each with the whole first sentence of its help."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(MAX_SHORT_HELP))
                    for name, command in commands
                    if command
                ]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        name = args[0]
        is_option = name.startswith("-")
        if is_option or ctx.resilient_parsing or self.get_command(ctx, name):
            return super().resolve_command(ctx, args)
        suggestion = self._subcommands(ctx, name) or did_you_mean(name, self.list_commands(ctx))
        raise click.UsageError(f"No such command {name!r}{suggestion}", ctx)

    def _subcommands(self, ctx: click.Context, name: str) -> str:
        """Return the subcommands of that name as a suggestion, or ""."""
        groups = ((group, self.get_command(ctx, group)) for group in self.list_commands(ctx))
        matches = [
            f"`{ctx.command_path} {group} {name}`"
            for group, command in groups
            if isinstance(command, click.Group) and command.get_command(ctx, name)
        ]
        return f"; did you mean {' or '.join(matches)}?" if matches else ""
