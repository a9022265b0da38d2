"""Options that may also come from variables and settings, and the types of their values."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click
from click.core import ParameterSource as Source

from ftkit.errors import UsageError, did_you_mean


class Names(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """Names separated by commas."""

    name = "names"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(name.strip() for name in names if name.strip())


class Epochs(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """A number of epochs from 1 to 50, or `auto`, which is None."""

    name = "N|auto"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | None:
        if value is None or value == "auto":
            return None
        if not str(value).isdecimal() or not 1 <= int(value) <= 50:
            self.fail(f"{value!r} is not auto or a number from 1 to 50", parameter, context)
        return int(value)


class Temperature(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """A temperature from 0 to 2, or `none`, which is None: the service's own."""

    name = "X|none"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float | None:
        if value is None or value == "none":
            return None
        try:
            number = float(value)
        except ValueError:
            number = -1
        if not 0 <= number <= 2:
            self.fail(f"{value!r} is not a number from 0 to 2, or none", parameter, context)
        return int(number) if number.is_integer() else number


class Day(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """A date as `YYYY-MM-DD`."""

    name = "DATE"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> datetime.date:
        try:
            return datetime.date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no date; write it as YYYY-MM-DD", parameter, context)


class Status(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """A status of a job."""

    name = "status"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        from ftkit.client.resources import STATUSES

        if value not in STATUSES:
            near = did_you_mean(value, STATUSES, otherwise=".")
            self.fail(
                f"unknown status {value!r}{near} It is one of {', '.join(STATUSES)}",
                parameter,
                context,
            )
        return str(value)


class Configured(click.Command):
    """A command whose options have some settings of the project as defaults: those that also come from variables."""

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
        if not {"-h", "--help"} & set(args):
            from ftkit.cli.settings import read_settings

            found = read_settings(Path.cwd())
            found |= {"models": (found["model"],)} if "model" in found else {}
            taken = {
                each.name
                for each in self.params
                if each.envvar and (self.settings is None or each.name in self.settings)
            }
            extra["default_map"] = {name: value for name, value in found.items() if name in taken}
        context = super().make_context(info_name, args, *more, **extra)
        if "base_url" in context.params:
            _hold_address(context)
            _hold_facts(context)
        return context


def _hold_address(context: click.Context) -> None:
    """Leave out the address of the variable where the command line names another provider than the one that it is for."""
    from ftkit.catalog import DEFAULT_PROVIDER

    source, provider = context.get_parameter_source, context.params["provider"]
    if source("base_url") is not Source.ENVIRONMENT or source("provider") is not Source.COMMANDLINE:
        return
    usual = (
        os.environ.get("FTKIT_PROVIDER")
        or (context.default_map or {}).get("provider")
        or DEFAULT_PROVIDER
    )
    if provider != usual:
        click.echo(f"ftkit: FTKIT_BASE_URL is for {usual}, and not used for {provider}", err=True)
        context.params["base_url"] = None


def _hold_facts(context: click.Context) -> None:
    """Raise `UsageError` where facts that the project names say how to reach a service: a key would be sent there."""
    from ftkit.catalog import load_catalog

    if context.get_parameter_source("facts") is not Source.DEFAULT_MAP:
        return
    path, known = context.params["facts"], load_catalog().providers
    for name, provider in load_catalog(path).providers.items():
        if provider.api and (name not in known or provider.api != known[name].api):
            told = f"pyproject.toml names {path}, which says where the key of {name} is sent"
            raise UsageError(f"{told}; if that is right, give it with --facts or set FTKIT_FACTS")


class Group(click.Group):
    """A group whose commands are `Configured`."""

    command_class = Configured


class AllConfigured(Configured):
    """A command whose options all have settings."""

    settings = None


def on_day() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option for the day that is taken for today."""
    return click.option(
        "--on",
        "today",
        type=Day(),
        metavar="DATE",
        help="As it will be on that day [default: today].",
    )


def option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option that may also come from the variable `FTKIT_NAME`."""
    variable = "FTKIT_" + names[0].lstrip("-").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=False, **options)


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which a command finds a service."""
    for add in (
        option("--facts", metavar="FILE", help="TOML with models and providers of your own."),
        option(
            "--base-url",
            metavar="URL",
            help="The address of the service, if it is not the provider's own.",
        ),
        option(
            "--provider", metavar="NAME", default="openai", show_default=True, help="The service."
        ),
    ):
        command = add(command)
    return command


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--output`, text or JSON."""
    kind = click.Choice(["text", "json"])
    return option("--output", type=kind, default="text", show_default=True, help="How to report.")(
        command
    )
