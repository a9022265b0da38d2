"""Where the key of a service, and an address of one's own, come from: the environment, or a file that only its owner can read.

A key is never shown or kept.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.errors import UsageError


def config_file(environment: Mapping[str, str]) -> Path:
    """The user's own settings file: `~/.config/ftkit/config.toml`, or under `XDG_CONFIG_HOME`."""
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(
        environment.get("HOME") or os.path.expanduser("~"), ".config"
    )
    return Path(home) / "ftkit" / "config.toml"


NO_KEY = "none"
"""What is sent to a service that needs no key."""


def find_key(
    provider: str,
    variables: tuple[str, ...],
    environment: Mapping[str, str],
    needed: bool = True,
    foreign: str = "",
) -> str:
    """The key for the provider: of the first variable that is set, else `[keys]` in the user's settings file.

    A variable may hold several keys, separated by commas, for a service that takes them; the first is sent. `foreign` is the
    address of a service that is not the provider's own.

    Raises `UsageError` where there is none, or where others can read the file.
    """
    for name in variables:
        found = next(
            (key.strip() for key in environment.get(name, "").split(",") if key.strip()), ""
        )
        if found:
            return _usable(found, name)
    path = config_file(environment)
    key = _table("keys", path).get(provider)
    if key is None:
        return _without(provider, variables, path, needed, foreign)
    if not isinstance(key, str) or not key.strip():
        return _without(provider, variables, path, True, foreign)
    return _usable(key.strip(), str(path))


def find_address(provider: str, environment: Mapping[str, str]) -> str:
    """The address of the provider under `[base-url]` in the user's settings file; empty where it has none."""
    path = config_file(environment)
    address = _table("base-url", path).get(provider, "")
    if not isinstance(address, str):
        raise UsageError(f"{path}: the address of {provider} under [base-url] is no text")
    return address


def _table(name: str, path: Path) -> dict[str, Any]:
    """A table of the user's settings file; raises `UsageError` where others can read the file, or nobody can."""
    if not path.exists():
        return {}
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"{path} can be read by others; run `chmod 600 {path}`, and replace the keys in it"
        )
    try:
        return dict(tomllib.loads(path.read_text("utf-8")).get(name, {}))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, TypeError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {type(error).__name__}") from None


def _without(
    provider: str, variables: tuple[str, ...], path: Path, needed: bool, foreign: str
) -> str:
    """What is sent where there is no key; raises `UsageError` where one is needed. Another's key is not asked for."""
    named = " or ".join(variables)
    if not needed:
        return NO_KEY
    if foreign:
        raise UsageError(
            f"no key for {foreign}: set {named} to the key of that service, or to {NO_KEY} if it needs none"
        )
    raise UsageError(f"no key for {provider}: set {named}, or write it under [keys] into {path}")


def _usable(key: str, where: str) -> str:
    """The key, if it can be sent; what cannot would be shown by the transport when it refuses it."""
    if not all("!" <= char <= "~" for char in key):
        raise UsageError(
            f"the key in {where} has a space, a line break or another character that no key has; set it again"
        )
    return key
