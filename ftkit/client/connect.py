"""Reaching a service by the name of its provider: its address, its key, its client."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ftkit.catalog import Api, Catalog, Provider, find_provider, unsupported
from ftkit.client.client import Client
from ftkit.client.credentials import config_file, find_address, find_key
from ftkit.errors import UsageError

if TYPE_CHECKING:
    import openai


def connect(
    provider: str,
    base_url: str = "",
    *,
    catalog: Catalog | None = None,
    environment: Mapping[str, str] | None = None,
    client: openai.OpenAI | None = None,
) -> Client:
    """The service of that name, at `base_url` if it has an address for each user or another is wanted.

    Raises `UnknownNameError` for a provider that nobody knows, `UsageError` for one that does not speak the protocol, or where the
    address or the key is missing.
    """
    variables = os.environ if environment is None else environment
    facts, api = _speaking(provider, catalog)
    address = (
        base_url
        or find_address(provider, variables)
        or api.base_url
        or (_here(variables) if api.embedded else "")
    )
    if not address:
        places = f"with --base-url (in Python base_url=), or under [base-url] in {config_file(variables)}"
        raise UsageError(
            f"{facts.title} has an address for each user: give it {places}, e.g. {api.address}"
        )
    if not re.fullmatch(r"(?i:https?)://[^\s/]+[!-~]*", address) or not _host(address):
        raise UsageError(f"--base-url {address!r} is no address; it begins with https://")
    if "@" in address.split("/")[2]:
        raise UsageError(
            "--base-url holds a name or a password, which would be shown and kept; leave out all before the @"
        )
    return Client(
        provider, facts, api, client or _client(_key(provider, api, address, variables), address)
    )


def account_of(provider: str, base_url: str = "", catalog: Catalog | None = None) -> str:
    """What the journal knows a service by; needs no key. Raises what `connect` raises for a provider of no use."""
    api = _speaking(provider, catalog)[1]
    return f"{provider} {(base_url or find_address(provider, os.environ) or api.base_url or api.address).rstrip('/')}"


def _speaking(provider: str, catalog: Catalog | None) -> tuple[Provider, Api]:
    """What is known of a provider that speaks the protocol."""
    if provider in unsupported():
        other = unsupported()[provider]
        raise UsageError(f"{other.title} is not supported: {other.why}")
    facts = find_provider(provider, catalog)
    if facts.api is None:
        raise UsageError(
            f"nothing is known of how to reach {facts.title}; add [providers.{provider}.api] with --facts"
        )
    return facts, facts.api


def _here(environment: Mapping[str, str]) -> str:
    """The address of the service that runs on this machine; raises `UsageError` where none does."""
    from ftkit._local import data_folder, find_running

    found = find_running(data_folder(environment))
    if found is None:
        raise UsageError(
            "no service runs on this machine: start one with `ftkit serve`, or give the address of one as base_url="
        )
    return found.url


def _host(address: str) -> str:
    """The host of an address; empty where it has none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _key(provider: str, api: Api, address: str, environment: Mapping[str, str]) -> str:
    """What is sent as the key; a service on this machine that is not the provider's own is taken to need none."""
    from ftkit._local import is_loopback

    foreign = bool(api.base_url) and address.rstrip("/") != api.base_url.rstrip("/")
    needed = api.key_needed and not (foreign and is_loopback(_host(address)))
    return find_key(provider, api.keys, environment, needed, address if foreign else "")


def _client(key: str, address: str) -> openai.OpenAI:
    """The SDK's client. To import it makes many objects that stay, so nothing is gained by looking for garbage on the way."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        import openai

        return openai.OpenAI(api_key=key, base_url=address, organization=None, project=None)
    finally:
        if collecting:
            gc.enable()
