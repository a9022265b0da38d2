"""API keys and addresses from environment variables and the user's settings file.

A key is never stored, and `ftkit.cli.terminal.hide` replaces it in what is printed.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.errors import UsageError

NO_KEY = "none"
"""Key that is sent to an API that needs none."""


def config_file(environment: Mapping[str, str]) -> Path:
    """Return the path of the user's settings file, which need not exist.

    It is `~/.config/ftkit/config.toml`, or below `XDG_CONFIG_HOME` if that is set.
    """
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(
        environment.get("HOME") or os.path.expanduser("~"), ".config"
    )
    return Path(home) / "ftkit" / "config.toml"


def find_key(
    provider: str,
    variables: tuple[str, ...],
    environment: Mapping[str, str],
    needed: bool = True,
    other_address: str = "",
) -> str:
    """Return the API key for a provider.

    It comes from the first variable that is set, or from `[keys]` in the user's settings file.

    Args:
        provider: Name of the provider.
        variables: Environment variables that may hold the key. One may hold several keys,
            separated by commas; the first is used.
        environment: Values of environment variables.
        needed: False to return `NO_KEY` if there is no key.
        other_address: Address of the API if it is not the provider's own, for error messages.

    Raises:
        UsageError: There is no key but one is needed, the key cannot be sent in a header, or
            other users can read the settings file.
    """
    for variable in variables:
        keys = (key.strip() for key in environment.get(variable, "").split(","))
        first_key = next(filter(None, keys), "")
        if first_key:
            return _check_key(first_key, variable)
    path = config_file(environment)
    key = _read_table("keys", path).get(provider)
    if isinstance(key, str) and key.strip():
        return _check_key(key.strip(), str(path))
    if key is None and not needed:
        return NO_KEY
    names = " or ".join(variables)
    if other_address:
        raise UsageError(
            f"no key for {other_address}: set {names} to its key, or to {NO_KEY} if it needs none"
        )
    raise UsageError(f"no key for {provider}: set {names}, or add it under [keys] in {path}")


def find_address(provider: str, environment: Mapping[str, str]) -> str:
    """Return the provider's address under `[base-url]` in the user's settings file, or "".

    Raises:
        UsageError: The address is not a string, or other users can read the file.
    """
    path = config_file(environment)
    address = _read_table("base-url", path).get(provider, "")
    if not isinstance(address, str):
        raise UsageError(f"{path}: the address of {provider} under [base-url] must be a string")
    return address


def _read_table(name: str, path: Path) -> dict[str, Any]:
    """Return a table of the user's settings file, or {} without file or table.

    Raises:
        UsageError: The file is invalid, or other users can read it.
    """
    if not path.exists():
        return {}
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"{path} can be read by others; run `chmod 600 {path}`, and replace the keys in it"
        )
    try:
        return dict(tomllib.loads(path.read_text("utf-8")).get(name, {}))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, TypeError, ValueError) as error:
        # The message of the error may quote a key.
        raise UsageError(f"cannot read {path}: {type(error).__name__}") from None


def _check_key(key: str, source: str) -> str:
    """Return the key if a header can hold it. Otherwise the transport's error would show it."""
    if not all("!" <= char <= "~" for char in key):
        raise UsageError(
            f"the key in {source} contains a space, a line break or another character "
            "that keys do not have; set it again"
        )
    return key
