"""Options that may also come from variables and settings, and the types of their values."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click


class Names(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """Names separated by commas."""

    name = "names"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(name.strip() for name in names if name.strip())


class Epochs(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """A number of epochs from 1 to 50, or `auto`, which is None."""

    name = "N|auto"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int | None:
        if value is None or value == "auto":
            return None
        if not str(value).isdecimal() or not 1 <= int(value) <= 50:
            self.fail(f"{value!r} is not auto or a number from 1 to 50", parameter, context)
        return int(value)


class Temperature(click.ParamType):  # type: ignore[type-arg] # generic only from click 8.4 on
    """A temperature from 0 to 2, or `none`, which is None: the service's own."""

    name = "X|none"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float | None:
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

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> datetime.date:
        try:
            return datetime.date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no date; write it as YYYY-MM-DD", parameter, context)


class Configured(click.Command):
    """A command whose options have some settings of the project as defaults."""

    settings: ClassVar[tuple[str, ...] | None] = ("format", "model", "provider", "base_url", "facts", "workers")

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        if not {"-h", "--help"} & set(args):
            from ftkit.settings import read_settings

            found = read_settings(Path.cwd())
            kept = {name: value for name, value in found.items() if self.settings is None or name in self.settings}
            extra["default_map"] = {**kept, "models": (kept["model"],) if "model" in kept else ()}
        return super().make_context(info_name, args, *more, **extra)


class Group(click.Group):
    """A group whose commands are `Configured`."""

    command_class = Configured


class AllConfigured(Configured):
    """A command whose options all have settings."""

    settings = None


def on_day() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option for the day that is taken for today."""
    return click.option("--on", "today", type=Day(), metavar="DATE", help="As it will be on that day [default: today].")


def option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option that may also come from the variable `FTKIT_NAME`."""
    variable = "FTKIT_" + names[0].lstrip("-").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=False, **options)


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which a command finds a service."""
    for add in (
        option("--facts", metavar="FILE", help="TOML with models and providers of your own."),
        option("--base-url", metavar="URL", help="The address of the service, if it is not the provider's own."),
        option("--provider", metavar="NAME", default="openai", show_default=True, help="The service."),
    ):
        command = add(command)
    return command


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--output`, text or JSON."""
    kind = click.Choice(["text", "json"])
    return option("--output", type=kind, default="text", show_default=True, help="How to report.")(command)
