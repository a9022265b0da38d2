"""Settings from `[tool.ftkit]` in the nearest `pyproject.toml`. Command line and `FTKIT_*` variables go before them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ftkit.errors import UsageError, did_you_mean

Names = str | list[str] | UnsetType
Count = Annotated[int, Meta(ge=1)] | UnsetType


class Settings(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What may stand in `[tool.ftkit]`: the options of `ftkit validate`, some of which other commands share.

    Keys are written as the options are. There is no address: who wrote the file would be sent the keys of who works in its folder.
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
    output: Literal["text", "json", "github", "sarif"] | UnsetType = UNSET
    quiet: bool | UnsetType = UNSET
    workers: Count = UNSET


def find_pyproject(folder: Path) -> Path | None:
    """The nearest `pyproject.toml` at or above the folder."""
    candidates = (parent / "pyproject.toml" for parent in (folder, *folder.parents))
    return next((path for path in candidates if path.is_file()), None)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings for a folder, by the names of the options' parameters.

    Raises `UsageError` for a file that cannot be read, an unknown key or a value of the wrong type.
    """
    path = find_pyproject(folder)
    if path is None:
        return {}
    try:
        tool = tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    table = tool.get("ftkit", {}) if isinstance(tool, dict) else {}
    known = Settings.__struct_encode_fields__
    for key in table if isinstance(table, dict) else ():
        if key == "base-url":
            told = "base-url cannot stand there, since keys are sent to it"
            raise UsageError(f"{path}: {told}; set FTKIT_BASE_URL, or give --base-url")
        if key not in known:
            raise UsageError(
                f"{path}: [tool.ftkit] has no setting {key!r}{did_you_mean(key, known)}"
            )
    try:
        settings = msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: [tool.ftkit]: {str(error).replace('$.', '')}") from error
    given = ((name, getattr(settings, name)) for name in Settings.__struct_fields__)
    return {name: value for name, value in given if value is not UNSET}
