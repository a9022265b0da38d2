"""Tables, fields and wrapped text for a terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import click

from ftkit._text import printable

MIN_WIDTH = 8
"""Minimum width of wrapped text, in characters."""

GAP = "  "
"""Space before each column."""

STACKED_INDENT = " " * 4
"""Indent of the values of a stacked row."""


def display_width(text: str) -> int:
    """Return the number of terminal columns that a text takes, without its ANSI colours."""
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    return sum(map(_char_width, plain))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def table(rows: Sequence[Sequence[str]], left: int = 1, width: int | None = None) -> str:
    """Align rows in columns.

    If the table is wider than the terminal, columns without values are left out. If it is still
    too wide, the rows are stacked below the title of the first column: the first cell on a line of
    its own, and below it the others with their titles. No cell is ever cut.

    Args:
        rows: Rows of the same length; the first one has the titles.
        left: Number of left-aligned columns; those after them are right-aligned.
        width: Width of the terminal, or None for an unlimited width.
    """
    columns = list(zip(*rows, strict=True))
    lefts = [index < left for index in range(len(columns))]
    if width is not None and not fits(columns, width):
        filled = [index for index, cells in enumerate(columns) if not index or _has_values(cells)]
        columns, lefts = [columns[index] for index in filled], [lefts[index] for index in filled]
        if not fits(columns, width):
            return _stacked(list(zip(*columns, strict=True)), width)
    padded = list(map(_pad, columns, lefts))
    return "".join(f"{GAP}{GAP.join(row).rstrip()}\n" for row in zip(*padded, strict=True))


def fits(columns: Iterable[Sequence[str]], width: int) -> bool:
    """Return True if the columns of a table are no wider than the terminal."""
    return sum(len(GAP) + max(map(display_width, column)) for column in columns) <= width


def _has_values(column: Sequence[str]) -> bool:
    return not set(column[1:]) <= {"-", ""}


def _pad(column: Sequence[str], to_left: bool) -> list[str]:
    """Return the cells of a column with the same width."""
    width = max(map(display_width, column))
    spaces = [" " * (width - display_width(cell)) for cell in column]
    cells = zip(column, spaces, strict=True)
    return [cell + space if to_left else space + cell for cell, space in cells]


def _stacked(rows: Sequence[Sequence[str]], width: int) -> str:
    """Return rows as blocks: the first cell, and below it the others with their titles."""
    heading, *titles = rows[0]
    blocks = [f"{GAP}{name}\n{_flow(_titled(titles, cells), width)}" for name, *cells in rows[1:]]
    return "".join([f"{GAP}{heading}:\n" if heading else "", *blocks])


def _titled(titles: Sequence[str], cells: Sequence[str]) -> Iterator[str]:
    """Yield the cells that have a value, with their titles and without the space that aligns."""
    for title, cell in zip(titles, map(str.strip, cells), strict=True):
        if cell not in ("-", ""):
            yield f"{title} {cell}"


def _flow(items: Iterable[str], width: int) -> str:
    """Return items side by side, on as many lines as needed; an item is broken only at spaces."""
    room = width - len(STACKED_INDENT)
    lines: list[str] = []
    for item in items:
        joined = f"{lines[-1]} · {item}" if lines else item
        if lines and display_width(joined) <= room:
            lines[-1] = joined
        else:
            lines.append(item)
    return "".join(
        wrap(
            line,
            STACKED_INDENT,
            STACKED_INDENT + GAP,
            width if display_width(line) > room else None,
        )
        for line in lines
    )


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


def wrap(text: str, first: str, later: str, width: int | None, dim: bool = False) -> str:
    """Wrap text without breaking words. A text with ANSI colours is wrapped only if it is longer.

    Args:
        text: The text.
        first: Prefix of the first line.
        later: Prefix of the other lines, no narrower than that of the first.
        width: Width of the terminal, or None for an unlimited width.
        dim: Dim the text, but not the prefixes.
    """
    lines = [text]
    if width is not None and display_width(text) + len(later) > width:
        room = max(width - len(later), MIN_WIDTH)
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    if dim:
        lines = [click.style(line, dim=True) for line in lines]
    return first + f"\n{later}".join(lines) + "\n"


def wrap_paragraphs(text: str, width: int | None) -> str:
    """Wrap paragraphs, which empty lines separate. With an unlimited width, lines stay as they are.

    Args:
        text: The paragraphs, with line breaks.
        width: Width of the terminal, or None for an unlimited width.
    """
    if width is None:
        return f"{text}\n"
    paragraphs = [paragraph.replace("\n", " ") for paragraph in text.split("\n\n")]
    return "\n".join(wrap(paragraph, "", "", width) for paragraph in paragraphs)
