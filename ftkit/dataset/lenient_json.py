"""Lenient JSON reader for single lines.

`read` accepts any bytes and never raises. It decodes them, strips a byte order mark, parses as much
of the JSON as it can, and records every error and defect. The rules turn those into findings.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct

from ftkit._text import is_encodable

MAX_DEPTH = 950
"""Maximum nesting of arrays and objects, a little below the limit of Python's JSON module."""

MAX_LINE_BYTES = 64_000_000
"""Maximum bytes of a line that is read. A longer one is reported and skipped.

A few kilobytes of gzip can hold a line of any length, and checking a line takes about five times
its memory. The largest legitimate lines hold images in base64: ten of 5 MB each fit.
"""

MAX_VALUES = 500_000
"""Maximum JSON values in a line that is read. As Python objects they take up to 120 MB."""

MAX_DIGITS = 4300
"""Maximum digits of an integer, the default of `sys.set_int_max_str_digits`."""

PATH_KEY = 80
"""Maximum characters of a key in a JSON path."""

PATH_LENGTH = 2_000
"""Maximum characters of a JSON path, of which only nonsense has more."""

MAX_PLACES = 10_000
"""Maximum number of places in one line that are reported.

A report of every place of a line of 60 MB would take many times its memory.
"""

Step = str | int
"""Key or index on the way to a JSON value."""

JSON_SPACE = " \t\r\n"
VALUES_AT_ONCE = 100
_VALUE = rb'(?:[^",\[{]*+(?:"(?:[^"\\]++|\\.)*+"[^",\[{]*+)*+[,\[{])'
_VALUES = {
    number: re.compile(_VALUE + b"{%d}+" % number, re.DOTALL) for number in (VALUES_AT_ONCE, 1)
}
"""The next values of a line: what begins with a comma or an opening bracket outside a string."""
_BRACKETS = b"[]{}"
_OTHER_BYTES = bytes(set(range(256)) - set(_BRACKETS))

DefectKind = Literal["duplicate", "nonfinite", "range", "surrogate"]

SHOWN = 100
"""Characters of a key that a message may show."""

RepeatedKeys = dict[int, tuple[dict[str, Any], list[str]]]
"""Repeated keys of each object that has some, by `id`. Holding the object keeps its `id` unique."""


class Defect(Struct, frozen=True):
    """Something wrong inside a JSON value that could be parsed."""

    kind: DefectKind
    path: str
    """JSON path of the value."""
    shown: str
    """The key or value, as a message shows it."""


class Reading(Struct):
    """A line that was read. Columns count characters from 0."""

    raw: bytes
    number: int = 0
    """Line number, from 1."""
    last: bool = False
    """True for the last line of a file."""
    first: bool = False
    """True for the first line of a file."""
    text: str = ""
    """The decoded line without byte order mark and surrounding white space."""
    shift: int = 0
    """Number of characters stripped before `text`."""
    bom: bool = False
    """True if the line begins with a byte order mark."""
    utf16: bool = False
    """True if the line looks like UTF-16 or UTF-32. Nothing else is known of it then."""
    bad_byte: UnicodeDecodeError | None = None
    """The first error in decoding UTF-8. Undecodable bytes are U+FFFD in `text`."""
    is_too_large: bool = False
    """True if the line has more than `MAX_LINE_BYTES` or `MAX_VALUES`. `text` is its beginning."""
    too_deep: int = 0
    """Depth of nesting if it is more than `MAX_DEPTH`, else 0."""
    error: json.JSONDecodeError | None = None
    """The error that stopped the parser."""
    control: json.JSONDecodeError | None = None
    """The error of a raw control character in a string, which does not stop the parser."""
    extra: int = 0
    """Column of the text after the JSON value, or 0."""
    parsed: bool = False
    value: Any = None
    """The JSON value, cleaned of what cannot be encoded; None unless `parsed`."""
    defects: list[Defect] = []
    pieces: list[bytes] = []
    """Parts of the line that bare carriage returns separate, if there are several."""


class NonFinite(float):
    """NaN or an infinity, which JSON has no syntax for."""


class OutOfRange(float):
    """A number that is too large for a double, or has too many digits to be parsed."""

    digits = 0
    """Number of digits of an integer, else 0."""


