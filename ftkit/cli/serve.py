"""`ftkit serve`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import click
from click.core import ParameterSource as Source
from msgspec import Struct

from ftkit._local import (
    PORT,
    Running,
    dashboard_url,
    data_folder,
    find_running,
    find_services,
    is_loopback,
)
from ftkit._text import shell_join
from ftkit.cli.options import Group, Size, option, output_option, recipe_option
from ftkit.cli.output import open_url, print_json, print_line, print_note
from ftkit.cli.serve_answers import answering_servers
from ftkit.cli.serve_bases import RECOMMENDED, base_mapping, bases
from ftkit.cli.serve_check import check
from ftkit.cli.serve_runner import MAX_CLUSTER_JOBS, cluster_settings
from ftkit.cli.server_urls import read_key
from ftkit.cli.terminal import is_terminal
from ftkit.errors import UsageError, install_command
from ftkit.server.daemon import stop as stop_service
from ftkit.server.packages import PACKAGES


class Place(Struct, frozen=True):
    """Data folder of a service, and whether it is named on the command line."""

    folder: Path
    is_chosen: bool


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
@option(
    "--runner",
    metavar="ray=URL",
    help="Train on a Ray cluster, such as ray=http://HEAD:8265.  [default: this machine]",
)
@option(
    "--public-url",
    metavar="URL",
    help="Address at which the nodes of the cluster reach this service.  [default: that of --host]",
)
@recipe_option
@option(
    "--max-jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of concurrent training jobs.  [default: 1; with --runner, as many as fit]",
)
@option(
    "--max-jobs-per-key",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of concurrent training jobs of each API key.  [default: --max-jobs]",
)
@option(
    "--max-unfinished-per-key",
    type=click.IntRange(1),
    default=1_000,
    show_default=True,
    metavar="N",
    help="Maximum number of unfinished jobs of each API key.",
)
@option(
    "--shared-priorities",
    is_flag=True,
    help="Start jobs by priority across all API keys, not only within each key.",
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
@option(
    "--log-level",
    type=click.Choice(["warning", "info"]),
    help="Log level; info has a line for each request.  [default: info on a terminal, else"
    " warning]",
)
@click.option("--open", "opens", is_flag=True, help="Open the dashboard in the web browser.")
@click.option("--any-port", is_flag=True, hidden=True)
def serve(
    context: click.Context,
    host: str,
    port: int,
    data_dir: str | None,
    models: tuple[str, ...],
    preset: str | None,
    answers: tuple[str, ...],
    runner: str | None,
    public_url: str | None,
    recipes: str | None,
    max_jobs: int | None,
    max_jobs_per_key: int | None,
    max_unfinished_per_key: int,
    shared_priorities: bool,
    log_level: str | None,
    opens: bool,
    any_port: bool,
    **storage: int | None,
) -> None:
    """Serve OpenAI's fine-tuning API on this machine, with real training.

    FTKIT_API_KEY holds the accepted API keys, separated by commas. Each key is a separate account.
    With keys, only ftkit/smoke and the models of --map are loaded.
    FTKIT_MODELS holds values of --map, separated by commas, or "recommended" for --models.
    FTKIT_ANSWERS holds values of --answers, separated by commas, and FTKIT_ANSWERS_KEY the API key
    for these servers. FTKIT_RAY_TOKEN holds the token of a Ray cluster with token authentication.
    Stop the service with Ctrl-C; its jobs continue when it is started again.
    """
    folder = Path(data_dir) if data_dir else data_folder(os.environ)
    is_chosen = context.get_parameter_source("data_dir") is Source.COMMANDLINE
    context.obj = Place(folder, is_chosen)
    if context.invoked_subcommand:
        return
    keys = _split(os.environ.get("FTKIT_API_KEY", ""))
    if not keys and not is_loopback(host):
        raise UsageError(
            f"--host {host} is reachable from other machines; set FTKIT_API_KEY to the API keys to"
            " accept"
        )
    cluster = cluster_settings(runner, public_url, host, os.environ)
    missing = next((name for name in PACKAGES if find_spec(name) is None), None)
    if missing:
        raise UsageError(
            f"ftkit serve needs more packages ({missing} is missing); install them with:"
            f" {install_command('local')}"
        )
    from ftkit.cli.serve_view import live_view
    from ftkit.dashboard.app import DASHBOARD
    from ftkit.server.app import ServerSettings
    from ftkit.server.folder import Folder
    from ftkit.server.job_limits import TenantLimits
    from ftkit.server.recipes import load_recipes
    from ftkit.server.run import run
    from ftkit.server.storage import StorageLimits

    default_level = "info" if is_terminal(sys.stderr) else "warning"
    names = (*_split(os.environ.get("FTKIT_MODELS", "")), *filter(None, [preset]))
    pairs = (*(name for name in names if name != RECOMMENDED), *models)
    mapping = base_mapping(pairs, recommended=RECOMMENDED in names)
    servers = (*_split(os.environ.get("FTKIT_ANSWERS", "")), *answers)
    settings = ServerSettings(
        folder,
        mapping,
        keys,
        max_jobs or (MAX_CLUSTER_JOBS if cluster else 1),
        storage=StorageLimits(**storage),
        recipes=load_recipes(recipes),
        answers=answering_servers(servers, mapping, uses_hub=not keys),
        answers_key=read_key(os.environ, "FTKIT_ANSWERS_KEY"),
        log_requests=(log_level or default_level) == "info",
        limits=TenantLimits(max_jobs_per_key, max_unfinished_per_key),
        shared_priorities=shared_priorities,
        pages=DASHBOARD,
    )
    with live_view(Folder(folder)) as notify:
        ready = partial(_open_dashboard, folder, notify) if opens else notify
        run(settings, host, port, ready, any_port, cluster)


def _open_dashboard(folder: Path, notify: Callable[[str], None], message: str) -> None:
    """Pass on a message, and open the dashboard of the service that is ready."""

    def open_page() -> None:
        running = find_running(folder)
        if running:
            open_url(dashboard_url(running.url))

    notify(message)
    # The service has to answer meanwhile, and some browsers run until they are closed.
    Thread(target=open_page, name="browser", daemon=True).start()


def _split(text: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))


@serve.command()
@click.pass_obj
@output_option
def status(place: Place, output: str) -> int:
    """Show the running services, and how to reach them.

    With --data-dir before the command, only the service of that folder counts. Exit codes: 0 if a
    service is running, 1 if not.
    """
    services = _services(place)
    if output == "json":
        rows = [
            {"url": running.url, "pid": running.pid, "folder": str(folder)}
            for folder, running in services
        ]
        first = rows[0] if rows else {"url": None, "pid": None, "folder": None}
        print_json({"running": bool(rows), **first, "services": rows})
    for folder, running in services if output == "text" else ():
        print_line(f"running at {running.url} (process {running.pid}), data in {folder}")
        print_note(f"  Reach it with: {_reach(folder, running)}")
    if output == "text" and not services:
        print_line("not running")
    return 0 if services else 1


def _services(place: Place) -> list[tuple[Path, Running]]:
    """Return the data folders and addresses of the services that a command is about."""
    if place.is_chosen:
        running = find_running(place.folder)
        return [(place.folder, running)] if running else []
    return list(find_services(os.environ))


def _reach(folder: Path, running: Running) -> str:
    """Return a command that lists the jobs of a service."""
    address = () if folder == data_folder(os.environ).absolute() else ("--base-url", running.url)
    return shell_join(["ftkit", "jobs", "list", "--provider", "local", *address])


@serve.command()
@click.pass_obj
@output_option
def stop(place: Place, output: str) -> None:
    """Stop the running service. Its jobs continue when it is started again."""
    running = stop_service(place.folder)
    if output == "json":
        print_json({"stopped": running is not None})
        return
    print_line(f"stopped {running.url}" if running else "not running")
    for folder, other in () if running else _services(place):
        command = shell_join(["ftkit", "serve", "--data-dir", str(folder), "stop"])
        print_note(f"Another service runs at {other.url}. Stop it with: {command}")


serve.add_command(bases)
serve.add_command(check)
