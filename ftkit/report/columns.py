"""Rows in columns, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click

from ftkit._text import printable, shorten

LEAST = 8
"""Characters that a column keeps, however narrow the terminal."""


def table(
    rows: Sequence[Sequence[str]], left: int = 1, width: int | None = None, long: Sequence[int] = ()
) -> str:
    """Rows in columns, ANSI colours not counted; the first `left` of them begin at their left, the others end at their right.

    Where they are wider than `width`, what stands in the columns `long` is cut; it has no colours.
    """
    widths = [
        max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)
    ]
    if width is not None:
        widths = fit(widths, width - 2 * len(widths), long)
    return "".join(f"  {'  '.join(_cells(row, widths, left)).rstrip()}\n" for row in rows)


def fit(widths: Sequence[int], room: int, long: Sequence[int]) -> list[int]:
    """The widths of columns that have so much room together: those that are `long` are made narrower, the first of them first."""
    fitted = list(widths)
    for index in long:
        over = sum(fitted) - room
        fitted[index] = min(fitted[index], max(fitted[index] - over, LEAST))
    return fitted


def fields(pairs: Iterable[tuple[str, str]], width: int | None = None) -> str:
    """Names and values in two columns, the values wrapped to the width; those without a value are left out."""
    known = [(name, printable(value)) for name, value in pairs if value and value != "-"]
    room = max((len(name) for name, _ in known), default=0)
    return "".join(
        wrap(value, f"  {name:<{room}}  ", " " * (room + 4), width) for name, value in known
    )


def wrap(text: str, first: str, later: str, width: int | None) -> str:
    """The text in lines of at most `width`, after `first` on the first and `later` on the others; words are kept whole."""
    if width is None:
        return f"{first}{text}\n"
    import textwrap

    lines = textwrap.wrap(
        text, max(width - len(later), LEAST), break_long_words=False, break_on_hyphens=False
    )
    return first + f"\n{later}".join(lines) + "\n"


def _cells(row: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        shown = cell if len(click.unstyle(cell)) <= width else shorten(cell, width)
        space = " " * (width - len(click.unstyle(shown)))
        yield shown + space if index < left else space + shown
