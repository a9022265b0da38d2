"""Options that also come from environment variables and settings, and types of option values."""

from __future__ import annotations

import datetime
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click
from click.core import ParameterSource as Source
from click.shell_completion import CompletionItem

from ftkit._text import printable, quote_path
from ftkit.cli import command
from ftkit.cli.command import Command
from ftkit.cli.completers import complete_rules
from ftkit.cli.terminal import write_error
from ftkit.errors import UnknownNameError, UsageError, did_you_mean

MAX_EPOCHS = 50


class Names(click.ParamType):  # type: ignore[type-arg] # generic only since click 8.4
    """Names of rules, separated by commas."""

    name = "names"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names."""
        names = value.split(",") if isinstance(value, str) else value
        return tuple(name.strip() for name in names if name.strip())

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names of rules."""
        return complete_rules(ctx, incomplete)


class Epochs(click.ParamType):  # type: ignore[type-arg] # generic only since click 8.4
    """A number of epochs from 1 to 50, or `auto`."""

    name = "N|auto"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | None:
        """Return the number, or None for `auto`."""
        if value is None or value == "auto":
            return None
        if not str(value).isdecimal() or not 1 <= int(value) <= MAX_EPOCHS:
            message = f"{value!r} is not auto or a number from 1 to {MAX_EPOCHS}"
            self.fail(message, parameter, context)
        return int(value)


class Temperature(click.ParamType):  # type: ignore[type-arg] # generic only since click 8.4
    """A sampling temperature from 0 to 2, or `none`."""

    name = "X|none"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float | None:
        """Return the temperature, or None for `none`: the provider's default."""
        if value is None or value == "none":
            return None
        try:
            number = float(value)
        except ValueError:
            number = -1
        if not 0 <= number <= 2:
            self.fail(f"{value!r} is not a number from 0 to 2, or none", parameter, context)
        return int(number) if number.is_integer() else number


class TokenLimit(click.ParamType):  # type: ignore[type-arg] # generic only since click 8.4
    """A number of tokens above 0, or `none`."""

    name = "N|none"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Return the number, or 0 for `none`."""
        if value == "none":
            return 0
        if not re.fullmatch("[1-9][0-9]{0,8}", str(value)):
            self.fail(f"{value!r} is not a number above 0, or none", parameter, context)
        return int(value)


class Size(click.ParamType):  # type: ignore[type-arg] # generic only since click 8.4
    """A size in bytes, such as `500MB` or `2GiB`."""

    name = "SIZE"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Return the number of bytes."""
        match = re.fullmatch(r"([0-9]{1,15})(?:([KMGT])(I?)B)?", str(value).strip().upper())
        if not match:
            self.fail(f"{value!r} is not a size such as 500MB or 2GiB", parameter, context)
        number, prefix, binary = match.groups()
        unit = 1024 if binary else 1000
        return int(int(number) * unit ** " KMGT".index(prefix or " "))


class Day(click.ParamType):  # type: ignore[type-arg] # generic only since click 8.4
    """A date as `YYYY-MM-DD`."""

    name = "DATE"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> datetime.date:
        """Return the date."""
        try:
            return datetime.date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a date; write it as YYYY-MM-DD", parameter, context)


class Status(click.ParamType):  # type: ignore[type-arg] # generic only since click 8.4
    """A job status."""

    name = "status"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        """Return the status."""
        from ftkit.client.resources import STATUSES

        if value not in STATUSES:
            suggestion = did_you_mean(value, STATUSES, otherwise=".")
            message = f"unknown status {value!r}{suggestion} It is one of {', '.join(STATUSES)}"
            self.fail(message, parameter, context)
        return str(value)


