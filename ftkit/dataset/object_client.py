"""Clients of object storage: settings from the environment, timeouts and retries."""

from __future__ import annotations

import os
import re
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
from ftkit.dataset.object_errors import is_panic, no_credentials, object_error, settings_error
from ftkit.dataset.object_location import HOST, Location
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

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

_ENDPOINT = re.compile(r"(?:(?![\\?#])[!-~])+")
"""Printable ASCII characters without those that no endpoint has: obstore panics about some."""

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
    except BaseException as error:
        if result.done() and error is result.exception():
            raise object_error(location, error, action) from error
        if not isinstance(error, Exception):  # Ctrl-C
            raise
        reason = f"no answer of the object storage in {seconds} s"
        raise FileError(f"cannot {action} {location.url}: {reason}; try again later") from None


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
    _check_values(scheme, variables, settings)
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
    except BaseException as error:  # obstore raises its own types, and ValueError
        if isinstance(error, Exception) or is_panic(error):
            raise settings_error(location, error) from error
        raise


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
        address = urlsplit(endpoint)
        host = address.hostname or ""
        _ = address.port  # raises if it is too large
        is_valid = bool(HOST.fullmatch(address.netloc) and _ENDPOINT.fullmatch(endpoint))
    except ValueError:
        is_valid = False
    if not endpoint.startswith(("http://", "https://")) or not is_valid:
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


def _check_values(scheme: str, variables: dict[str, str], profile: dict[str, str]) -> None:
    """Raise `FileError` if a value that becomes part of requests cannot be sent.

    A file with environment variables and line ends of Windows leaves a carriage return in them.
    """
    service = SCHEMES[scheme]
    names = (*service.credentials, *service.parameters)
    values = {
        name: variables.get(name, "")
        for name in (*service.endpoints, *(f"{service.prefix}{name}" for name in names))
    }
    values |= {f"{name!r} of the AWS profile": value for name, value in profile.items()}
    for name, value in values.items():
        is_json = value.lstrip().startswith("{")
        if not is_json and _CONTROLS.search(value):
            raise FileError(f"{name} has a control character, such as a carriage return; remove it")
    regions = ("AWS_REGION", "AWS_DEFAULT_REGION", "'region' of the AWS profile")
    for name in regions:
        if not re.fullmatch(r"[\w.-]*", values.get(name, ""), re.ASCII):
            raise FileError(f"{name} must be the name of a region, such as eu-central-1")


def _check_account(variables: dict[str, str]) -> None:
    if not variables.get("AZURE_STORAGE_ACCOUNT_NAME"):
        raise FileError("az:// URLs need an account; set AZURE_STORAGE_ACCOUNT_NAME")


def _first(variables: dict[str, str], names: tuple[str, ...]) -> str:
    return next((variables[name] for name in names if variables.get(name)), "")
