"""API keys and addresses from environment variables and the user's settings file.

`ftkit.cli.terminal.hide` replaces a key in what is printed.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ftkit.catalog import DEFAULT_PROVIDER
from ftkit.errors import UsageError, did_you_mean

NO_KEY = "none"
"""Key that is sent to an API that needs none."""


class UserSettings(Struct, frozen=True, rename="kebab", omit_defaults=True):
    """The user's settings file.

    Attributes:
        provider: Default provider, or "".
        base_url: Addresses by provider, or the address of the default provider.
        output: Default output format, or "".
        keys: API keys by provider.
    """

    provider: str = ""
    base_url: str | dict[str, Any] = {}
    output: Literal["text", "json", ""] = ""
    keys: dict[str, Any] = {}

    @property
    def addresses(self) -> dict[str, Any]:
        """Addresses by provider."""
        if isinstance(self.base_url, str):
            return {self.provider or DEFAULT_PROVIDER: self.base_url}
        return self.base_url


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
            return check_key(first_key, variable)
    path = config_file(environment)
    key = _read_private(path).keys.get(provider)
    if isinstance(key, str) and key.strip():
        return check_key(key.strip(), str(path))
    if key is None and not needed:
        return NO_KEY
    names = " or ".join(variables)
    if other_address:
        raise UsageError(
            f"no key for {other_address}: set {names} to its key, or to {NO_KEY} if it needs none"
        )
    raise UsageError(f"no key for {provider}: set {names}, or run `ftkit login {provider}`")


def find_address(provider: str, environment: Mapping[str, str]) -> str:
    """Return the provider's address in the user's settings file, or "".

    Raises:
        UsageError: The address is not a string, or other users can read the file.
    """
    path = config_file(environment)
    address = _read_private(path).addresses.get(provider, "")
    if not isinstance(address, str):
        raise UsageError(f"{path}: the address of {provider} under [base-url] must be a string")
    return address


def read_user_settings(path: Path) -> UserSettings:
    """Read the user's settings file, which need not exist.

    Raises:
        UsageError: The file cannot be read, or a key or the type of a value is invalid. The message
            quotes no values, since they may be API keys.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise UsageError(f"cannot read {path}: it is not a regular file")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return UserSettings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"cannot read {path}: {type(error).__name__}") from None
    names = UserSettings.__struct_encode_fields__
    for name in table:
        if name not in names:
            raise UsageError(f"{path} has no setting {name!r}{did_you_mean(name, names)}")
    try:
        return msgspec.convert(table, UserSettings)
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at ")[2].removeprefix("`$.").rstrip("`")
        raise UsageError(f"{path}: invalid value of {reason or 'a setting'}") from None


def _read_private(path: Path) -> UserSettings:
    """Read the user's settings file for a key or an address.

    Raises:
        UsageError: The file is invalid, or has keys or addresses and other users can read it.
    """
    settings = read_user_settings(path)
    is_shared = os.name == "posix" and bool(
        (settings.keys or settings.base_url) and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    )
    if is_shared:
        raise UsageError(
            f"{path} can be read by others; run `chmod 600 {path}`, and replace the keys in it"
        )
    return settings


def check_key(key: str, source: str) -> str:
    """Return the key if a header can hold it. Otherwise the transport's error would show it.

    Raises:
        UsageError: It has a character that keys do not have.
    """
    if not all("!" <= char <= "~" for char in key):
        raise UsageError(
            f"the key in {source} contains a space, a line break or another character "
            "that keys do not have; set it again"
        )
    return key