class OutputFormat(click.Choice):  # type: ignore[type-arg] # generic only since click 8.2
    """An output format. The error for the name of a file says how to write one."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """Return the format."""
        try:
            return super().convert(value, parameter, context)
        except click.BadParameter:
            if Path(value).suffix or os.sep in value:
                self.fail(self._advice(value), parameter, context)
            raise

    def _advice(self, path: str) -> str:
        """Return the error for the name of a file."""
        *others, last = self.choices
        suffix, quoted = Path(path).suffix.lstrip("."), quote_path(path)
        name = suffix if suffix in self.choices else self.choices[0]
        return (
            f"{path!r} is not a format ({', '.join(others)} or {last}); to write a file, use:"
            f" --output {name} --output-file {quoted}, or: --output {name} > {quoted}"
        )


class Configured(Command):
    """Command whose options take defaults from the settings of the project and of the user.

    Only options that also come from an environment variable do, and of the project's settings only
    those named in `settings`; None stands for all of them.
    """

    settings: ClassVar[tuple[str, ...] | None] = (
        "format",
        "model",
        "models",
        "provider",
        "facts",
        "workers",
    )

    def make_context(
        self, info_name: str | None, args: list[str], *more: Any, **extra: Any
    ) -> click.Context:
        """Parse the arguments, with the settings as defaults."""
        if extra.get("resilient_parsing"):  # for the completion in a shell
            return super().make_context(info_name, args, *more, **extra)
        if not {"-h", "--help"} & set(args):
            extra["default_map"] = self._defaults()
        context = super().make_context(info_name, args, *more, **extra)
        if extra.get("default_map"):
            _log_settings(extra["default_map"])
            _check_default_provider(context)
        if {"base_url", "provider"} <= context.params.keys():
            _drop_address_of_other_provider(context)
            _check_facts_of_project(context)
        return context

    def _defaults(self) -> dict[str, Any]:
        from ftkit.cli.settings import read_defaults, read_settings

        project = read_settings(Path.cwd())
        if "model" in project:
            project["models"] = (project["model"],)
        settings = read_defaults() | {
            name: value
            for name, value in project.items()
            if self.settings is None or name in self.settings
        }
        return {
            parameter.name: settings[parameter.name]
            for parameter in self.params
            if parameter.envvar and parameter.name in settings
        }


def _log_settings(settings: dict[str, Any]) -> None:
    from ftkit.cli.settings import find_pyproject

    path, names = find_pyproject(Path.cwd()), ", ".join(settings)
    logging.getLogger("ftkit").info("settings from %s: %s", path, names)


def _check_default_provider(context: click.Context) -> None:
    """Raise `UsageError` with the name of the file if a settings file names an unknown provider."""
    from ftkit.catalog import find_provider, load_catalog, unsupported
    from ftkit.cli.settings import default_file

    name = context.params.get("provider")
    is_default = context.get_parameter_source("provider") is Source.DEFAULT_MAP
    if not is_default or name in unsupported():
        return
    try:
        find_provider(str(name), load_catalog(context.params.get("facts")))
    except UnknownNameError as error:
        raise UsageError(f"{default_file('provider')}: {error}") from error


def _drop_address_of_other_provider(context: click.Context) -> None:
    """Ignore FTKIT_BASE_URL if the command line names another provider than the default."""
    from ftkit.catalog import DEFAULT_PROVIDER

    source, provider = context.get_parameter_source, context.params["provider"]
    if source("base_url") is not Source.ENVIRONMENT or source("provider") is not Source.COMMANDLINE:
        return
    default = (
        os.environ.get("FTKIT_PROVIDER")
        or (context.default_map or {}).get("provider")
        or DEFAULT_PROVIDER
    )
    if provider != default:
        message = f"FTKIT_BASE_URL is for {default}; it is ignored for {provider}"
        write_error(f"ftkit: {printable(message)}\n")
        context.params["base_url"] = None


def _check_facts_of_project(context: click.Context) -> None:
    """Raise `UsageError` if the project's settings say where to send API keys.

    A cloned repository could use that to collect the user's keys.
    """
    from ftkit.catalog import load_catalog

    if context.get_parameter_source("facts") is not Source.DEFAULT_MAP:
        return
    path, builtin = context.params["facts"], load_catalog().providers
    for name, provider in load_catalog(path).providers.items():
        if provider.api and (name not in builtin or provider.api != builtin[name].api):
            raise UsageError(
                f"pyproject.toml names {path}, which says where the API key of {name} is sent; "
                "if you trust it, pass it with --facts or set FTKIT_FACTS"
            )


class Group(command.Group):
    """Group whose commands are `Configured`."""

    command_class = Configured


class AllConfigured(Configured):
    """Command all of whose options have settings."""

    settings = None


def on_day() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--on`: the date that counts as today."""
    help_text = "Show prices and dates as of this day.  [default: today]"
    return click.option("--on", "today", type=Day(), metavar="DATE", help=help_text)


def option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add an option that also comes from the environment variable `FTKIT_NAME`."""
    variable = "FTKIT_" + names[0].lstrip("-").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=False, **options)


def provider_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select a provider."""
    for add in (
        option("--facts", metavar="FILE", help="TOML file with your own models and providers."),
        option("--base-url", metavar="URL", help="Base URL of the provider's API."),
        option(
            "--provider",
            metavar="NAME",
            default="openai",
            show_default=True,
            help="Provider; see `ftkit providers`.",
        ),
    ):
        command = add(command)
    return command


def recipe_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--recipe`: settings of base models."""
    help = "TOML file with settings of base models that replace the built-in ones."
    return option("--recipe", "recipes", metavar="FILE", help=help)(command)


def output_format(*formats: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--output`: one of several formats, of which the first is the default."""
    return option(
        "--output",
        "-o",
        type=OutputFormat(formats),
        default=formats[0],
        show_default=True,
        help="Output format.",
    )


def engine_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--engine`.

    No setting chooses it: whoever controls a cluster can run code on the machine that connects.
    """
    return click.option(
        "--engine",
        metavar="ENGINE",
        default="local",
        show_default=True,
        help="Engine that scans the files: local, ray or ray=HOST:PORT (a Ray cluster).",
    )(command)


def open_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--open`: open the page that the command wrote."""
    help = "Open the page in the web browser."
    return click.option("--open", "opens", is_flag=True, help=help)(command)


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--output`: text or JSON."""
    return output_format("text", "json")(command)
