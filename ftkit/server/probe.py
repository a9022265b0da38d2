"""Probe of a cluster's node: `python -m ftkit.server.probe FOLDER NONCE URL [PACKAGE ...]`.

Writes what a worker on this node would have as one line of JSON, a `ProbeResult`: the version of
ftkit, the packages that are missing, and errors in using the data folder and the service.
"""

from __future__ import annotations

import secrets
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import Struct

from ftkit._private import open_private
from ftkit._version import __version__
from ftkit.errors import os_error_message

MARK = "ftkit-probe "
"""Start of the line, among other output of the cluster's."""

RESPONSE_SECONDS = 10.0
"""Maximum seconds to wait for a response of the service."""

NONCE_BYTES = 64
"""Maximum bytes that are read of the nonce, and of the response of the service."""


class ProbeResult(Struct):
    """State of a node.

    Attributes:
        version: Version of ftkit.
        missing: Packages that are not installed.
        folder_error: Reason why the data folder cannot be used, or "".
        nonce: Content of the file with the nonce, or "".
        service_error: Reason why the service cannot be reached, or "".
    """

    version: str = __version__
    missing: list[str] = []
    folder_error: str = ""
    nonce: str = ""
    service_error: str = ""


def probe(folder: Path, nonce: str, url: str, packages: list[str]) -> ProbeResult:
    """Return the state of this node.

    Args:
        folder: Folder in which files are read and written.
        nonce: Name of a file there with a random text, which the service also responds with.
        url: Address of the service, without a path.
        packages: Names of packages that a worker imports.
    """
    result = ProbeResult(missing=[name for name in packages if find_spec(name) is None])
    try:
        with (folder / nonce).open("rb") as file:
            result.nonce = file.read(NONCE_BYTES).decode("ascii", "replace")
        copy = folder / f"{nonce}-{secrets.token_hex(4)}"
        open_private(copy).close()
        copy.unlink()
    except OSError as error:
        result.folder_error = os_error_message(error)
    try:
        if _health(url) != result.nonce and result.nonce:
            result.service_error = "another server responds there"
    except urllib.error.HTTPError as error:
        error.close()
        result.service_error = f"status {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        result.service_error = os_error_message(reason if isinstance(reason, OSError) else error)
    return result


def _health(url: str) -> str:
    """Return the beginning of the service's response. Proxies are not used, as by workers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/health", timeout=RESPONSE_SECONDS) as response:
        content: bytes = response.read(NONCE_BYTES)
    return content.decode("ascii", "replace")


def main() -> None:
    """Write the state of this node to standard output."""
    folder, nonce, url, *packages = sys.argv[1:]
    result = probe(Path(folder), nonce, url, packages)
    sys.stdout.write(f"{MARK}{msgspec.json.encode(result).decode()}\n")


if __name__ == "__main__":
    main()
