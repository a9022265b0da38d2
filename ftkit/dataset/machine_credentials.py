"""Credentials of virtual machines, which are asked for if nothing else gives any.

obstore waits a minute for them on a machine that has none, so a connection is tried first.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

PROBE_SECONDS = 2
"""Seconds to wait for a connection to the service that has the credentials."""

GCLOUD_FILE = ".config/gcloud/application_default_credentials.json"
"""File of `gcloud auth application-default login`, in the home folder."""


class _Machine(NamedTuple):
    """Service with the credentials of a virtual machine.

    Attributes:
        address: Its address.
        variable: Variable with another address.
        others: Variables that give credentials, or say that none are needed.
    """

    address: str
    variable: str
    others: tuple[str, ...]


MACHINES = {
    "s3": _Machine(
        "http://169.254.169.254",
        "AWS_METADATA_ENDPOINT",
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_SKIP_SIGNATURE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
    ),
    "gs": _Machine(
        "http://metadata.google.internal",
        "",
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_BEARER_TOKEN",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SKIP_SIGNATURE",
        ),
    ),
    "az": _Machine(
        "http://169.254.169.254",
        "",
        (
            "AZURE_CLIENT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_IDENTITY_ENDPOINT",
            "AZURE_MSI_ENDPOINT",
            "AZURE_SKIP_SIGNATURE",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_CLIENT_ID",
            "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TOKEN",
            "AZURE_STORAGE_USE_EMULATOR",
            "AZURE_USE_AZURE_CLI",
        ),
    ),
}
"""Services by scheme."""


def gives_credentials(scheme: str, variables: Mapping[str, str]) -> bool:
    """Return True if a variable gives credentials, or says that none are needed."""
    values = (variables.get(name, "") for name in MACHINES[scheme].others)
    return any(value.lower() not in ("", "0", "false") for value in values)


def lacks_credentials(scheme: str, variables: Mapping[str, str]) -> bool:
    """Return True if neither the variables nor this machine give credentials for a scheme.

    Args:
        scheme: Scheme of a URL.
        variables: Environment variables.
    """
    machine = MACHINES.get(scheme)
    if machine is None or gives_credentials(scheme, variables):
        return False
    if scheme == "gs" and (Path.home() / GCLOUD_FILE).exists():
        return False
    address = urlsplit(variables.get(machine.variable) or machine.address)
    try:
        place = (address.hostname or "", address.port or 80)
        with socket.create_connection(place, PROBE_SECONDS):
            return False
    except (OSError, ValueError):
        return True
