"""The command line, one module per command or group; the only package that prints and exits."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from difflib import get_close_matches
from typing import Any

import click
import click.shell_completion
from click.core import ParameterSource as Source

from ftkit._text import EXCERPT_LENGTH, printable
from ftkit._version import __version__
from ftkit.cli.command import ERROR_CODE, Group, with_options
from ftkit.cli.renamed import RENAMED_OPTIONS
from ftkit.cli.terminal import (
    OutputClosed,
    accept_any_text,
    drop_output,
    escape_logs,
    preferences,
    write,
    write_error,
)
from ftkit.errors import FileError, FtkitError, UsageError, os_error_message

COMMANDS = {
    "validate": ("ftkit.cli.validate", "Check fine-tuning files."),
    "estimate": ("ftkit.cli.estimate", "Estimate tokens, epochs and cost of training."),
    "convert": (
        "ftkit.cli.convert",
        "Convert CSV, Excel, chats and other data, and report what is lost.",
    ),
    "fix": ("ftkit.cli.fix", "Fix the mistakes in a file that have one right correction."),
    "split": ("ftkit.cli.split", "Split a file into training, validation and test data."),
    "dedupe": ("ftkit.cli.dedupe", "Remove duplicates and near-duplicates."),
    "decontaminate": (
        "ftkit.cli.decontaminate",
        "Remove rows that share text with the data of an evaluation.",
    ),
    "mix": ("ftkit.cli.mix", "Mix several files by weight."),
    "sample": ("ftkit.cli.sample", "Take a reproducible sample of a file."),
    "filter": ("ftkit.cli.filter", "Keep the rows of a file on which a condition holds."),
    "show": ("ftkit.cli.show", "Show an example of a file as a conversation."),
    "screen": (
        "ftkit.cli.screen",
        "Find personal data, keys, and texts that are likely to be flagged.",
    ),
    "prepare": ("ftkit.cli.prepare", "Run the steps of a recipe, and validate the result."),
    "submit": ("ftkit.cli.submit", "Check a file, upload it and create a fine-tuning job."),
    "jobs": ("ftkit.cli.jobs", "List, watch and manage fine-tuning jobs."),
    "files": ("ftkit.cli.files", "List, upload, download and delete a provider's files."),
    "models": ("ftkit.cli.models", "List, show, export and delete models."),
    "chat": ("ftkit.cli.chat", "Chat with a model."),
    "archive": (
        "ftkit.cli.archive",
        "Save an account's jobs, files and results to a folder, and verify it.",
    ),
    "compare": (
        "ftkit.cli.compare",
        "Compare two models, or recorded answers, on the same prompts.",
    ),
    "serve": ("ftkit.cli.serve", "Serve the fine-tuning API on this machine, with real training."),
    "open": ("ftkit.cli.open", "Open the dashboard of the local service."),
    "migrate": ("ftkit.cli.migrate", "Recreate jobs at another provider."),
    "login": ("ftkit.cli.login", "Store the API key of a provider."),
    "config": ("ftkit.cli.config", "Show each setting with its value and where it comes from."),
    "providers": ("ftkit.cli.providers", "List the providers and how to reach them."),
    "catalog": ("ftkit.cli.catalog", "List models with their limits, prices and dates."),
    "rules": ("ftkit.cli.rules", "List the rules."),
    "rule": ("ftkit.cli.rules", "Explain a rule."),
    "schema": ("ftkit.cli.schema", "Print the JSON Schema of a format."),
    "samples": ("ftkit.cli.samples", "Copy the sample files to a folder."),
    "explain": ("ftkit.cli.explain", "Explain an error message of a provider."),
    "completion": ("ftkit.cli.completion", "Print a shell's completion script."),
}
"""Commands by name: the module, which is imported when the command runs, and the help text."""

SECTIONS = {
    "Prepare data": (
        *("convert", "fix", "split", "dedupe", "decontaminate"),
        *("mix", "sample", "filter", "show", "screen", "prepare"),
    ),
    "Check and estimate": ("validate", "estimate", "rules", "rule", "explain", "schema"),
    "Train": ("submit", "jobs", "files", "serve", "open", "migrate"),
    "Use and keep models": ("models", "chat", "compare", "archive"),
    "Settings and reference": (
        *("login", "config", "providers", "catalog"),
        *("samples", "completion"),
    ),
}
"""Commands by the section of the help that lists them."""

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
TRACEBACK = "FTKIT_TRACEBACK"
"""Environment variable that shows the traceback of an unexpected error."""

EXIT_CODES = "Exit codes: 0 clean, 1 findings, 2 error, 130 interrupted."


class Commands(Group):
    """Group that imports a command only when it runs, so that `--help` is quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import the command of that name, or return None."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[name][0]), name)
        return command

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Return the commands and options that begin with a text, without importing commands."""
        names = [
            click.shell_completion.CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        width = max(map(len, COMMANDS))
        with formatter.section("Commands"):
            for title, names in SECTIONS.items():
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), COMMANDS[name][1]) for name in names])

    def invoke(self, context: click.Context) -> Any:
        """Run the command; its errors name options instead of parameters."""
        try:
            return super().invoke(context)
        except BrokenPipeError as error:  # not of the output; click would exit with code 1
            raise FileError(f"cannot write: {os_error_message(error)}") from error
        except UsageError as error:  # other errors name the user's or a provider's data
            command = self.get_command(context, context.invoked_subcommand or "")
            error.args = (with_options(str(error), command), *error.args[1:])
            raise


def _version(context: click.Context, parameter: click.Parameter, is_requested: bool) -> None:
    if is_requested and not context.resilient_parsing:
        from ftkit.dataset import plain
        from ftkit.tokens import compiled

        is_compiled = plain.is_compiled() and compiled.is_compiled()
        write(f"ftkit {__version__} ({'C extension' if is_compiled else 'pure Python'})\n")
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
    """Turn data into files that train, check them, estimate costs, run jobs and use the models."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code. An error is one line on stderr."""
    handle_signals()
    accept_any_text()
    preferences.reset()
    if os.environ.get("OPENAI_LOG"):
        escape_logs()
    try:
        result: Any = cli.main(arguments, prog_name="ftkit", standalone_mode=False)
    except click.ClickException as error:
        return _fail(f"{_message(error)}{_usage(error)}")
    except FtkitError as error:
        return _fail(f"{error}{_rule(error)}")
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted")
        return INTERRUPTED
    except _Terminated:
        return TERMINATED
    except (BrokenPipeError, OutputClosed):
        drop_output(sys.stdout)
        return 0
    except OSError as error:
        drop_output(sys.stdout)
        return _fail(f"{error}")
    except Exception as error:  # exit code 1 would mean findings
        return _fail_unexpectedly(error)
    return result if isinstance(result, int) else 0


