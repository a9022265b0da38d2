"""Text for messages: excerpts, printable text, counts, ranges, money, times, logs."""

from __future__ import annotations

import datetime
import math
import shlex
from collections.abc import Iterable
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

EXCERPT_LENGTH = 200
"""Maximum number of characters of the user's data in a message."""

LOG_TAIL = 4000
"""Bytes at the end of a log that are searched for its last line."""

LOG_LINE_LENGTH = 300
"""Maximum number of characters of a line of a log in a message."""


def excerpt(value: Any, limit: int = EXCERPT_LENGTH) -> str:
    """Return `value` on one line, printable, cut after `limit` characters."""
    if isinstance(value, str):
        return repr(value) if len(value) <= limit else f"{value[:limit]!r}…"
    text = _as_json(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _as_json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        return f"<{type(value).__name__}>"


def is_encodable(text: str) -> bool:
    """Return False for a text with lone surrogates, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str, keep: str = "") -> str:
    """Escape every character that is not printable, so that text cannot control a terminal.

    Args:
        text: The text.
        keep: Characters to leave as they are, such as a line feed.
    """
    return "".join(
        char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text
    )


def without_nan(value: Any) -> Any:
    """Return a JSON value with null instead of infinities and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shorten(text: str, width: int) -> str:
    """Replace the middle of a text longer than `width` by …, since names differ at their ends."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def join_names(names: Iterable[str], limit: int) -> str:
    """Join names with commas, cut after `limit` characters. Takes no longer if there are more."""
    return ", ".join(name[:limit] for name in islice(names, limit))[:limit]


def common_prefix(one: str, two: str) -> str:
    """Return the longest common prefix of two texts."""
    length = 0
    for left, right in zip(one, two, strict=False):
        if left != right:
            break
        length += 1
    return one[:length]


def html_table(
    title: str, head: Iterable[str], rows: Iterable[Iterable[object]], note: str = ""
) -> str:
    """Return a table as HTML, without the table if it has no rows. All values are escaped."""

    def cell(value: object) -> str:
        return "" if value is None else escape(printable(str(value)))

    body = "".join(f"<tr><td>{'</td><td>'.join(map(cell, row))}</td></tr>" for row in rows)
    heading = "".join(f"<th>{name}</th>" for name in head)
    table = f"<table><tr>{heading}</tr>{body}</table>" if body else ""
    return f"<p>{cell(title)}</p>{table}{f'<p>{cell(note)}</p>' if note else ''}"


def money(usd: float) -> str:
    """Format US dollars in whole cents, or with four decimals below ten cents."""
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"


def plural(count: int, noun: str) -> str:
    """Format a count with its noun, such as "1 example" or "1,200 examples"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_size(size: float) -> str:
    """Format a number of bytes with a binary unit, such as "1.5 GiB"."""
    if size < 1024:
        return plural(round(size), "byte")
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:,.0f} {unit}" if size >= 100 else f"{size:.1f} {unit}"
    return f"{size / 1024:,.1f} TiB"


def ranges(numbers: Iterable[int], limit: int = 12) -> str:
    """Format numbers with consecutive ones joined, such as "3, 7-9, 12".

    Args:
        numbers: The numbers, in any order.
        limit: Maximum number of ranges; an ellipsis stands for the rest.
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:limit]]
    return ", ".join(shown) + (", …" if len(runs) > limit else "")


def format_time(time: datetime.datetime | None) -> str:
    """Format a time as UTC, to the second; "-" if it is missing."""
    return f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S}" if time else "-"


def format_minute(time: datetime.datetime | None) -> str:
    """Format a time as UTC, to the minute; "-" if it is missing."""
    return format_time(time)[:16]


def format_duration(seconds: float) -> str:
    """Format a duration in seconds with its two largest units, such as "1 h 20 min"."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def quote_argument(text: str) -> str:
    """Return an argument as a shell reads it, on one line and printable: `it's` as `'it'"'"'s'`.

    What is not printable becomes `$'...'` with octal escapes (POSIX.1-2024, bash, zsh).
    """
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped_in_shell, text))}'"


def _escaped_in_shell(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char.isprintable():
        return char
    try:
        data = char.encode("utf-8", "surrogateescape")  # a byte of a name that is not UTF-8
    except UnicodeEncodeError:
        data = char.encode("utf-8", "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in data)


def quote_path(path: str) -> str:
    """Return the path of a file as `quote_argument` does, and not as an option: `-x` as `./-x`."""
    is_option = path.startswith("-") and path != "-"
    return quote_argument(f"./{path}" if is_option else path)


def shell_join(words: Iterable[str]) -> str:
    """Return a command as a shell reads it; see `quote_argument`."""
    return " ".join(map(quote_argument, words))


def validate_command(file: str) -> str:
    """Return the command that validates a file, in backticks, for a message.

    Examples in memory, whose name is in angle brackets, need the function of that name.
    """
    return "`ftkit.validate`" if file.startswith("<") else f"`ftkit validate {quote_path(file)}`"


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank, or ""."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - LOG_TAIL, 0))
            return last_line_of(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""


def last_line_of(text: str) -> str:
    """Return the last line of a text that is not blank, or ""."""
    lines = reversed(text.splitlines())
    return next((line.strip()[:LOG_LINE_LENGTH] for line in lines if line.strip()), "")
