"""Rows in columns, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

LEAST = 8
"""Characters that a column keeps, however narrow the terminal."""


def table(rows: Sequence[Sequence[str]], left: int = 1, width: int | None = None) -> str:
    """Rows in columns, ANSI colours not counted; the first `left` of them begin at their left, the others end at their right.

    Where they are wider than `width`, cells without colours are cut; the first column holds names to copy, and is kept.
    """
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)]
    if width is not None:
        widths = fit(widths, width - 2 * len(widths))
    return "".join(f"  {'  '.join(_cells(row, widths, left)).rstrip()}\n" for row in rows)


def fit(widths: Sequence[int], room: int) -> list[int]:
    """The widths of columns that have so much room together: the widest is made narrower, the first only if nothing else is."""
    fitted = list(widths)
    while sum(fitted) > room:
        widest = max(range(1, len(fitted)), key=lambda index: fitted[index], default=0)
        if fitted[widest] <= LEAST:
            break
        fitted[widest] -= 1
    return fitted


def cut(text: str, width: int) -> str:
    """The text in at most `width` characters. Its middle is left out, since names differ at their ends."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def _cells(row: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        shown = cell if len(click.unstyle(cell)) <= width else cut(cell, width)
        space = " " * (width - len(click.unstyle(shown)))
        yield shown + space if index < left else space + shown