def _message(error: click.ClickException) -> str:
    """Return the message of an error, with suggestions as ftkit writes them."""
    if isinstance(error, click.NoSuchOption):
        command = error.ctx.command.name if error.ctx else None
        renamed = RENAMED_OPTIONS.get(command or "", {})
        named = {name.lstrip("-"): name for name in error.possibilities or ()}
        close = get_close_matches(error.option_name.lstrip("-"), named)
        options = dict.fromkeys(renamed.get(named[name], named[name]) for name in close)
        names = " or ".join(map(repr, options))
        suggestion = f"; did you mean {names}?" if names else ""
        return f"No such option {error.option_name!r}{suggestion}"
    return error.format_message().rstrip(".")


def _fail(message: str) -> int:
    """Print an error as one line, and return its exit code."""
    write_error(f"ftkit: {printable(message)}\n")
    return ERROR_CODE


def _fail_unexpectedly(error: Exception) -> int:
    """Print an error that is a bug of ftkit, with its traceback if `FTKIT_TRACEBACK` is set."""
    text = f"unexpected {type(error).__name__}: {str(error)[:EXCERPT_LENGTH]}".removesuffix(": ")
    if os.environ.get(TRACEBACK) or preferences.is_verbose:
        write_error("".join(traceback.format_exception(error)))
        advice = "report this traceback"
    else:
        advice = f"set {TRACEBACK}=1, run the command again and report the traceback"
    return _fail(
        f"{text}; this is a bug in ftkit {__version__}: {advice} in a new issue of its repository"
    )


def _usage(error: click.ClickException) -> str:
    """Return the environment variable that an invalid value comes from, and where to find help."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None:
        return ""
    source = ""
    if parameter and context.get_parameter_source(parameter.name) is Source.ENVIRONMENT:
        source = f"from {parameter.envvar}; "
    return f" ({source}see `{context.command_path} --help`)"


def _rule(error: FtkitError) -> str:
    """Return the command that explains a provider's message, if a rule is known for it."""
    message = getattr(error, "provider_message", "")
    if not message:
        return ""
    from ftkit.validation.provider_messages import interpret

    rules = interpret(message).rules
    return f"; `ftkit rule {rules[0].name}` explains it" if rules else ""


class _Terminated(BaseException):
    """SIGTERM was received."""


def handle_signals() -> None:
    """Leave what runs by an exception after SIGTERM, or when the terminal is closed."""
    signal.signal(signal.SIGTERM, _terminated)
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    if hang_up is not None and signal.getsignal(hang_up) == signal.SIG_DFL:  # not under nohup
        signal.signal(hang_up, lambda *_: signal.raise_signal(signal.SIGTERM))


def _terminated(*_: object) -> None:
    raise _Terminated


def main() -> None:
    """Run the `ftkit` command and exit."""
    code = run()
    if code in (INTERRUPTED, TERMINATED):
        if sys.stderr is not None:
            sys.stderr.flush()
        os._exit(code)  # a normal exit would wait for worker processes that were stopped
    sys.exit(code)
