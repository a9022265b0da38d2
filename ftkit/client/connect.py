"""Connection to a provider by its name: address, API key, client."""

from __future__ import annotations

import gc
import math
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ftkit._text import excerpt
from ftkit.catalog import Api, Catalog, Provider, find_provider, unsupported
from ftkit.client.client import Client
from ftkit.client.credentials import config_file, find_address, find_key
from ftkit.client.transport import COMPLETION_RETRIES
from ftkit.errors import UsageError

if TYPE_CHECKING:
    import openai

MAX_TIMEOUT_SECONDS = 86_400
"""Maximum of FTKIT_TIMEOUT: a day."""

MAX_RETRIES = 100
"""Maximum of FTKIT_RETRIES."""


def connect(
    provider: str,
    base_url: str = "",
    *,
    catalog: Catalog | None = None,
    environment: Mapping[str, str] | None = None,
    client: openai.OpenAI | None = None,
) -> Client:
    """Return a client for a provider.

    Args:
        provider: Name of the provider in the catalog.
        base_url: Address of the API. Needed for providers that give each user an address of their
            own, unless it is in the user's settings file.
        catalog: Models and providers; by default those that come with ftkit.
        environment: Environment variables; by default those of the process. `FTKIT_TIMEOUT` and
            `FTKIT_RETRIES` set the response timeout and the number of retries.
        client: SDK client to use instead of a new one.

    Raises:
        UnknownNameError: There is no such provider.
        UsageError: The provider does not offer this API, or the address or the API key is missing.
    """
    variables = os.environ if environment is None else environment
    facts, api = _provider_with_api(provider, catalog)
    address = (
        base_url
        or find_address(provider, variables)
        or api.base_url
        or (_local_address(variables) if api.embedded else "")
    )
    if not address:
        raise UsageError(
            f"{facts.title} gives each user an address: set `base_url`, or write it under "
            f"[base-url] in {config_file(variables)}, e.g. {api.address}"
        )
    _check_address(address)
    retries = _retries(variables)
    sdk_client = client or _sdk_client(
        _key(provider, api, address, variables),
        address,
        is_isolated=not (api.sdk_variables and _is_at(address, api.base_url)),
        timeout=_timeout(variables),
        retries=retries,
    )
    completion_retries = COMPLETION_RETRIES if retries is None else retries
    return Client(provider, facts, api, sdk_client, completion_retries=completion_retries)


def account_of(provider: str, base_url: str = "", catalog: Catalog | None = None) -> str:
    """Return `Client.account` of a provider, without needing an API key.

    Raises `UnknownNameError` or `UsageError` like `connect`.
    """
    api = _provider_with_api(provider, catalog)[1]
    address = base_url or find_address(provider, os.environ) or api.base_url or api.address
    return f"{provider} {address.rstrip('/')}"


def is_at_own_address(client: Client) -> bool:
    """Return True if a client is at its provider's own address."""
    return client.account == f"{client.name} {client.api.base_url.rstrip('/')}"


def is_on_this_machine(address: str) -> bool:
    """Return True if the host of an address is this machine."""
    from ftkit._local import is_loopback

    return is_loopback(_host(address))


def _provider_with_api(provider: str, catalog: Catalog | None) -> tuple[Provider, Api]:
    if provider in unsupported():
        other = unsupported()[provider]
        raise UsageError(f"{other.title} is not supported: {other.why}")
    facts = find_provider(provider, catalog)
    if facts.api is None:
        raise UsageError(
            f"the API of {facts.title} is unknown; describe it under [providers.{provider}.api] "
            "in a file and pass it as `facts`"
        )
    return facts, facts.api


def _check_address(address: str) -> None:
    if not re.fullmatch(r"(?i:https?)://[^\s/]+[!-~]*", address) or not _host(address):
        raise UsageError(f"`base_url` must be a URL that starts with https://, not {address!r}")
    if "@" in address.split("/")[2]:
        raise UsageError(
            "`base_url` must not contain a user name or a password, because it is printed and "
            "stored; remove everything up to the @"
        )


def _local_address(environment: Mapping[str, str]) -> str:
    from ftkit._local import data_folder, find_running

    running = find_running(data_folder(environment))
    if running is None:
        raise UsageError(
            "no local service is running: start one with `ftkit serve`, or set `base_url`"
        )
    return running.url


def _host(address: str) -> str:
    """Return the host of an address, or "" if it has none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _key(provider: str, api: Api, address: str, environment: Mapping[str, str]) -> str:
    """Return the API key to send.

    An API on this machine, at another address than the provider's own, is assumed to need none.
    """
    is_foreign = bool(api.base_url) and address.rstrip("/") != api.base_url.rstrip("/")
    is_needed = api.key_needed and not (is_foreign and is_on_this_machine(address))
    return find_key(provider, api.keys, environment, is_needed, address if is_foreign else "")


def _is_at(address: str, base_url: str) -> bool:
    """Return True if an address is on the host of a base URL, or on a subdomain of it."""
    host, base = _host(address), _host(base_url)
    return address.lower().startswith("https:") and f".{host}".endswith(f".{base}")


def _timeout(environment: Mapping[str, str]) -> float | None:
    """Return the seconds in FTKIT_TIMEOUT, or None if it is not set.

    Raises `UsageError` if it is not a number above 0 and up to `MAX_TIMEOUT_SECONDS`.
    """
    text = environment.get("FTKIT_TIMEOUT", "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageError(
            "FTKIT_TIMEOUT must be a number of seconds above 0, up to "
            f"{MAX_TIMEOUT_SECONDS:,}, not {excerpt(text)}"
        )
    return seconds


def _retries(environment: Mapping[str, str]) -> int | None:
    """Return the number in FTKIT_RETRIES, or None if it is not set.

    Raises `UsageError` if it is not a whole number up to `MAX_RETRIES`.
    """
    text = environment.get("FTKIT_RETRIES", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > MAX_RETRIES:
        raise UsageError(
            f"FTKIT_RETRIES must be a whole number from 0 to {MAX_RETRIES}, not {excerpt(text)}"
        )
    return int(text)


def _sdk_client(
    key: str, address: str, *, is_isolated: bool, timeout: float | None, retries: int | None
) -> openai.OpenAI:
    """Return a client of the SDK.

    Raises:
        UsageError: The environment has unusable proxies or certificates.

    Importing the SDK creates many objects that all stay alive, so garbage collection in between
    would only cost time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        from ftkit.client.sdk import RETRIES, TIMEOUT, open_sdk

        return open_sdk(
            key,
            address,
            is_isolated=is_isolated,
            timeout=TIMEOUT if timeout is None else timeout,
            retries=RETRIES if retries is None else retries,
        )
    except (ImportError, ValueError, OSError) as error:
        # httpx reads these variables, and its errors do not name them.
        raise UsageError(
            "the client cannot be set up with the proxies (http_proxy, https_proxy, all_proxy) or"
            f" certificates (SSL_CERT_FILE, SSL_CERT_DIR) of the environment: {error}"
        ) from error
    finally:
        if was_enabled:
            gc.enable()
