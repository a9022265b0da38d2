"""JSON numbers that keep their digits when they are written again.

A double holds about 16 digits, so 0.1234567890123456789 would become 0.12345678901234568, and
1e-400 would become 0.0. Integers of any size are exact without this module.

A step that writes a changed row passes the line that it was read from to `exact_numbers`, works on
the value that this returns, and writes it with `encode` or `dumps`. `Row.encode` does so.
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

_CANDIDATE = re.compile(rb"[0-9](?:[0-9.]{16}|[eE][-+]?[0-9]{3})")
"""Text in each number that is not exact: 16 digits and a point, or an exponent of 3 digits.

15 digits and an exponent of 2 digits come back from a double as they were (DBL_DIG in C).
"""


class ExactNumber(float):
    """A number that no double is equal to: the nearest double, and the text of the number.

    Only `encode` and `dumps` write the text. Other encoders refuse it or write the double.
    """

    text: str
    """The number as it is in the source."""


def exact_numbers(line: bytes, value: Any) -> Any:
    """Return the value of a line with an `ExactNumber` for each number that is not exact.

    Args:
        line: A line, or any other text in JSON.
        value: The value that it was decoded to, which is returned if all of its numbers are exact.
    """
    return _decode(line) if _CANDIDATE.search(line) else value


def dumps(value: Any, **options: Any) -> str:
    """Return JSON text as `json.dumps` does, in which each `ExactNumber` has its digits.

    Args:
        value: The value.
        options: Arguments of `json.dumps`.

    Raises:
        RecursionError: The value is nested too deeply.
    """
    texts: dict[str, str] = {}
    mark = secrets.token_hex(8)  # so that no string of the value can be a placeholder

    def replace(number: ExactNumber) -> str:
        placeholder = f"{mark}:{len(texts)}"
        texts[f'"{placeholder}"'] = number.text
        return placeholder

    text = json.dumps(msgspec.to_builtins(value, enc_hook=replace), **options)
    return re.sub(f'"{mark}:[0-9]+"', lambda match: texts[match[0]], text) if texts else text


def read_float(text: str) -> float:
    """Return the number of a text with a fraction or an exponent, a float or an `ExactNumber`."""
    value = float(text)
    with suppress(InvalidOperation):  # an exponent beyond those of `Decimal`
        if Decimal(text) == Decimal(repr(value)):
            return value
    number = ExactNumber(value)
    number.text = text
    return number


def _write_number(value: Any) -> msgspec.Raw:
    if isinstance(value, ExactNumber):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


_decode = msgspec.json.Decoder(float_hook=read_float).decode

encode = msgspec.json.Encoder(enc_hook=_write_number).encode
"""Return a value as JSON, in which each `ExactNumber` has its digits."""

encode_sorted = msgspec.json.Encoder(enc_hook=_write_number, order="deterministic").encode
"""Return a value as JSON with sorted keys, the same for equal values."""
