"""Client, journal and model that the options of a command name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ftkit.cli.output import print_note
from ftkit.cli.terminal import hide
from ftkit.errors import UsageError

if TYPE_CHECKING:
    from ftkit.client.client import Client
    from ftkit.jobs.journal import Journal

LAST = "@last"
"""Name that stands for the model of the job that was submitted last from this machine."""


def open_client(provider: str, base_url: str | None, facts: str | None) -> Client:
    """Return a client for the options of a command, after starting the local service if needed."""
    from ftkit.catalog import find_provider, load_catalog
    from ftkit.client.connect import connect
    from ftkit.client.credentials import find_address

    catalog = load_catalog(facts)
    api = find_provider(provider, catalog).api if provider in catalog.providers else None
    if api and api.embedded and not (base_url or find_address(provider, os.environ)):
        from ftkit._local import data_folder
        from ftkit.server.daemon import find_or_start

        base_url = find_or_start(data_folder(os.environ), print_note).url
    client = connect(provider, base_url or "", catalog=catalog)
    hide(client.api_key)
    return client


def open_journal() -> Journal:
    """Return the user's journal."""
    from ftkit.jobs.journal import Journal, state_folder

    return Journal(state_folder(os.environ))


def resolve_model(client: Client, model: str) -> str:
    """Return the name of a model, which may be `LAST`.

    Raises:
        UsageError: It is `LAST`, and the last job has no model.
    """
    if model != LAST:
        return model
    job_id = open_journal().last_job_id(client.account)
    if not job_id:
        raise UsageError(
            f"{LAST}: no job has been submitted to {client.provider.title} from this machine"
        )
    job = client.job(job_id)
    if not job.fine_tuned_model:
        raise UsageError(f"{LAST}: the job {job_id} has no model; its status is {job.status}")
    return job.fine_tuned_model
