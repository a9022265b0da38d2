"""`ftkit serve`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import click

from ftkit._local import PORT, data_folder, find_running, is_loopback
from ftkit.cli.options import Group, Size, option, output_option, recipe_option
from ftkit.cli.output import print_json, print_line, print_note
from ftkit.cli.serve_answers import answering_servers, answers_key
from ftkit.cli.serve_bases import RECOMMENDED, base_mapping, bases
from ftkit.cli.serve_check import check
from ftkit.errors import UsageError, install_command
from ftkit.server.daemon import stop as stop_service

PACKAGES = (
    "starlette",
    "uvicorn",
    "python_multipart",
    "torch",
    "transformers",
    "trl",
    "peft",
    "PIL",
    "datasets",
    "accelerate",
)
"""Packages of the extra `local`. Without this check, only a training process would miss some."""


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
@option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Addresses other than loopback need FTKIT_API_KEY.",
)
@option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen on; 0 for a free port.",
)
@option(
    "--data-dir",
    metavar="DIR",
    help="Folder for files, jobs and models.  [default: the user's data directory]",
)
@click.option(
    "--map",
    "models",
    multiple=True,
    metavar="NAME=BASE",
    help="Map a model name to a model of the Hugging Face hub or to a folder. Repeatable.",
)
@click.option(
    "--models",
    "preset",
    type=click.Choice([RECOMMENDED]),
    help="Map the hosted models of OpenAI to recommended base models; see `ftkit serve bases`.",
)
@click.option(
    "--answers",
    multiple=True,
    metavar="BASE=URL",
    help="vLLM server that answers for a base model and its fine-tuned models. Repeatable.",
)
@recipe_option
@option(
    "--max-jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Maximum number of concurrent training jobs.",
)
@option(
    "--max-storage",
    "total",
    type=Size(),
    metavar="SIZE",
    help="Maximum size of all files, such as 50GB.  [default: no limit]",
)
@option(
    "--max-storage-per-key",
    "tenant",
    type=Size(),
    metavar="SIZE",
    help="Maximum size of the files of each API key.  [default: no limit]",
)
@option(
    "--min-free-space",
    "reserve",
    type=Size(),
    metavar="SIZE",
    help="Disk space to leave free.  [default: 1GiB, but at most 5 % of the disk]",
)
@click.option("--any-port", is_flag=True, hidden=True)
def serve(
    context: click.Context,
    host: str,
    port: int,
    data_dir: str | None,
    models: tuple[str, ...],
    preset: str | None,
    answers: tuple[str, ...],
    recipes: str | None,
    max_jobs: int,
    any_port: bool,
    **storage: int | None,
) -> None:
    """Serve OpenAI's fine-tuning API on this machine, with real training.

    FTKIT_API_KEY holds the accepted API keys, separated by commas. Each key is a separate account.
    With keys, only ftkit/smoke and the models of --map are loaded.
    FTKIT_MODELS holds values of --map, separated by commas, or "recommended" for --models.
    FTKIT_ANSWERS holds values of --answers, separated by commas, and FTKIT_ANSWERS_KEY the API key
    for these servers.
    Stop the service with Ctrl-C; its jobs continue when it is started again.
    """
    folder = Path(data_dir) if data_dir else data_folder(os.environ)
    context.obj = folder
    if context.invoked_subcommand:
        return
    keys = _split(os.environ.get("FTKIT_API_KEY", ""))
    if not keys and not is_loopback(host):
        raise UsageError(
            f"--host {host} is reachable from other machines; set FTKIT_API_KEY to the API keys to"
            " accept"
        )
    missing = next((name for name in PACKAGES if find_spec(name) is None), None)
    if missing:
        raise UsageError(
            f"ftkit serve needs more packages ({missing} is missing); install them with:"
            f" {install_command('local')}"
        )
    from ftkit.server.app import ServerSettings
    from ftkit.server.recipes import load_recipes
    from ftkit.server.run import run
    from ftkit.server.storage import StorageLimits

    names = (*_split(os.environ.get("FTKIT_MODELS", "")), *filter(None, [preset]))
    pairs = (*(name for name in names if name != RECOMMENDED), *models)
    mapping = base_mapping(pairs, recommended=RECOMMENDED in names)
    servers = (*_split(os.environ.get("FTKIT_ANSWERS", "")), *answers)
    settings = ServerSettings(
        folder,
        mapping,
        keys,
        max_jobs,
        storage=StorageLimits(**storage),
        recipes=load_recipes(recipes),
        answers=answering_servers(servers, mapping, uses_hub=not keys),
        answers_key=answers_key(os.environ),
    )
    run(settings, host, port, print_note, any_port)


def _split(text: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))


@serve.command()
@click.pass_obj
@output_option
def status(folder: Path, output: str) -> int:
    """Show the address of the running service. Exit codes: 0 if it is running, 1 if not."""
    running = find_running(folder)
    if output == "json":
        print_json(
            {
                "running": running is not None,
                "url": running.url if running else None,
                "pid": running.pid if running else None,
            }
        )
    elif running:
        print_line(f"running at {running.url} (process {running.pid})")
    else:
        print_line("not running")
    return 0 if running else 1


@serve.command()
@click.pass_obj
@output_option
def stop(folder: Path, output: str) -> None:
    """Stop the running service. Its jobs continue when it is started again."""
    running = stop_service(folder)
    if output == "json":
        print_json({"stopped": running is not None})
    else:
        print_line(f"stopped {running.url}" if running else "not running")


serve.add_command(bases)
serve.add_command(check)
