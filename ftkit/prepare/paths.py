"""Places in JSON values: paths such as `$.a.b[0]`, as findings have them, and JSON pointers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ftkit._text import excerpt
from ftkit.errors import UsageError

STEP = r'\.\w+|\[[0-9]{1,9}\]|\["(?:[^"\\]|\\.)*"\]'
"""Pattern of a step of a path: a name, an index, or a key in quotes."""

Steps = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

_STEP = re.compile(STEP)
_PATH = re.compile(rf"\$(?:{STEP})*")


def parse_path(text: str, parameter: str) -> Steps:
    """Return the steps of a path that begins with `$`, or of the name of a key.

    Raises:
        UsageError: The text begins with `$`, but is not a path.
    """
    if not text.startswith("$"):
        return (text,)
    try:
        if _PATH.fullmatch(text):
            return path_steps(text)
    except ValueError:  # an escape that JSON does not have
        pass
    raise UsageError(
        f"`{parameter}` has {excerpt(text, 60)}, which is not a path; write it as in findings, "
        "such as $.a.b[0]"
    )


def path_steps(path: str) -> Steps:
    """Return the steps of a path. What follows the last whole step of a cut path is left out.

    Raises:
        ValueError: A key in quotes is not JSON.
    """
    steps = _STEP.findall(path)
    return tuple(step[1:] if step[0] == "." else json.loads(step[1:-1]) for step in steps)


def has_step(value: Any, step: str | int) -> bool:
    """Return True if an object has a key, or an array an index."""
    if isinstance(step, str):
        return isinstance(value, dict) and step in value
    return isinstance(value, list) and step < len(value)


def look_up(value: Any, steps: Steps) -> Any:
    """Return the value that steps lead to, or None if they lead nowhere."""
    for step in steps:
        if not has_step(value, step):
            return None
        value = value[step]
    return value


def child(pointer: str, key: str | int) -> str:
    """Return the JSON pointer (RFC 6901) to a value below another."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def split_pointer(pointer: str) -> tuple[int, str]:
    """Return the index of a row among those that are joined, and the JSON pointer into it.

    A pointer into a joined row begins with that index and `#`, as in `1#/text`. Any other is one
    into the first row.
    """
    if pointer[:1] in ("", "/"):
        return 0, pointer
    index, _, inner = pointer.partition("#")
    return int(index), inner


def pointer_of(steps: Iterable[str | int]) -> str:
    """Return the JSON pointer of steps."""
    pointer = ""
    for step in steps:
        pointer = child(pointer, step)
    return pointer
