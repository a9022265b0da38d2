"""Excerpts of examples for pages: conversations in which the places of findings are marked."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._text import excerpt
from ftkit.dataset.lenient_json import Reading, read
from ftkit.summary import Finding

AROUND = 2
"""Number of messages that are shown before and after a marked one."""

MARKED_LENGTH, OTHER_LENGTH = 900, 400
"""Maximum number of characters of a marked text, and of another one."""

RAW_LENGTH = 500
"""Maximum number of characters of a line that is not JSON."""

MAX_FINDINGS = 100
"""Maximum number of findings of a line that are marked."""

MAX_NOTES = 3
"""Maximum number of messages at a place."""

MAX_CALLS = 5
"""Maximum number of tool calls of a message that are shown."""

MESSAGE_LISTS = (
    ("messages",),
    ("input", "messages"),
    ("preferred_output",),
    ("non_preferred_output",),
)
"""Keys that lead to the messages of an example, in any format."""

TEXT_KEYS = ("prompt", "completion")

_EXCERPTS = re.compile(r"""(?<!\w)(?:'([^']{2,200})'|"([^"]{2,200})")""")
"""Texts in quotation marks, in a message."""


class Piece(Struct, frozen=True):
    """Part of a text."""

    text: str
    is_marked: bool = False


class Turn(Struct, frozen=True):
    """A message or another value, or a number of messages that are left out.

    Attributes:
        role: Role of a message, or the name of another value.
        pieces: The text; empty if messages are left out.
        is_code: True if the text is JSON or a raw line.
        notes: Messages of the findings at this place.
        left_out: Number of messages that are left out.
    """

    role: str = ""
    pieces: tuple[Piece, ...] = ()
    is_code: bool = False
    notes: tuple[str, ...] = ()
    left_out: int = 0


class Example(Struct, frozen=True):
    """Excerpt of a line.

    Attributes:
        line: Number of the line.
        turns: What is shown of it.
        notes: Messages of the findings on the line as a whole.
    """

    line: int
    turns: tuple[Turn, ...]
    notes: tuple[str, ...] = ()


class _Item(Struct):
    """A message or another value of a line, with its JSON path."""

    path: str
    role: str
    text: str
    is_code: bool = False


def excerpt_of(line: bytes, number: int, findings: Sequence[Finding]) -> Example:
    """Return an excerpt of a line.

    Args:
        line: The line.
        number: Its number.
        findings: Findings on it, whose places are marked.
    """
    reading = read(line, number)
    items = list(_items(reading.value)) if isinstance(reading.value, dict) else []
    if not items:
        return _raw(reading, number, findings)
    marked: dict[str, list[Finding]] = {item.path: [] for item in items}
    notes: dict[str, None] = {}
    for finding in findings[:MAX_FINDINGS]:
        place = _place(finding.path, marked) or _add_place(reading.value, finding.path, items)
        if place:
            marked.setdefault(place, []).append(finding)
        else:
            notes[finding.message] = None
    return Example(number, tuple(_turns(items, marked)), tuple(notes)[:MAX_NOTES])


def _place(path: str, places: Container[str]) -> str:
    """Return the place that a JSON path leads into: its longest beginning, or ""."""
    ends = [len(path), *(match.start() for match in re.finditer(r"[.\[]", path))]
    beginnings = (path[:end] for end in sorted(ends, reverse=True))
    return next((beginning for beginning in beginnings if beginning in places), "")


def _add_place(value: dict[str, Any], path: str, items: list[_Item]) -> str:
    """Add the key of an example, other than its messages, that a path leads into.

    Returns:
        The JSON path of the key, or "".
    """
    match = re.match(r"\$\.(\w+)", path)
    if not match or match[1] not in value:
        return ""
    items.append(_Item(match[0], match[1], _json(value[match[1]]), is_code=True))
    return match[0]


def _items(value: dict[str, Any]) -> Iterator[_Item]:
    """Yield the messages of an example, in any format, however damaged."""
    for keys in MESSAGE_LISTS:
        messages: Any = value
        for key in keys:
            messages = messages.get(key) if isinstance(messages, dict) else None
        for index, message in enumerate(messages if isinstance(messages, list) else ()):
            yield _message(f"$.{'.'.join(keys)}[{index}]", keys[0], message)
    for key in TEXT_KEYS:
        if isinstance(value.get(key), str):
            yield _Item(f"$.{key}", key, value[key])