def read(raw: bytes, number: int = 0, last: bool = False, first: bool = False) -> Reading:
    """Read a line.

    Args:
        raw: The line without its line feed.
        number: Line number, from 1.
        last: True for the last line of a file.
        first: True for the first line of a file.
    """
    reading = Reading(raw, number, last, first)
    if is_too_large(raw):
        reading.is_too_large = True
        reading.text = raw[:SHOWN].decode(errors="replace").strip()
        return reading
    if is_utf16(raw):
        reading.utf16 = True
        return reading
    text = _decode(reading)
    reading.bom = text.startswith("\ufeff")
    stripped = text.removeprefix("\ufeff").lstrip(JSON_SPACE)
    reading.shift = len(text) - len(stripped)
    reading.text = stripped.rstrip(JSON_SPACE)
    if reading.text:
        _parse(reading)
    return reading


def is_too_large(raw: bytes) -> bool:
    """Return True if a line has more than `MAX_LINE_BYTES` or more than `MAX_VALUES`."""
    if len(raw) <= MAX_VALUES:
        return False
    if len(raw) > MAX_LINE_BYTES:
        return True
    if sum(map(raw.count, (b",", b"[", b"{"))) <= MAX_VALUES:
        return False
    position = values = 0
    for number, pattern in _VALUES.items():
        while values <= MAX_VALUES and (match := pattern.match(raw, position)):
            position = match.end()
            values += number
    return values > MAX_VALUES


def exceeded_limit(raw: bytes) -> str:
    """Return the limit that a line exceeds that is too large, such as "64 MB"."""
    if len(raw) > MAX_LINE_BYTES:
        return f"{MAX_LINE_BYTES / 1e6:.0f} MB"
    return f"{MAX_VALUES:,} JSON values"


def is_utf16(raw: bytes) -> bool:
    """Return True if the bytes look like UTF-16 or UTF-32.

    They begin with a byte order mark, or have NULs at every second place and few elsewhere.
    """
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    even, odd, half = raw[0::2].count(0), raw[1::2].count(0), len(raw) / 2
    return half > 4 and max(even, odd) > 0.4 * half and min(even, odd) < 0.6 * half


def _decode(reading: Reading) -> str:
    try:
        return reading.raw.decode()
    except UnicodeDecodeError as error:
        reading.bad_byte = error
        return reading.raw.decode(errors="replace")


def _parse(reading: Reading) -> None:
    if nests_deeper(reading.raw, MAX_DEPTH):
        reading.too_deep = depth(reading.raw)
    else:
        _parse_json(reading, reading.text)


def depth(raw: bytes) -> int:
    """Return the depth to which arrays and objects are nested in a line."""
    unescaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(unescaped.split(b'"')[::2])
    level = deepest = 0
    for bracket in outside_strings.translate(None, _OTHER_BYTES):
        if bracket in b"[{":
            level += 1
            deepest = max(deepest, level)
        else:
            level -= 1
    return deepest


def nests_deeper(raw: bytes, limit: int) -> bool:
    """Return True if arrays and objects are nested more deeply than `limit` in a line."""
    return len(raw) > limit and raw.count(b"[") + raw.count(b"{") > limit and depth(raw) > limit


