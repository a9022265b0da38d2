"""Prefilter of lines: a cheap necessary condition for values that are screened for."""

from __future__ import annotations

from collections.abc import Callable

import re2

from ftkit.rules.secrets import secret

_GAP = r"(?:[^0-9]{0,3}|[^0-9]{0,2}\\u(?:00a0|202f)[^0-9]{0,2})"
"""What may be between two digits of a number."""

_NUMBERS = (
    rf"[0-9](?:{_GAP}[0-9]){{5}}",
    r"[A-Za-z]{2}[0-9]{2}(?:[^0-9A-Za-z]{0,3}[0-9A-Za-z]){11}",
    r"\\u00[2-7]",
)
"""Numbers, the start of an IBAN, and escapes of ASCII characters, which hide everything."""


def line_filter() -> Callable[[bytes], bool]:
    """Return a function that returns False for lines of JSON without any value to find."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    patterns = "|".join((*_NUMBERS, *secret.prefilter))
    search = re2.compile(patterns.encode("latin-1"), options).search
    return lambda line: search(line) is not None
