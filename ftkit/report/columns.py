"""Rows in columns, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows in columns, ANSI colours not counted; the first `left` of them begin at their left, the others end at their right."""
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return "".join(f"  {'  '.join(_cells(row, widths, left)).rstrip()}\n" for row in rows)


def _cells(row: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        space = " " * (width - len(click.unstyle(cell)))
        yield cell + space if index < left else space + cell
