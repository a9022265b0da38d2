"""Checks for credentials of object storage: environment variables and instance metadata services.

obstore waits a minute for the instance metadata service on a machine that has none. So ftkit tries
to connect to it first.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ftkit.dataset.object_schemes import SCHEMES

PROBE_SECONDS = 2
"""Seconds to wait for a connection to the instance metadata service."""

GCLOUD_FILE = ".config/gcloud/application_default_credentials.json"
"""File of `gcloud auth application-default login`, in the home folder."""


def gives_credentials(scheme: str, variables: Mapping[str, str]) -> bool:
    """Return True if a variable gives credentials, or allows requests without any."""
    service = SCHEMES[scheme]
    names = (service.skip_signature, *(f"{service.prefix}{name}" for name in service.credentials))
    values = (variables.get(name, "") for name in names)
    return any(value.lower() not in ("", "0", "false") for value in values)


def lacks_credentials(scheme: str, variables: Mapping[str, str]) -> bool:
    """Return True if neither the variables nor this machine give credentials for a scheme.

    Args:
        scheme: Scheme of a URL. Web servers need no credentials.
        variables: Environment variables.
    """
    service = SCHEMES[scheme]
    if not service.metadata_service or gives_credentials(scheme, variables):
        return False
    if scheme == "gs" and (Path.home() / GCLOUD_FILE).exists():
        return False
    other = variables.get(f"{service.prefix}{service.metadata_variable}")
    try:
        address = urlsplit(other or service.metadata_service)
        host_and_port = (address.hostname or "", address.port or 80)
        with socket.create_connection(host_and_port, PROBE_SECONDS):
            return False
    except (OSError, ValueError):
        return True
