"""Settings from `[tool.ftkit]` in the nearest `pyproject.toml`. Command line and `FTKIT_*` variables go before them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ftkit.errors import UsageProblem, did_you_mean


def find_pyproject(folder: Path) -> Path | None:
    """The nearest `pyproject.toml` at or above the folder."""
    candidates = (parent / "pyproject.toml" for parent in (folder, *folder.parents))
    return next((path for path in candidates if path.is_file()), None)


def read_settings(folder: Path, known: Collection[str]) -> dict[str, Any]:
    """The settings for a folder, keys with underscores; raises `UsageProblem` for an unreadable file or an unknown key."""
    path = find_pyproject(folder)
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("ftkit", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageProblem(f"cannot read {path}: {error}") from error
    settings = {key.replace("-", "_"): value for key, value in table.items()} if isinstance(table, dict) else {}
    for key in settings:
        if key not in known:
            raise UsageProblem(f"{path}: [tool.ftkit] has no setting {key!r}{did_you_mean(key, known)}")
    return settings
