"""Number formats of Excel: texts of numbers as Excel shows them, where that is exact."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal, InvalidOperation

from msgspec import Struct

EPOCH = datetime.datetime(1899, 12, 30)
"""Day 0 of dates from 1900-03-01 on: Excel counts a 29th of February in 1900."""

EPOCH_1904 = datetime.datetime(1904, 1, 1)

LEAP_DAY = 60
"""Number of the 29th of February 1900."""

MAX_SERIAL = 2_958_466
"""Number of the first day of the year 10000."""

DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
"""Numbers of the built-in formats for dates and times (ECMA-376 part 1, 18.8.30)."""

ELAPSED = frozenset((46,))
"""Numbers of the built-in formats for durations."""

BUILT_IN = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    37: "#,##0 ;(#,##0)",
    38: "#,##0 ;[Red](#,##0)",
    39: "#,##0.00;(#,##0.00)",
    40: "#,##0.00;[Red](#,##0.00)",
    48: "##0.0E+0",
    49: "@",
}
"""Codes of other built-in formats (same source). Those of the rest depend on the language."""

PRECISION = 15
"""Significant digits that Excel shows."""

_LITERALS = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
"""Parts of a number format that are no placeholders."""

_COLOR = re.compile(
    r"\[(?:black|blue|cyan|green|magenta|red|white|yellow|color ?\d+)\]", re.IGNORECASE
)
_FIXED = re.compile(r"#*(0+)(?:\.(0+))?(%?)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[Ee][+-]?[0-9]{1,3})?")


class NumberFormat(Struct, frozen=True, kw_only=True):
    """Form in which cells show a number."""

    code: str = "General"
    is_date: bool = False
    is_elapsed: bool = False
    """True for durations, such as `[h]:mm`."""
    sections: int = 1
    """Number of formats in the code: for positive and negative numbers, zero, and text."""
    digits: int = 0
    """Minimum digits in front of the point of a fixed format such as `00000`, 0 for others."""
    decimals: int = 0
    """Digits behind the point."""
    is_percent: bool = False

    @property
    def is_general(self) -> bool:
        """True if numbers are shown as they are."""
        return self.code.lower() in ("general", "@", "")


def find_format(id: str, codes: dict[str, str]) -> NumberFormat:
    """Return the format of a number, which may be one of the workbook's own.

    Args:
        id: Number of the format.
        codes: Codes of the formats of the workbook by number.
    """
    number = int(id) if id.isdecimal() and len(id) < 6 else 0
    if id not in codes and (number in DATES or number in ELAPSED):
        return NumberFormat(code="date", is_date=True, is_elapsed=number in ELAPSED)
    return parse_format(codes.get(id) or BUILT_IN.get(number, "currency"))


def parse_format(code: str) -> NumberFormat:
    """Return the format of a code such as `00000` or `yyyy-mm-dd`."""
    plain = _LITERALS.sub("", code.partition(";")[0]).lower()
    is_elapsed = "[" in plain
    if is_elapsed or ("general" not in plain and any(letter in plain for letter in "ymdhs")):
        return NumberFormat(code=code, is_date=True, is_elapsed=is_elapsed)
    sections = re.sub(r'"[^"]*"|\\.', "", code).count(";") + 1
    fixed = _FIXED.fullmatch(_COLOR.sub("", code.partition(";")[0]))
    if not fixed:
        return NumberFormat(code=code, sections=sections)
    return NumberFormat(
        code=code,
        sections=sections,
        digits=len(fixed[1]),
        decimals=len(fixed[2] or ""),
        is_percent=bool(fixed[3]),
    )


def parse_number(value: str) -> float | None:
    """Return the number of a cell, or None if it is none."""
    return float(value) if _NUMBER.fullmatch(value) else None


def number_text(value: str, number: float) -> str:
    """Return a number without a fraction of zeros, an exponent, or digits that a double lacks."""
    if re.fullmatch(r"-?[0-9]{1,15}", value):
        return value
    if number.is_integer() and abs(number) < 1e16:
        return str(int(number))
    return repr(number)


def shown_text(number: float, format: NumberFormat) -> str | None:
    """Return a number as a format shows it, or None if that is rounded or in another form.

    Args:
        number: The number.
        format: A format that is not for dates.
    """
    is_first = number > 0 or format.sections == 1 or (number == 0 and format.sections == 2)
    if not format.digits or not is_first:
        return None
    exact = Decimal(f"{number:.{PRECISION}g}") * (100 if format.is_percent else 1)
    try:
        shown = exact.quantize(Decimal(1).scaleb(-format.decimals))
    except InvalidOperation:  # too many digits
        return None
    if shown != exact:
        return None
    width = format.digits + (format.decimals + 1 if format.decimals else 0)
    sign = "-" if shown < 0 else ""
    return f"{sign}{abs(shown):0{width}f}{'%' if format.is_percent else ''}"


def date_text(number: float, format: NumberFormat, counts_from_1904: bool) -> str:
    """Return a date, a time or a duration in ISO 8601, or "" if it is out of range."""
    if not abs(number) < MAX_SERIAL:
        return ""
    milliseconds = round(number * 86_400_000)
    if format.is_elapsed:
        seconds = milliseconds // 1000
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}" if number >= 0 else ""
    if number < 0:
        return ""
    if number < 1 and not counts_from_1904:
        return _iso_time(datetime.datetime.min + datetime.timedelta(milliseconds=milliseconds))
    days = 1 if not counts_from_1904 and number < LEAP_DAY else 0
    epoch = EPOCH_1904 if counts_from_1904 else EPOCH
    try:
        moment = epoch + datetime.timedelta(days=days, milliseconds=milliseconds)
    except OverflowError:
        return ""
    date = moment.date().isoformat()
    return date if milliseconds % 86_400_000 == 0 else f"{date}T{_iso_time(moment)}"


def _iso_time(moment: datetime.datetime) -> str:
    return moment.time().isoformat("milliseconds" if moment.microsecond else "seconds")
