"""Profiles of AWS's shared configuration files, which obstore does not read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from configparser import ConfigParser, Error
from pathlib import Path

from ftkit._text import quote_argument
from ftkit.dataset.object_credentials import gives_credentials
from ftkit.dataset.object_schemes import SCHEMES
from ftkit.errors import FileError

KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
"""Keys of a profile, and obstore's names for them."""


def profile_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the profile for obstore: region, endpoint and keys.

    What the environment sets is left out. Without a profile the settings are empty, and obstore
    asks the virtual machine for credentials.

    Args:
        variables: The environment variables that begin with `AWS_`.

    Raises:
        FileError: A file cannot be read, the profile does not exist, or its credentials come from
            a login or another program.
    """
    if bool(variables.get("AWS_ACCESS_KEY_ID")) != bool(variables.get("AWS_SECRET_ACCESS_KEY")):
        raise FileError(
            "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set; set both or none"
        )
    name = variables.get("AWS_PROFILE") or variables.get("AWS_DEFAULT_PROFILE") or "default"
    profile = _read(variables, name)
    settings: dict[str, str] = {}
    if "region" in profile and not _is_set(variables, ("AWS_REGION", "AWS_DEFAULT_REGION")):
        settings["region"] = profile["region"]
    if "endpoint_url" in profile and not _is_set(variables, SCHEMES["s3"].endpoints):
        settings["endpoint"] = profile["endpoint_url"]
    if gives_credentials("s3", variables):
        return settings
    if "aws_access_key_id" in profile and "aws_secret_access_key" in profile:
        return settings | {KEYS[key]: profile[key] for key in KEYS if key in profile}
    is_requested = _is_set(variables, ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"))
    if is_requested and not profile:
        raise FileError(f"there is no AWS profile {name!r}; check AWS_PROFILE")
    if is_requested or any(key.startswith(("sso_", "role_", "credential_")) for key in profile):
        command = f"aws configure export-credentials --profile {quote_argument(name)} --format env"
        raise FileError(
            f"the AWS profile {name!r} has no keys of its own; export those of its login with: "
            f'eval "$({command})"'
        )
    return settings


def _is_set(variables: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return any(variables.get(name) for name in names)


def _read(variables: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the settings of a profile in both files; those in the file of credentials win."""
    home = Path.home() / ".aws"
    files = (
        (variables.get("AWS_CONFIG_FILE") or home / "config", f"profile {name}"),
        (variables.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials", name),
    )
    profile: dict[str, str] = {}
    for file, section in files:
        path = os.path.expanduser(file)
        parser = ConfigParser(interpolation=None, strict=False, default_section="")
        try:
            parser.read(path, "utf-8")
        except (Error, OSError, UnicodeDecodeError):
            raise FileError(f"cannot read the AWS profiles in {path}; check its lines") from None
        for title in dict.fromkeys((section, name) if name == "default" else (section,)):
            if parser.has_section(title):
                profile.update(parser[title])
    return profile
