"""Regular expressions that strangers wrote, matched by RE2 in linear time.

The patterns of JSON Schema have the syntax of ECMA-262, of which this module translates what RE2
reads differently. RE2 has no look-arounds and no references to groups, which is why it needs no
more than linear time. JSON Schema advises against both.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2
from msgspec import Struct

MAX_MEMORY = 1 << 20
"""Bytes of memory for a pattern; one that needs more is not matched."""

CACHED = 64
"""Number of patterns that are kept."""

TOO_LARGE = ("invalid repetition size", "pattern too large")
"""Beginnings of RE2's messages about patterns that need too much memory."""

NOT_LINEAR = ("invalid perl operator", "invalid escape sequence")
"""Beginnings of RE2's messages about look-arounds and references to groups."""

SPACE = (
    r"\x{9}-\x{d}\x{20}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
    r"\x{feff}"
)
NO_SPACE = (
    r"\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}"
    r"\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff}"
)
"""Characters of ECMA-262's `\\s` (white space and line terminators), and all others."""

ANY, NONE = r"[\x{0}-\x{10ffff}]", r"[^\x{0}-\x{10ffff}]"
NO_LINE_END = r"[^\n\r\x{2028}\x{2029}]"
"""Any character, none, and what `.` stands for in ECMA-262."""

_TOKEN = re.compile(
    r"\\u\{(?P<long>[0-9A-Fa-f]{1,6})\}|\\u(?P<short>[0-9A-Fa-f]{4})|\\c(?P<control>[A-Za-z])"
    r"|\\.|\{[0-9]+(?:,[0-9]*)?\}|\[\^?\]|\[\^?|.",
    re.DOTALL,
)

_REPEAT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")

_options = re2.Options()
_options.log_errors = False
_options.max_mem = MAX_MEMORY
_options.never_capture = True


class PatternError(Exception):
    """A pattern is invalid, or RE2 cannot match it.

    Attributes:
        is_valid: True if others may be able to match it.
        reason: Reason in words that follow "the pattern".
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.is_valid = message.startswith((*TOO_LARGE, *NOT_LINEAR))
        self.reason = (
            "is too large to be matched"
            if message.startswith(TOO_LARGE)
            else "cannot be matched in linear time"
        )


class Pattern(Struct, frozen=True):
    """Compiled pattern.

    Attributes:
        regex: RE2 object.
        length: Minimum and maximum length of a text that matches.
    """

    regex: Any
    length: tuple[int, float] = (0, float("inf"))

    @property
    def size(self) -> int:
        """Number of instructions, each of which may be tried at each character of a text."""
        return int(self.regex.programsize)

    def matches(self, text: str) -> bool:
        """Return True if the pattern matches somewhere in a text."""
        shortest, longest = self.length
        return shortest <= len(text) <= longest and self.regex.search(text) is not None


@lru_cache(CACHED)
def compile_pattern(pattern: str) -> Pattern:
    """Compile a pattern.

    A repeated character that is the whole pattern, such as `^.{1,2000}$`, is matched as `^.*$` and
    by the length of the text, since RE2 repeats at most 1,000 times.

    Raises:
        PatternError: The pattern is invalid, or RE2 cannot match it.
    """
    tokens = _translate(pattern)
    if len(tokens) == 4 and tokens[0] == "^" and tokens[3] == "$":
        repeat = _REPEAT.fullmatch(tokens[2])
        if repeat and _is_character(tokens[1]):
            return Pattern(_compile(f"^{tokens[1]}*$"), _lengths(repeat))
    return Pattern(_compile("".join(tokens)))


def _compile(text: str) -> Any:
    try:
        return re2.compile(text, _options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        message = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(message) from None


def _is_character(item: str) -> bool:
    """Return True if a token stands for one character."""
    return item.startswith("[") or (item not in "^$()|*+?{}\\" and item not in (r"\b", r"\B"))


def _lengths(repeat: re.Match[str]) -> tuple[int, float]:
    shortest = int(repeat[1])
    if not repeat[2]:
        return shortest, shortest
    return shortest, int(repeat[3]) if repeat[3] else float("inf")


def _translate(pattern: str) -> list[str]:
    """Return the tokens of a pattern in the syntax of RE2; a character class is one token."""
    tokens: list[str] = []
    start: int | None = None  # index of the first token of the class that is open
    for match in _TOKEN.finditer(pattern):
        item = match[0]
        if start is not None:
            tokens.append(_translate_in_class(match))
            if item.endswith("]") and not item.startswith("\\"):
                tokens[start:] = ["".join(tokens[start:])]
                start = None
        elif item in ("[]", "[^]"):
            tokens.append(NONE if item == "[]" else ANY)
        else:
            if item.startswith("["):
                start = len(tokens)
            tokens.append(_translate_outside(match))
    return tokens


def _translate_outside(match: re.Match[str]) -> str:
    """Return a token outside of character classes in the syntax of RE2."""
    classes = {".": NO_LINE_END, r"\s": f"[{SPACE}]", r"\S": f"[{NO_SPACE}]"}
    return classes.get(match[0]) or _translate_escape(match)


def _translate_in_class(match: re.Match[str]) -> str:
    """Return a token inside a character class in the syntax of RE2.

    A bracket is escaped, since RE2 has classes such as `[[:alpha:]]`.
    """
    ranges = {r"\s": SPACE, r"\S": NO_SPACE}
    text = ranges.get(match[0]) or _translate_escape(match)
    return text.replace("[", r"\[") if match[0].startswith("[") else text


def _translate_escape(match: re.Match[str]) -> str:
    if code := match["long"] or match["short"]:
        return rf"\x{{{code}}}"
    if letter := match["control"]:
        return rf"\x{{{ord(letter) % 32:x}}}"
    return match[0]


def is_pattern(text: str) -> bool:
    """Return True if a text is a pattern, even one that RE2 cannot match."""
    try:
        compile_pattern(text)
    except PatternError as error:
        return error.is_valid
    return True
