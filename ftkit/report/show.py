"""Examples as conversations, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from msgspec import to_builtins

from ftkit._text import plural, printable
from ftkit.prepare.show import Shown, Turn
from ftkit.report.columns import wrap

ROLE_COLOURS = {"system": "magenta", "developer": "magenta", "user": "cyan", "tool": "yellow"}
"""Colour of each role; that of a trained message is `TRAINED_COLOUR`."""

TRAINED_COLOUR = "green"
TRAINED, OTHER = "+ ", "  "
"""Beginnings of lines: of those that are trained on, and of others."""

PARTS = {"$.preferred_output": "preferred output", "$.non_preferred_output": "other output"}
"""Headings above the messages of an output, by the beginning of their path."""


def shown_as_dict(example: Shown) -> dict[str, Any]:
    """Return an example as JSON values."""
    value: dict[str, Any] = to_builtins(example)
    return value


def render_shown(example: Shown, width: int | None) -> str:
    """Return an example as a conversation with ANSI colours.

    Lines that are trained on begin with `+`. The text of the example cannot control a terminal.

    Args:
        example: The example.
        width: Width of the terminal, or None for an unlimited width.
    """
    trained = f", {example.trained_tokens:,} trained"
    facts = f"{example.format} · {plural(example.tokens, 'token')}{trained}"
    place = click.style(printable(f"{example.file}:{example.line}"), bold=True)
    blocks = [f"{place}  {click.style(facts, dim=True)}\n"]
    if example.tools:
        names = ", ".join(map(printable, example.tools))
        blocks.append(wrap(names, "tools: ", " " * len("tools: "), width))
    part = ""
    for turn in example.turns:
        path = turn.path.partition("[")[0]
        if path != part and path in PARTS:
            blocks.append(f"{click.style(PARTS[path], bold=True)}\n")
        part = path
        blocks.append("".join(_turn(turn, width)))
    return "\n".join(blocks)


def _turn(turn: Turn, width: int | None) -> Iterator[str]:
    colour = TRAINED_COLOUR if turn.trained else ROLE_COLOURS.get(turn.role)
    title = " ".join(filter(None, (turn.role, turn.name, turn.call_id)))
    facts = plural(turn.tokens, "token") + (", trained" if turn.trained else "")
    yield f"{click.style(printable(title), fg=colour, bold=True)}  {click.style(facts, dim=True)}\n"
    mark = TRAINED if turn.trained else OTHER
    for line in _lines(turn):
        safe = printable(line, keep="\t")
        yield wrap(safe, mark, mark, width).rstrip() + "\n"


def _lines(turn: Turn) -> Iterator[str]:
    for text in turn.texts:
        yield from text.split("\n")
    for image in turn.images:
        yield f"[image {image}]"
    for call in turn.calls:
        yield f"{call.name}({call.arguments})" + (f"  {call.id}" if call.id else "")
