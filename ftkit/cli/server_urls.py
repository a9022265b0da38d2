"""URLs of the servers that `ftkit serve` uses, and their keys."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from ftkit.errors import UsageError


def split_url(url: str, option: str, form: str, password_advice: str = "") -> SplitResult:
    """Return the parts of a server's URL, which has no password, query or fragment.

    The URL is not in the errors, since it may have a password.

    Args:
        url: The URL.
        option: Option that has it, for errors.
        form: What the URL must look like, for errors.
        password_advice: What to do instead of writing the password in the URL.

    Raises:
        UsageError: The URL is not one of a server.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(f"{option}: the URL must be {form}")
    if parts.username is not None or parts.password is not None:
        advice = f"; {password_advice}" if password_advice else ""
        raise UsageError(f"{option}: the URL must not have a password{advice}")
    if parts.query or parts.fragment:
        raise UsageError(f"{option}: the URL must not have '?' or '#'")
    return parts


def read_key(environment: Mapping[str, str], variable: str) -> str:
    """Return the key for a server from an environment variable, or "".

    Raises:
        UsageError: A header cannot have the key.
    """
    key = environment.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{variable} must have printable ASCII characters only")
    return key
