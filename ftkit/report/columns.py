"""Tables, fields and wrapped text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click

from ftkit._text import printable, shorten

MIN_WIDTH = 8
"""Minimum width of a column that is shortened, in characters."""


def table(
    rows: Sequence[Sequence[str]], left: int = 1, width: int | None = None, long: Sequence[int] = ()
) -> str:
    """Align rows in columns. ANSI colours do not count as characters.

    Args:
        rows: Rows of the same length.
        left: Number of left-aligned columns; those after them are right-aligned.
        width: Width of the terminal, or None for an unlimited width.
        long: Indices of columns without colours that are shortened to fit the width, in this order.
    """
    widths = [
        max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)
    ]
    if width is not None:
        widths = fit(widths, width - 2 * len(widths), long)
    return "".join(f"  {'  '.join(_cells(row, widths, left)).rstrip()}\n" for row in rows)


def fit(widths: Sequence[int], total: int, long: Sequence[int]) -> list[int]:
    """Return the widths of columns after narrowing the `long` ones, in order, to fit `total`."""
    fitted = list(widths)
    for index in long:
        excess = sum(fitted) - total
        fitted[index] = min(fitted[index], max(fitted[index] - excess, MIN_WIDTH))
    return fitted


def fields(pairs: Iterable[tuple[str, str]], width: int | None = None) -> str:
    """Align names and values in two columns, and wrap the values.

    Pairs whose value is empty or "-" are left out.

    Args:
        pairs: Names and values.
        width: Width of the terminal, or None for an unlimited width.
    """
    shown = [(printable(name), printable(value)) for name, value in pairs if value and value != "-"]
    longest = max((len(name) for name, _ in shown), default=0)
    indent = " " * (longest + 4)
    return "".join(wrap(value, f"  {name:<{longest}}  ", indent, width) for name, value in shown)


def wrap(text: str, first: str, later: str, width: int | None) -> str:
    """Wrap text without breaking words.

    Args:
        text: The text.
        first: Prefix of the first line.
        later: Prefix of the other lines.
        width: Width of the terminal, or None for an unlimited width.
    """
    if width is None:
        return f"{first}{text}\n"
    import textwrap

    lines = textwrap.wrap(
        text, max(width - len(later), MIN_WIDTH), break_long_words=False, break_on_hyphens=False
    )
    return first + f"\n{later}".join(lines) + "\n"


def _cells(row: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        shown = cell if len(click.unstyle(cell)) <= width else shorten(cell, width)
        padding = " " * (width - len(click.unstyle(shown)))
        yield shown + padding if index < left else padding + shown
