"""Storing of API keys and addresses in the user's settings file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

from ftkit._atomic import atomic_write
from ftkit._private import make_private_folder, open_private
from ftkit.client.credentials import read_user_settings
from ftkit.errors import FileError, UsageError, os_error_message


def store_key(path: Path, provider: str, key: str, base_url: str = "") -> None:
    """Write the API key of a provider to the user's settings file, which becomes private.

    Everything else in the file stays as it is, comments too.

    Args:
        path: The settings file; it is created if necessary.
        provider: Name of the provider.
        key: The API key.
        base_url: Address of the provider to store as well, or "".

    Raises:
        UsageError: The file is invalid, or written in a way that cannot be changed safely.
        FileError: The file cannot be written.
    """
    read_user_settings(path)
    path = Path(os.path.realpath(path))
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        text = _with_value(text, path, "keys", provider, key)
        if base_url:
            text = _with_value(text, path, "base-url", provider, base_url)
        make_private_folder(path.parent)
        with atomic_write(path, fsync=True) as temporary, open_private(temporary) as file:
            file.write(text.encode())
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error


def _with_value(text: str, path: Path, table: str, name: str, value: str) -> str:
    """Return a TOML document with a value in one of its tables.

    The document that results is parsed and compared with what it should hold.
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    line = f"{json.dumps(name)} = {json.dumps(value)}\n"
    header = re.compile(rf"\s*\[\s*{re.escape(table)}\s*\]")
    start = next((number for number, row in enumerate(lines, 1) if header.match(row)), None)
    if start is None:
        lines += [*(["\n"] if lines else []), f"[{table}]\n", line]
    else:
        rows = range(start, len(lines))
        end = next((row for row in rows if lines[row].lstrip().startswith("[")), len(lines))
        old = re.compile(rf"\s*([\"']?){re.escape(name)}\1\s*=")
        place = next((row for row in range(start, end) if old.match(lines[row])), None)
        lines[start if place is None else place : start if place is None else place + 1] = [line]
    changed, expected = "".join(lines), tomllib.loads(text)
    try:
        expected.setdefault(table, {})[name] = value
        if tomllib.loads(changed) == expected:
            return changed
    except (tomllib.TOMLDecodeError, TypeError):  # for example, a table in one line
        pass
    raise UsageError(
        f"{path} cannot be changed safely; write `{table}` in it as a table, [{table}], with one "
        "line for each provider"
    )