def _message(path: str, key: str, message: Any) -> _Item:
    if not isinstance(message, dict):
        return _Item(path, "no message", _json(message), is_code=True)
    role = message.get("role")
    name = role if isinstance(role, str) else f"role {_json(role)}"
    if key in ("preferred_output", "non_preferred_output"):
        name = f"{name}, {key.replace('_', ' ')}"
    text, is_code = _content(message)
    return _Item(path, name[:80], text, is_code)


def _content(message: dict[str, Any]) -> tuple[str, bool]:
    """Return the text of a message, and True if it is JSON."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [
            part["text"]
            if isinstance(part, dict) and isinstance(part.get("text"), str)
            else excerpt(part)
            for part in content
        ]
        text = "\n".join(parts)
    elif isinstance(content, str):
        text = content
    else:
        text = ""
    calls = message.get("tool_calls")
    functions = [
        call.get("function") if isinstance(call, dict) else call
        for call in (calls if isinstance(calls, list) else ())
    ]
    functions += [message["function_call"]] if message.get("function_call") else []
    lines = [_call(function) for function in functions[:MAX_CALLS]]
    if text or lines:
        return "\n".join(filter(None, [text, *lines])), not text
    return _json(message), True


def _call(function: Any) -> str:
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        return f"{function.get('name')}({function['arguments']})"
    return _json(function)


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value)[: 8 * MARKED_LENGTH].decode(errors="ignore")
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:MARKED_LENGTH]


def _turns(items: Sequence[_Item], marked: dict[str, list[Finding]]) -> Iterator[Turn]:
    places = [index for index, item in enumerate(items) if marked[item.path]][: AROUND + 1] or [0]
    shown = {
        index
        for place in places
        for index in range(place - AROUND, place + AROUND + 1)
        if 0 <= index < len(items)
    }
    left_out = 0
    for index, item in enumerate(items):
        if index not in shown:
            left_out += 1
            continue
        if left_out:
            yield Turn(left_out=left_out)
            left_out = 0
        yield _turn(item, marked[item.path])
    if left_out:
        yield Turn(left_out=left_out)


def _turn(item: _Item, findings: Sequence[Finding]) -> Turn:
    notes = tuple(dict.fromkeys(finding.message for finding in findings))[:MAX_NOTES]
    limit = MARKED_LENGTH if findings else OTHER_LENGTH
    spans = [_find(item.text, finding) for finding in findings]
    return Turn(
        item.role,
        cut_around(item.text, next(filter(None, spans), None), limit),
        item.is_code,
        notes,
    )


def _find(text: str, finding: Finding) -> tuple[int, int] | None:
    """Return the place of the first text that a message has in quotation marks, if it is there."""
    for match in _EXCERPTS.finditer(finding.message):
        quoted = match[1] or match[2]
        start = text.find(quoted)
        if start >= 0:
            return start, start + len(quoted)
    return None


def cut_around(text: str, span: tuple[int, int] | None, limit: int) -> tuple[Piece, ...]:
    """Return a text of about `limit` characters, with a marked span and what is around it.

    Args:
        text: The text.
        span: Start and end of what is marked, or None.
        limit: Maximum number of characters.
    """
    first, end = span or (0, 0)
    start = max(min(first - limit // 3, len(text) - limit), 0) if end > limit else 0
    stop = min(start + limit, len(text))
    before, after = ("…" if start else ""), ("…" if stop < len(text) else "")
    if span is None or first >= stop:
        return (Piece(f"{before}{text[start:stop]}{after}"),)
    return tuple(
        piece
        for piece in (
            Piece(before + text[start:first]),
            Piece(text[first : min(end, stop)], is_marked=True),
            Piece(text[end:stop] + after),
        )
        if piece.text
    )


def _raw(reading: Reading, number: int, findings: Sequence[Finding]) -> Example:
    """Return an excerpt of a line without messages, as it is, with the first column marked."""
    column = next((finding.column for finding in findings if finding.column), 0)
    text = reading.raw[: 4 * max(column + RAW_LENGTH, RAW_LENGTH)].decode(errors="replace")
    span = (column - 1, column) if 0 < column <= len(text) else None
    notes = tuple(dict.fromkeys(finding.message for finding in findings))[:MAX_NOTES]
    turn = Turn("line", cut_around(text, span, RAW_LENGTH), is_code=True, notes=notes)
    return Example(number, (turn,))
