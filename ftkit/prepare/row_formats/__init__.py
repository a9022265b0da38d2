"""Formats of rows that can be converted: each module lists its own in `FORMATS`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ftkit.errors import UnknownNameError, did_you_mean
from ftkit.prepare.row_formats.base import RowFormat


@cache
def row_formats() -> dict[str, RowFormat]:
    """Return all formats by name."""
    modules = pkgutil.iter_modules(__path__)
    names = (module.name for module in modules if not module.ispkg and module.name != "base")
    formats = (importlib.import_module(f"{__name__}.{name}").FORMATS for name in sorted(names))
    return {format.name: format for group in formats for format in group}


def find_row_format(name: str) -> RowFormat:
    """Return the format of a name.

    Raises:
        UnknownNameError: There is no such format.
    """
    formats = row_formats()
    if name not in formats:
        hint = did_you_mean(name, formats, otherwise=".")
        raise UnknownNameError(f"unknown format {name!r}{hint} Known: {', '.join(formats)}.")
    return formats[name]
