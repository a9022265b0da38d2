"""`ftkit serve`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import click

from ftkit._local import PORT, data_folder, find_running, is_loopback
from ftkit.cli import print_text
from ftkit.cli.options import option, output_option
from ftkit.cli.output import print_json
from ftkit.errors import UsageError
from ftkit.server.daemon import stop as stop_service

PACKAGES = (
    "fastapi",
    "uvicorn",
    "python_multipart",
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
)
"""What the extra `local` installs; looked for here, since the training process would only miss them later."""


@click.group(invoke_without_command=True)
@click.pass_context
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on; others than loopback need FTKIT_API_KEY.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@option(
    "--data-dir",
    metavar="DIR",
    help="Where files, jobs and models are kept [default: the user's data directory].",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=BASE",
    help="Let NAME stand for a model or folder; repeatable.",
)
@option(
    "--max-jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Jobs that train at once.",
)
@click.option("--any-port", is_flag=True, hidden=True)
def serve(
    context: click.Context,
    host: str,
    port: int,
    data_dir: str | None,
    models: tuple[str, ...],
    max_jobs: int,
    any_port: bool,
) -> None:
    """Serve OpenAI's fine-tuning API on this machine, with real training.

    FTKIT_API_KEY holds the keys that are taken, separated by commas; each is an account of its own. FTKIT_MODELS holds pairs as of
    --model, separated by commas. Ends with Ctrl-C; jobs that run go on when the service is started again.
    """
    folder = Path(data_dir) if data_dir else data_folder(os.environ)
    context.obj = folder
    if context.invoked_subcommand:
        return
    keys = tuple(
        filter(None, (key.strip() for key in os.environ.get("FTKIT_API_KEY", "").split(",")))
    )
    if not keys and not is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached from elsewhere: set FTKIT_API_KEY to the keys that are to be taken"
        )
    missing = next((name for name in PACKAGES if find_spec(name) is None), None)
    if missing:
        raise UsageError(
            f"ftkit serve needs more packages ({missing} is missing): pip install 'ftkit[local]'"
        )
    from ftkit.server.run import run

    more = tuple(filter(None, os.environ.get("FTKIT_MODELS", "").split(",")))
    run(
        folder,
        host,
        port,
        _pairs((*more, *models)),
        keys,
        max_jobs,
        any_port,
        lambda text: click.echo(text, err=True),
    )


def _pairs(models: tuple[str, ...]) -> dict[str, str]:
    odd = next((pair for pair in models if not all(pair.partition("="))), None)
    if odd is not None:
        raise UsageError(f"--model {odd!r} is not NAME=BASE, e.g. gpt-3.5-turbo=Qwen/Qwen3-0.6B")
    return {name: _base(base) for name, _, base in (pair.partition("=") for pair in models)}


def _base(base: str) -> str:
    """A base model; that of a folder as a path which is the same wherever the process runs that loads it."""
    return str(Path(base).absolute()) if Path(base).is_dir() else base


@serve.command()
@click.pass_obj
@output_option
def status(folder: Path, output: str) -> int:
    """Say whether a service runs on this machine, and where. Exit codes: 0 it runs, 1 it does not."""
    found = find_running(folder)
    if output == "json":
        print_json(
            {
                "running": found is not None,
                "url": found.url if found else None,
                "pid": found.pid if found else None,
            }
        )
    else:
        print_text(f"running at {found.url} (process {found.pid})\n" if found else "not running\n")
    return 0 if found else 1


@serve.command()
@click.pass_obj
@output_option
def stop(folder: Path, output: str) -> None:
    """End the service on this machine. Its jobs go on when it is started again."""
    found = stop_service(folder)
    if output == "json":
        print_json({"stopped": found is not None})
    else:
        print_text(f"stopped {found.url}\n" if found else "not running\n")