def nesting_exceeds(value: Any, limit: int) -> bool:
    """Return True if a JSON value has arrays or objects nested more deeply than `limit`."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    return bool(level)


def _parse_json(reading: Reading, text: str) -> None:
    repeated: RepeatedKeys = {}
    try:
        value, end = _decoder(repeated, strict=True).raw_decode(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Invalid control character"):
            reading.error = error
            return
        reading.control = error
        try:
            value, end = _decoder(repeated, strict=False).raw_decode(text)
        except json.JSONDecodeError as fatal:
            reading.error = fatal
            return
    if end < len(text):
        reading.extra = end
        if "\r" in text:
            content = reading.raw.removeprefix(b"\xef\xbb\xbf").strip(JSON_SPACE.encode())
            reading.pieces = re.split(rb"\r+", content)
            return
    reading.parsed = True
    reading.value = _clean(value, repeated, reading.defects)


def _decoder(repeated: RepeatedKeys, strict: bool) -> json.JSONDecoder:
    def make_object(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) < len(items):
            repeated[id(value)] = (value, _repeats(key for key, _ in items))
        return value

    return json.JSONDecoder(
        object_pairs_hook=make_object,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=NonFinite,
        strict=strict,
    )


def _repeats(keys: Iterable[str]) -> list[str]:
    """Return the keys that occur again, in the order of their second occurrence."""
    seen: set[str] = set()
    repeats: dict[str, None] = {}
    for key in keys:
        if key in seen:
            repeats[key] = None
        seen.add(key)
    return list(repeats)


def _integer(digits: str) -> int | OutOfRange:
    if len(digits) <= MAX_DIGITS:
        return int(digits)
    value = OutOfRange(math.inf)
    value.digits = len(digits)
    return value


def _float(text: str) -> float:
    value = float(text)
    return OutOfRange(value) if math.isinf(value) else value


def _clean(root: Any, repeated: RepeatedKeys, defects: list[Defect]) -> Any:
    """Record the defects of a value, and return it with what cannot be encoded replaced."""
    holder = [root]
    for steps, parent, value in walk(holder):
        if isinstance(value, dict):
            _clean_keys(value, steps, repeated, defects)
        elif isinstance(value, str):
            if not is_encodable(value):
                _note(defects, "surrogate", steps, ascii(value[:40]))
                parent[steps[-1]] = without_surrogates(value)
        elif isinstance(value, NonFinite):
            _note(defects, "nonfinite", steps, _constant(value))
            parent[steps[-1]] = None
        elif isinstance(value, OutOfRange):
            _note(defects, "range", steps, _size(value))
            parent[steps[-1]] = 0
    return holder[0]


def _clean_keys(
    value: dict[str, Any], steps: Sequence[Step], repeated: RepeatedKeys, defects: list[Defect]
) -> None:
    """Record the defects of the keys of an object, and replace keys that cannot be encoded."""
    for name in repeated[id(value)][1] if id(value) in repeated else ():
        _note(defects, "duplicate", (*steps, name), name[:SHOWN])
    for name in [name for name in value if not is_encodable(name)]:
        _note(defects, "surrogate", steps, ascii(name[:SHOWN]))
        value[without_surrogates(name)] = value.pop(name)


def _note(defects: list[Defect], kind: DefectKind, steps: Sequence[Step], shown: str) -> None:
    if len(defects) < MAX_PLACES:
        defects.append(Defect(kind, json_path(steps), shown))


def walk(holder: list[Any]) -> Iterator[tuple[list[Step], Any, Any]]:
    """Yield steps, parent and value of the only element of a list and of everything inside it.

    In document order, and iterative, since values may be nested more deeply than Python's stack
    allows. The steps, of which the first is the 0 of the list, are one list that changes. A value
    may be changed when it is yielded.
    """
    steps: list[Step] = []
    levels: list[tuple[Any, Iterator[Step]]] = [(holder, iter((0,)))]
    while levels:
        parent, keys = levels[-1]
        key = next(keys, None)
        if key is None:
            levels.pop()
            if steps:
                steps.pop()
            continue
        value = parent[key]
        steps.append(key)
        yield steps, parent, value
        if isinstance(value, dict):
            levels.append((value, iter(value)))
        elif isinstance(value, list):
            levels.append((value, iter(range(len(value)))))
        else:
            steps.pop()


def json_path(steps: Sequence[Step]) -> str:
    """Return the JSON path of the steps that `walk` yields, cut after `PATH_LENGTH` characters."""
    path = "$"
    for step in steps[1:]:
        path = f"{path}[{step}]" if isinstance(step, int) else join(path, step)
        if len(path) > PATH_LENGTH:
            return f"{path[:PATH_LENGTH]}…"
    return path


def _constant(value: NonFinite) -> str:
    return "NaN" if math.isnan(value) else str(float(value)).replace("inf", "Infinity")


def _size(value: OutOfRange) -> str:
    return f"an integer of {value.digits:,} digits" if value.digits else "a number beyond 1.8e308"


def join(path: str, key: str) -> str:
    """Return the JSON path of a key below `path`."""
    plain = len(key) <= PATH_KEY and re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII)
    return f"{path}.{key}" if plain else f"{path}[{json.dumps(key[:PATH_KEY])}]"


def without_surrogates(text: str) -> str:
    """Return the text with U+FFFD in place of each lone surrogate."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
