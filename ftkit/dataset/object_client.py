"""Clients of object storage: settings from the environment, timeouts and retries."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import lru_cache
from threading import Thread
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from ftkit._local import is_loopback
from ftkit.dataset.aws_profile import profile_settings
from ftkit.dataset.object_credentials import lacks_credentials
from ftkit.dataset.object_errors import no_credentials, object_error, settings_error
from ftkit.dataset.object_location import Location
from ftkit.dataset.object_schemes import SCHEMES
from ftkit.errors import FileError, install_command

RETRY_SECONDS = 60
"""Seconds after which a request is not tried again."""

MAX_RETRIES = 10
"""Maximum number of times that a request is tried again."""

SILENCE_SECONDS = 30
"""Seconds without a byte after which a connection counts as cut."""

CONNECT_SECONDS = 10
"""Seconds to wait for a connection."""

REQUEST_SECONDS = 3600
"""Seconds after which a request ends whose bytes arrive very slowly."""

_PREFIXES = tuple(service.prefix for service in SCHEMES.values())

_Items: TypeAlias = tuple[tuple[str, str], ...]

T = TypeVar("T")


def request(
    location: Location,
    call: Callable[[], T],
    action: str = "read",
    seconds: float | None = None,
) -> T:
    """Return the result of a call of obstore.

    The call runs in a thread, so that Ctrl-C need not wait until obstore gives up.

    Args:
        location: The object or folder, for error messages.
        call: The call.
        action: Verb for what is done, for error messages.
        seconds: Maximum duration of the call; None for a call that ends by itself.

    Raises:
        FileError: The call failed, or did not end in time.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=run, name="ftkit-objects", daemon=True).start()
    try:
        return result.result(seconds)
    except Exception as error:
        if not result.done():
            reason = f"the object storage sent nothing in {seconds} s"
            raise FileError(f"cannot {action} {location.url}: {reason}; try again later") from None
        raise object_error(location, error, action) from error


def open_store(location: Location) -> Any:
    """Return obstore's store for the bucket or the server of a location.

    Settings and credentials come from the variables and the profiles that the tools of each service
    read. A store is used again as long as these are the same.

    Raises:
        FileError: The package is not installed, or the settings cannot be used.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
    profile = profile_settings(variables) if location.scheme == "s3" else {}
    return _open_store(location._replace(key=""), _items(variables), _items(profile))


@lru_cache(maxsize=16)
def _open_store(location: Location, environment: _Items, profile: _Items) -> Any:
    """Return a store for the bucket or the server of a location, whose key is empty."""
    scheme, bucket = location.scheme, location.bucket
    try:
        from obstore import store
    except ImportError:
        raise FileError(
            f"{scheme}:// URLs need the package obstore; install it with "
            + install_command("remote")
        ) from None
    variables, settings = dict(environment), dict(profile)
    endpoint = settings.pop("endpoint", "") or _first(variables, SCHEMES[scheme].endpoints)
    if "access_key_id" not in settings and lacks_credentials(scheme, variables):
        raise FileError(no_credentials(location))
    if scheme == "az":
        _check_account(variables)
    options: dict[str, Any] = {
        **settings,
        "client_options": _client_options(scheme, endpoint, variables),
        "retry_config": _retry_options(),
    }
    if endpoint:  # else obstore may prefer another variable to the one that is checked here
        options["base_url" if scheme == "gs" else "endpoint"] = endpoint
    try:
        if not location.is_bucket:
            return store.HTTPStore.from_url(location.root, **options)
        kinds = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
        return kinds[scheme](bucket, **options)
    except Exception as error:  # obstore raises its own types, and ValueError
        raise settings_error(location, error) from error


def _items(values: dict[str, str]) -> _Items:
    """Return the items of a dictionary in a form that can be a key."""
    return tuple(sorted(values.items()))


def _retry_options() -> dict[str, Any]:
    return {
        "max_retries": MAX_RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }


def _client_options(scheme: str, endpoint: str, variables: dict[str, str]) -> dict[str, Any]:
    """Return the options of the HTTP client.

    Raises:
        FileError: The endpoint is not a URL, or keys would be sent to it unencrypted.
    """
    options: dict[str, Any] = {
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "read_timeout": f"{SILENCE_SECONDS}s",
        "timeout": f"{REQUEST_SECONDS}s",
    }
    if scheme in ("http", "https"):
        options["allow_http"] = scheme == "http"
    if not endpoint:
        return options
    try:
        host = urlsplit(endpoint).hostname or ""
    except ValueError:
        host = ""
    if not endpoint.startswith(("http://", "https://")) or not host:
        names = " or ".join(SCHEMES[scheme].endpoints)
        raise FileError(f"{names} must be a URL, such as https://minio.example.com")
    if endpoint.startswith("http://"):
        allow = SCHEMES[scheme].allow_http
        if not is_loopback(host) and variables.get(allow, "").lower() not in ("1", "true"):
            raise FileError(
                f"the endpoint at {host} is not encrypted; use https://, or set {allow}=true"
            )
        options["allow_http"] = True
    return options


def _check_account(variables: dict[str, str]) -> None:
    if not variables.get("AZURE_STORAGE_ACCOUNT_NAME"):
        raise FileError("az:// URLs need an account; set AZURE_STORAGE_ACCOUNT_NAME")


def _first(variables: dict[str, str], names: tuple[str, ...]) -> str:
    return next((variables[name] for name in names if variables.get(name)), "")
