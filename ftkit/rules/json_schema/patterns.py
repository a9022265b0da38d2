"""Regular expressions that strangers wrote, matched by RE2 in linear time.

RE2 has no look-arounds and no references to groups, which is why it needs no more than linear time.
JSON Schema advises against both.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

MAX_MEMORY = 1 << 20
"""Bytes of memory for a pattern; one that needs more is not matched."""

CACHED = 64
"""Number of patterns that are kept."""

_UNSUPPORTED = (
    "invalid perl operator",
    "invalid escape sequence",
    "invalid repetition size",
    "pattern too large",
)
"""Beginnings of RE2's messages about patterns that it cannot match, but others can."""

_UNICODE_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|.)", re.DOTALL)

_options = re2.Options()
_options.log_errors = False
_options.max_mem = MAX_MEMORY
_options.never_capture = True


class PatternError(Exception):
    """A pattern is invalid, or RE2 cannot match it.

    Attributes:
        is_valid: True if others may be able to match it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.is_valid = message.startswith(_UNSUPPORTED)


@lru_cache(CACHED)
def compile_pattern(pattern: str) -> Any:
    """Return the RE2 object of a pattern in the syntax of ECMA-262, which JSON Schema uses.

    Raises:
        PatternError: The pattern is invalid, or RE2 cannot match it.
    """
    try:
        return re2.compile(_UNICODE_ESCAPE.sub(_translate, pattern), _options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        message = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(message) from None


def _translate(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return rf"\x{{{code}}}" if code else escape[0]


def is_pattern(text: str) -> bool:
    """Return True if a text is a pattern, even one that RE2 cannot match."""
    try:
        compile_pattern(text)
    except PatternError as error:
        return error.is_valid
    return True
