"""Client for the options of a command, and for the ids and models that the journal knows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource as Source

from ftkit._text import shell_join
from ftkit.cli.completers import LAST
from ftkit.cli.output import print_note, print_warning
from ftkit.cli.terminal import hide
from ftkit.errors import FileError, UsageError

if TYPE_CHECKING:
    from ftkit.client.client import Client
    from ftkit.client.resources import Job, RemoteFile, RemoteModel
    from ftkit.jobs.journal import Journal
    from ftkit.jobs.resource_index import Kind, Resource, ResourceIndex

    Listed = TypeVar("Listed", Job, RemoteFile, RemoteModel)

KIND_PREFIX = re.compile("ft:|[A-Za-z]+[-_]")
"""Beginning that all ids of a kind have, such as "ftjob-", "file-" or "ft:"."""

MIN_PREFIX = 4
"""Minimum number of characters after `KIND_PREFIX` of an id that was shortened."""

CONNECTION = ("provider", "base_url")
"""Parameters that choose an account. On the command line, they take precedence over the journal."""


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
    from ftkit._local import state_folder
    from ftkit.jobs.journal import Journal

    return Journal(state_folder(os.environ))


def open_client_for(
    kind: Kind,
    id: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    chosen_by: Sequence[str] = CONNECTION,
    is_exact: bool = False,
) -> tuple[Client, str]:
    """Return a client for the account that has a job, file or model, and its id.

    An account on the command line takes precedence over the journal, and the journal over the
    settings, in which an id that the journal does not know is looked up.

    Args:
        kind: "job", "file" or "model".
        id: The id, a prefix that only one id in the journal has, or `LAST`.
        provider: Option of the command, as for `open_client`.
        base_url: Option of the command.
        facts: Option of the command.
        chosen_by: Parameters that choose the account.
        is_exact: Do not expand prefixes. For commands that change or delete something: the journal
            lacks some ids, and one of them may be the prefix of another.

    Raises:
        UsageError: Several ids have the prefix, several accounts the id, nothing has been created,
            or the journal has an address that the API key was not sent to before.
    """
    context = click.get_current_context()
    is_chosen = any(context.get_parameter_source(name) is Source.COMMANDLINE for name in chosen_by)
    if id == LAST and is_chosen:
        _check_last(kind, provider, facts)
    client = open_client(provider, base_url, facts) if is_chosen else None
    resources = _look_up(kind, id, _owner(client, base_url) if client else "", is_exact)
    resource = resources[0] if resources else None
    if resource is None and id == LAST:
        raise _no_last(kind, provider if client else "")
    if resource is None:
        try:
            return client or open_client(provider, base_url, facts), id
        except UsageError as error:  # for example without a key
            if kind != "model":
                place = f"looked for it at {provider}"
                error.args = (f"the journal has no {kind} {id!r}; {place}: {error}",)
            raise
    if client is None:
        resource = _select_account(resources, facts, chosen_by)
        client = _open_account(resource, provider, base_url, facts)
    whole = _last_model(client, resource.id) if (kind, id) == ("model", LAST) else resource.id
    if whole != id:
        print_note(f"{id} is {whole}")
    return client, whole


def record_ids(client: Client, kind: Kind, ids: Iterable[str]) -> None:
    """Record in the journal that an account has these jobs, files or models, if that is possible.

    A later command needs neither a provider nor a base URL for them.
    """
    from ftkit.client.connect import is_at_own_address
    from ftkit.jobs.resource_index import ResourceIndex

    with suppress(FileError):  # for example without a folder that can be written to
        index = ResourceIndex(open_journal())
        index.record(kind, filter(None, ids), client.account)
        if not is_at_own_address(client):
            index.record_key(client.account, client.api_key)


def recording_ids(client: Client, kind: Kind, items: Iterable[Listed]) -> Iterator[Listed]:
    """Yield jobs, files or models as they arrive, and record them at the end.

    Fine-tuned models are recorded, also those of the jobs; other models are everywhere.
    """
    from ftkit.client.resources import Job, is_fine_tuned

    ids: list[str] = []
    models: list[str] = []
    try:
        for item in items:
            if kind != "model" or is_fine_tuned(item.id):
                ids.append(item.id)
            if isinstance(item, Job) and is_fine_tuned(item.fine_tuned_model):
                models.append(item.fine_tuned_model)
            yield item
    finally:
        if ids:
            record_ids(client, kind, ids)
        if models:
            record_ids(client, "model", models)


def command_line(*words: str) -> str:
    """Return a command of ftkit to print, which the user can paste into a shell."""
    context = click.get_current_context()
    facts = context.params.get("facts")
    if facts and context.get_parameter_source("facts") is Source.COMMANDLINE:
        words = (*words, "--facts", facts)
    return shell_join(["ftkit", *words])


def _check_last(kind: Kind, provider: str, facts: str | None) -> None:
    """Raise `UsageError` if nothing has been created at a provider, before it is connected to."""
    from ftkit.catalog import find_provider, load_catalog

    find_provider(provider, load_catalog(facts))
    index = _resource_index()
    if index is None or index.last("file" if kind == "file" else "job", provider) is None:
        raise _no_last(kind, provider)


def _no_last(kind: Kind, provider: str) -> UsageError:
    """Return the error for `LAST` if nothing has been created at a provider."""
    where = f" to provider {provider}" if provider else ""
    what = "file has been uploaded" if kind == "file" else "job has been submitted"
    return UsageError(f"{LAST}: no {what}{where} from this machine")


def _owner(client: Client, base_url: str | None) -> str:
    """Return the account of a client, or its provider if the address may change at each start."""
    return client.name if client.api.embedded and not base_url else client.account


def _look_up(kind: Kind, id: str, owner: str, is_exact: bool) -> list[Resource]:
    """Return the resources, one for each account, that an id, a prefix or `LAST` stands for.

    The list is empty if the journal does not know the id, and if the id is a prefix of several ids
    of an owner, whose provider may know it.

    Raises:
        UsageError: Several ids have the prefix.
    """
    index = _resource_index()
    if index is None:
        return []
    if id == LAST:
        last = index.last("file" if kind == "file" else "job", owner)
        return [last] if last else []
    resources = index.find(kind, id, owner)
    if resources or not _may_be_prefix(kind, id):
        return resources
    ids = index.expand(kind, id, owner)
    if is_exact:
        if ids:
            print_note(f"{id} is not a whole id in the journal; to use {ids[0]}, give it in full")
        return []
    if len(ids) > 1 and not owner:
        raise UsageError(
            f"{id!r} is the beginning of several {kind}s: {', '.join(ids)}; type more of it"
        )
    return index.find(kind, ids[0], owner) if len(ids) == 1 else []


def _may_be_prefix(kind: Kind, id: str) -> bool:
    """Return True if an id is long enough to be a prefix of another.

    A fine-tuned model may have the name of its base model with an ending, so the prefix of a model
    must itself be the name of a fine-tuned model.
    """
    from ftkit.client.resources import is_fine_tuned

    match = KIND_PREFIX.match(id)
    is_long = len(id) - (match.end() if match else 0) >= MIN_PREFIX
    return is_long and (kind != "model" or is_fine_tuned(id))


def _select_account(
    resources: Sequence[Resource], facts: str | None, chosen_by: Sequence[str]
) -> Resource:
    """Return the only resource, or the only one that was created from this machine.

    Any provider can list an id of another, so the last account that listed it is not preferred. A
    service on this machine may have another address at each start; the newest one counts.

    Args:
        resources: Resources with the same id, newest first.
        facts: Option of the command.
        chosen_by: Parameters that choose the account.

    Raises:
        UsageError: Several accounts have it.
    """
    from ftkit.catalog import load_catalog
    from ftkit.client.connect import is_on_this_machine

    providers = load_catalog(facts).providers
    provider, base_url = (f"--{parameter.replace('_', '-')}" for parameter in chosen_by[-2:])
    by_options: dict[str, list[Resource]] = {}
    for resource in resources:
        name, _, address = resource.account.partition(" ")
        api = providers[name].api if name in providers else None
        is_local = api and api.embedded and is_on_this_machine(address)
        place = "" if is_local else f" {base_url} {address}"
        by_options.setdefault(f"{provider} {name}{place}", []).append(resource)
    created = {
        options: same
        for options, same in by_options.items()
        if any(resource.is_created for resource in same)
    }
    candidates = created or by_options
    if len(candidates) > 1:
        options = " or ".join(candidates)
        raise UsageError(f"several accounts have {resources[0].id}; choose one with {options}")
    return next(iter(candidates.values()))[0]


def _resource_index() -> ResourceIndex | None:
    """Return the index, or None without a journal, which is only created to write to it."""
    from ftkit.jobs.journal import journal_path
    from ftkit.jobs.resource_index import ResourceIndex

    if not journal_path(os.environ).exists():
        return None
    try:
        return ResourceIndex(open_journal())
    except FileError as error:
        print_warning(str(error))
        return None


def _open_account(
    resource: Resource, provider: str, base_url: str | None, facts: str | None
) -> Client:
    """Return a client for the account that the journal names for a resource.

    Its address is one that the user gave for its provider, but perhaps with another API key, so
    only the key that was sent there before is sent there again.

    Raises:
        UsageError: The provider is unknown, or the key is another one.
    """
    from ftkit._local import find_services
    from ftkit.catalog import load_catalog
    from ftkit.client.connect import account_of, is_at_own_address, is_on_this_machine
    from ftkit.client.credentials import NO_KEY

    name, _, address = resource.account.partition(" ")
    catalog = load_catalog(facts)
    api = catalog.providers[name].api if name in catalog.providers else None
    if api is None:
        raise UsageError(
            f"{resource.id} is at {name}, which is unknown; describe it in a file and pass it as "
            "`facts`"
        )
    configured_url = base_url if name == provider else None
    if account_of(name, configured_url or "", catalog) == resource.account:
        return open_client(name, configured_url, facts)
    if api.embedded and is_on_this_machine(address):
        urls = (running.url for _, running in find_services(os.environ))
        # It may have another port since; then the service of the default data folder is meant.
        return open_client(name, next((url for url in urls if url == address), None), facts)
    client = open_client(name, address, facts)
    index = _resource_index()
    is_trusted = is_at_own_address(client) or client.api_key == NO_KEY
    if is_trusted or (index and index.has_key(client.account, client.api_key)):
        return client
    raise UsageError(
        f"{resource.id} is at {address}, where this API key of {client.provider.title} has not "
        f"been used; to send the key there, add --provider {name} --base-url {address}"
    )


def _last_model(client: Client, job_id: str) -> str:
    """Return the model of a job.

    Raises:
        UsageError: It has none.
    """
    job = client.job(job_id)
    if not job.fine_tuned_model:
        raise UsageError(f"{LAST}: the job {job_id} has no model; its status is {job.status}")
    return job.fine_tuned_model
