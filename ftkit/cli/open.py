"""`ftkit open`."""

from __future__ import annotations

import os
from http.client import UNAUTHORIZED
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from ftkit._local import dashboard_url, data_folder, find_services
from ftkit._text import shell_join
from ftkit.cli.connection import open_client, open_client_for
from ftkit.cli.options import Configured, output_option
from ftkit.cli.output import open_url, print_json, print_line, print_note
from ftkit.errors import ProviderError, UsageError

if TYPE_CHECKING:
    from ftkit.jobs.resource_index import Kind

LOCAL = "local"
"""Provider whose jobs the dashboard shows."""

PAGES = {"job": "jobs/{id}", "file": "files/{id}", "model": "playground?model={id}"}
"""Pages of the dashboard by what they show, below its address."""


@click.command(cls=Configured)
@click.argument("id", required=False)
@click.option("--base-url", metavar="URL", help="Base URL of the service's API.")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@output_option
def open(id: str | None, base_url: str | None, no_browser: bool, output: str) -> None:
    """Open the dashboard of the local service in the web browser.

    ID is a job, or @last: the job that was submitted last from this machine; or a file, or a model
    to talk to. Without ID, all jobs are shown. A service is started if none runs.
    """
    kind = _kind_of(id or "")
    if id is None:
        address, path = _find_service(base_url), ""
    else:
        address, id = _find_resource(kind, id, base_url)
        path = PAGES[kind].format(id=quote(id, safe=""))
    url = dashboard_url(address, path)
    if output == "json":
        print_json({"url": url})
    else:
        print_line(url)
    if not no_browser:
        open_url(url)


def _kind_of(id: str) -> Kind:
    """Return the kind of what an id names: files and models have their own prefixes."""
    if id.startswith("file-"):
        return "file"
    return "model" if id.startswith("ft:") else "job"


def _find_service(base_url: str | None) -> str:
    """Return the address of the service, after starting one in the background if none runs.

    Raises:
        UsageError: The address is invalid, or several services run, none of them in the default
            data folder.
    """
    from ftkit.client.credentials import find_address
    from ftkit.server.daemon import find_or_start

    address = base_url or find_address(LOCAL, os.environ)
    if address:
        return open_client(LOCAL, address, None).address
    default = data_folder(os.environ).absolute()
    services = dict(find_services(os.environ))
    if len(services) > 1 and default not in services:
        urls = sorted(running.url for running in services.values())
        raise UsageError(f"several services run; choose one with --base-url {' or '.join(urls)}")
    running = services.get(default) or next(iter(services.values()), None)
    return (running or find_or_start(default, print_note)).url


def _find_resource(kind: Kind, id: str, base_url: str | None) -> tuple[str, str]:
    """Return the address of the service that has a job, file or model, and the id in full.

    Raises:
        UsageError: A hosted provider has it.
        NotFoundError: The service does not have it.
    """
    client, id = open_client_for(kind, id, LOCAL, base_url, None)
    if not client.api.embedded:
        command = shell_join(["ftkit", "jobs", "open", id])
        hint = f"; show it with: {command}" if kind == "job" else ""
        raise UsageError(f"{id} is at {client.provider.title}, not at the local service{hint}")
    try:
        {"job": client.job, "file": client.file, "model": client.model}[kind](id)
    except ProviderError as error:
        if error.status != UNAUTHORIZED:  # the login asks for the API key
            raise
    return client.address, id
