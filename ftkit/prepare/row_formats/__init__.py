"""Formats of rows that can be converted: each module lists its own in `FORMATS`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import get_args

from ftkit.errors import UnknownNameError, did_you_mean
from ftkit.prepare.row_formats.base import Group, RowFormat


@cache
def row_formats() -> dict[str, RowFormat]:
    """Return all formats by name."""
    modules = pkgutil.iter_modules(__path__)
    names = (module.name for module in modules if not module.ispkg and module.name != "base")
    formats = (importlib.import_module(f"{__name__}.{name}").FORMATS for name in sorted(names))
    return {format.name: format for group in formats for format in group}


def find_row_format(name: str, files: Iterable[str] = ()) -> RowFormat:
    """Return the format of a name.

    Args:
        name: Name of the format.
        files: Names of formats of files that are known, too.

    Raises:
        UnknownNameError: There is no such format.
    """
    formats = row_formats()
    if name not in formats:
        by_group = _by_group(formats.values()) | {"Files": sorted(files)}
        groups = (f"{group}: {', '.join(names)}" for group, names in by_group.items() if names)
        hint = did_you_mean(name, [*formats, *files], otherwise=f". Known: {'; '.join(groups)}.")
        raise UnknownNameError(f"unknown format {name!r}{hint}")
    return formats[name]


def _by_group(formats: Iterable[RowFormat]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {group: [] for group in get_args(Group)}
    for format in formats:
        groups[format.group].append(format.name)
    return {group: sorted(names) for group, names in groups.items()}
