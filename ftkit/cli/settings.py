"""Settings from `[tool.ftkit]` in the nearest `pyproject.toml`, and the user's own defaults.

Options and `FTKIT_*` variables take precedence over both, and the project over the user.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ftkit.dataset.object_location import is_url
from ftkit.errors import UsageError, did_you_mean

Names = str | list[str] | UnsetType
Count = Annotated[int, Meta(ge=1)] | UnsetType


class Settings(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Keys of `[tool.ftkit]`: options of `ftkit validate`, some of which other commands share.

    There is no `base-url`: a cloned repository could use it to collect the user's API keys.
    """

    format: Literal["chat", "completions", "preference", "reinforcement"] | UnsetType = UNSET
    model: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    facts: str | UnsetType = UNSET
    validation_file: str | UnsetType = UNSET
    grader: str | UnsetType = UNSET
    select: Names = UNSET
    ignore: Names = UNSET
    fail_on: Literal["error", "warning"] | UnsetType = UNSET
    max_findings: Count = UNSET
    output: Literal["text", "json", "github", "sarif", "gitlab", "junit"] | UnsetType = UNSET
    quiet: bool | UnsetType = UNSET
    workers: Count = UNSET


def read_defaults() -> dict[str, str]:
    """Return the defaults in the user's settings file by parameter name.

    Raises:
        UsageError: The file cannot be read, or a setting is invalid.
    """
    from ftkit.client.credentials import config_file, read_user_settings

    settings = read_user_settings(config_file(os.environ))
    defaults = {"provider": settings.provider, "output": settings.output}
    return {name: value for name, value in defaults.items() if value}


def default_file(name: str) -> Path | None:
    """Return the settings file that the default of a parameter comes from."""
    from ftkit.client.credentials import config_file

    is_of_project = name in read_settings(Path.cwd())
    return find_pyproject(Path.cwd()) if is_of_project else config_file(os.environ)


def find_pyproject(folder: Path) -> Path | None:
    """Return the nearest `pyproject.toml` in the folder or above it, or None."""
    candidates = (parent / "pyproject.toml" for parent in (folder, *folder.parents))
    return next((path for path in candidates if path.is_file()), None)


def settings_files() -> list[Path]:
    """Return the settings files that apply in the current folder and exist."""
    from ftkit.client.credentials import config_file

    paths = (config_file(os.environ), find_pyproject(Path.cwd()))
    return [path for path in paths if path is not None and path.exists()]


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings that apply in a folder.

    Returns:
        Values by parameter name.

    Raises:
        UsageError: The file cannot be read, or a key or the type of a value is invalid.
    """
    path = find_pyproject(folder)
    if path is None:
        return {}
    try:
        tool = tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    table = tool.get("ftkit", {}) if isinstance(tool, dict) else {}
    names = Settings.__struct_encode_fields__
    for key in table if isinstance(table, dict) else ():
        if key == "base-url":
            reason = "base-url is not allowed here, since API keys are sent to it"
            raise UsageError(f"{path}: {reason}; use FTKIT_BASE_URL or --base-url")
        if key not in names:
            suggestion = did_you_mean(key, names)
            raise UsageError(f"{path}: [tool.ftkit] has no setting {key!r}{suggestion}")
    try:
        settings = msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        reason = str(error).replace("$.", "").replace("`", "'")  # backticks would name options
        raise UsageError(f"{path}: [tool.ftkit]: {reason}") from error
    if is_url(settings.validation_file):
        reason = "validation-file must be a local file here, since your keys are sent to URLs"
        raise UsageError(f"{path}: {reason}; use --validation-file")
    values = ((name, getattr(settings, name)) for name in Settings.__struct_fields__)
    return {name: value for name, value in values if value is not UNSET}
