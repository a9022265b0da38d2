"""The command line: one module for each command or group. Only here does ftkit print, prompt or exit."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click
from click.core import ParameterSource as Source

from ftkit._version import __version__
from ftkit.errors import FtkitError

COMMANDS = {
    "validate": ("ftkit.cli.validate", "Say what is wrong with fine-tuning files, and where."),
    "estimate": ("ftkit.cli.estimate", "Say what training will cost: tokens, epochs, money."),
    "submit": ("ftkit.cli.submit", "Check, estimate, ask, upload, and create the job, once."),
    "jobs": ("ftkit.cli.jobs", "List, watch and manage fine-tuning jobs."),
    "files": ("ftkit.cli.files", "List, upload, download and delete files of a provider."),
    "models": ("ftkit.cli.models", "List, show, export and delete models of a provider."),
    "chat": ("ftkit.cli.chat", "Send a prompt to a model, or hold a conversation."),
    "archive": ("ftkit.cli.archive", "Save all that an account holds about fine-tuning; check it."),
    "compare": (
        "ftkit.cli.compare",
        "Hold two models, or their recorded answers, against each other.",
    ),
    "serve": ("ftkit.cli.serve", "Serve the fine-tuning API on this machine, with real training."),
    "migrate": (
        "ftkit.cli.migrate",
        "Do a job again at another service, from the service or from an archive.",
    ),
    "providers": ("ftkit.cli.providers", "List the services that ftkit can talk to."),
    "catalog": ("ftkit.cli.catalog", "List models and providers: limits, prices, dates."),
    "rules": ("ftkit.cli.rules", "List the rules."),
    "rule": ("ftkit.cli.rules", "Explain one rule."),
    "schema": ("ftkit.cli.schema", "Print the JSON Schema of a format."),
    "explain": (
        "ftkit.cli.explain",
        "Find the rule behind a service's message, and the lines it is about.",
    ),
}
"""The commands, each with its module and what it does; the module is imported when the command runs."""

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
EXIT_CODES = "Exit codes: 0 clean, 1 findings, 2 ftkit could not do it, 130 interrupted."


class Commands(click.Group):
    """A group whose commands are imported when they are needed, so that `--help` is quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[name][0]), name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"ftkit {__version__}")
        context.exit()


@click.command(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
)
def cli() -> None:
    """Check fine-tuning data, know what training on it costs, run the job, use the model."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code; a problem is one line on standard error."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        result: Any = cli.main(arguments, prog_name="ftkit", standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"ftkit: {error.format_message().rstrip('.')}{_usage(error)}", err=True)
        return 2
    except FtkitError as error:
        click.echo(f"ftkit: {error}{_rule(error)}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("ftkit: interrupted", err=True)
        return INTERRUPTED
    except Terminated:
        return TERMINATED
    except (BrokenPipeError, Closed):
        _drop_output()
        return 0
    except OSError as error:
        _drop_output()
        click.echo(f"ftkit: {error}", err=True)
        return 2
    return result if isinstance(result, int) else 0


def _usage(error: click.ClickException) -> str:
    """Which variable an odd value comes from, if it was not typed, and where help is."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None:
        return ""
    place = ""
    if parameter and context.get_parameter_source(parameter.name) is Source.ENVIRONMENT:
        place = f"from {parameter.envvar}; "
    return f" ({place}see `{context.command_path} --help`)"


def _rule(error: FtkitError) -> str:
    """The rule behind what a service said, where there is one."""
    said = getattr(error, "said", "")
    if not said:
        return ""
    from ftkit.validation.service_messages import meaning

    rules = meaning(said).rules
    return f"; `ftkit rule {rules[0].name}` explains it" if rules else ""


def print_text(text: str) -> None:
    """Print a report; with colour on a terminal that has it, unless `NO_COLOR` is set (see no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    shown = text.encode("utf-8", "backslashreplace").decode(
        "utf-8"
    )  # a lone surrogate has no bytes
    try:
        click.echo(shown, nl=False, color=False if plain else None)
        sys.stdout.flush()
    except BrokenPipeError:
        raise Closed from None


def _drop_output() -> None:
    """Let go of what could not be written, so that Python does not try again, and complain, when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Closed(BaseException):
    """Nobody reads what is printed any more."""


class Terminated(BaseException):
    """The command was asked to end by SIGTERM."""


def _terminated(*_: object) -> None:
    raise Terminated


def main() -> None:
    """The `ftkit` command."""
    code = run()
    if code in (INTERRUPTED, TERMINATED):
        sys.stderr.flush()
        os._exit(
            code
        )  # all is put away by now, but Python would still wait for the workers that were stopped
    sys.exit(code)
