"""One line of a file, read with all the patience that the fast decoder does not have.

`read` takes any bytes and never raises: it decodes, strips a byte order mark, parses JSON as far as it goes, and keeps
everything odd that it met. What is wrong with it is for the rules to say.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal

from msgspec import Struct

MAX_DEPTH = 950
"""Nested arrays and objects that are read: a little less than Python's own JSON module can take."""

MAX_DIGITS = 4300
"""Digits of an integer that Python reads: its own limit against slow conversions, `sys.int_info.default_max_str_digits`."""

PATH_KEY = 80
"""Characters of a key that are shown in a JSON path."""

JSON_SPACE = " \t\r\n"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


class Mark(Struct, frozen=True):
    """Something odd inside a JSON value that could be read."""

    kind: Literal["duplicate", "nonfinite", "range", "surrogate"]
    path: str
    shown: str


class Reading(Struct):
    """A line, read. `number` counts from 1; `first` and `last` say that the file begins or ends with this line.

    `value` is the JSON value, cleaned of what cannot be encoded, or None with `parsed` False. `error` is the JSON error that
    stopped the reading and `control` one that did not (a raw control character); `extra` is where the text after the value
    begins. Columns count characters from 0 here, as Python's JSON module does, and `shift` is what was stripped before.
    """

    raw: bytes
    number: int = 0
    last: bool = False
    first: bool = False
    text: str = ""
    shift: int = 0
    bom: bool = False
    utf16: bool = False
    bad_byte: UnicodeDecodeError | None = None
    too_deep: int = 0
    error: json.JSONDecodeError | None = None
    control: json.JSONDecodeError | None = None
    extra: int = 0
    parsed: bool = False
    value: Any = None
    marks: list[Mark] = []
    pieces: list[bytes] = []


class NonFinite(float):
    """NaN or an infinity, spelled out."""


class OutOfRange(float):
    """A number that is too large for a double or too long to be read. `digits` is its length where it is an integer."""

    digits = 0


def read(raw: bytes, number: int = 0, last: bool = False, first: bool = False) -> Reading:
    """Read one line, without its line feed. Total: any bytes give a reading."""
    found = Reading(raw, number, last, first)
    if is_utf16(raw):
        found.utf16 = True
        return found
    text = _decode(found)
    found.bom = text.startswith("\ufeff")
    kept = text.removeprefix("\ufeff").lstrip(JSON_SPACE)
    found.shift = len(text) - len(kept)
    found.text = kept.rstrip(JSON_SPACE)
    if found.text:
        _parse(found)
    return found


def is_utf16(raw: bytes) -> bool:
    """Whether the bytes look like UTF-16 or UTF-32: a mark at the start, or NULs in every second place and few elsewhere."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    even, odd, half = raw[0::2].count(0), raw[1::2].count(0), len(raw) / 2
    return half > 4 and max(even, odd) > 0.4 * half and min(even, odd) < 0.6 * half


def _decode(found: Reading) -> str:
    try:
        return found.raw.decode()
    except UnicodeDecodeError as error:
        found.bad_byte = error
        return found.raw.decode(errors="replace")


def _parse(found: Reading) -> None:
    brackets = found.raw.count(b"[") + found.raw.count(b"{")
    found.too_deep = depth(found.raw) if brackets > MAX_DEPTH else 0
    if found.too_deep <= MAX_DEPTH:
        found.too_deep = 0
        _parse_json(found, found.text)


def depth(raw: bytes) -> int:
    """How deep the arrays and objects of the line are nested."""
    level = deepest = 0
    for token in _NESTING.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif first in b"]}":
            level -= 1
    return deepest


def _parse_json(found: Reading, text: str) -> None:
    repeated: dict[int, tuple[dict[str, Any], list[str]]] = {}
    try:
        value, end = _decoder(repeated, strict=True).raw_decode(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Invalid control character"):
            found.error = error
            return
        found.control = error
        try:
            value, end = _decoder(repeated, strict=False).raw_decode(text)
        except json.JSONDecodeError as worse:
            found.error = worse
            return
    if end < len(text):
        found.extra = end
        if "\r" in text:
            found.pieces = [piece.encode() for piece in re.split(r"\r+", text)]
            return
    found.parsed = True
    found.value = _clean(value, repeated, found.marks)


def _decoder(
    repeated: dict[int, tuple[dict[str, Any], list[str]]], strict: bool
) -> json.JSONDecoder:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            seen: set[str] = set()
            twice = [key for key, _ in items if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
            repeated[id(made)] = (made, list(dict.fromkeys(twice)))
        return made

    return json.JSONDecoder(
        object_pairs_hook=pairs,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=NonFinite,
        strict=strict,
    )


def _integer(digits: str) -> int | OutOfRange:
    if len(digits) <= MAX_DIGITS:
        return int(digits)
    value = OutOfRange(math.inf)
    value.digits = len(digits)
    return value


def _float(text: str) -> float:
    value = float(text)
    return OutOfRange(value) if math.isinf(value) else value


def _clean(
    root: Any, repeated: dict[int, tuple[dict[str, Any], list[str]]], marks: list[Mark]
) -> Any:
    """Collect what is odd in the value, and replace it by what can be encoded. Iterative: the value may be deep."""
    holder = [root]
    stack: list[tuple[Any, Any, str]] = [(holder, 0, "$")]
    while stack:
        parent, key, path = stack.pop()
        value = parent[key]
        if isinstance(value, dict):
            if id(value) in repeated:
                marks.extend(
                    Mark("duplicate", join(path, name), name) for name in repeated[id(value)][1]
                )
            for name in [name for name in value if not encodable(name)]:
                marks.append(Mark("surrogate", path, ascii(name)))
                value[without_surrogates(name)] = value.pop(name)
            stack.extend((value, name, join(path, name)) for name in reversed(value))
        elif isinstance(value, list):
            stack.extend(
                (value, index, f"{path}[{index}]") for index in reversed(range(len(value)))
            )
        elif isinstance(value, str):
            if not encodable(value):
                marks.append(Mark("surrogate", path, ascii(value[:40])))
                parent[key] = without_surrogates(value)
        elif isinstance(value, NonFinite):
            marks.append(
                Mark(
                    "nonfinite",
                    path,
                    "NaN" if math.isnan(value) else str(float(value)).replace("inf", "Infinity"),
                )
            )
            parent[key] = None
        elif isinstance(value, OutOfRange):
            shown = (
                f"an integer of {value.digits:,} digits"
                if value.digits
                else "a number beyond 1.8e308"
            )
            marks.append(Mark("range", path, shown))
            parent[key] = 0
    return holder[0]


def join(path: str, key: str) -> str:
    """The JSON path of a key below `path`."""
    plain = len(key) <= PATH_KEY and re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII)
    return f"{path}.{key}" if plain else f"{path}[{json.dumps(key[:PATH_KEY])}]"


def encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8, which lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def without_surrogates(text: str) -> str:
    """The text with U+FFFD in place of each lone surrogate."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
