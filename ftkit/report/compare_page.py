"""Comparisons as a self-contained HTML page: the verdict, the figures, and pairs of answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from functools import partial
from typing import Any

from msgspec import Struct

from ftkit._text import plural
from ftkit.compare.comparison import Comparison, Group, GroupRow, Pair, Row
from ftkit.compare.measures import QUALITY
from ftkit.compare.recordings import Message, value_at
from ftkit.compare.replies import Reply, text_of
from ftkit.pages.page import LISTS, render_page
from ftkit.report.compare import (
    COLUMNS,
    REST_COLUMN,
    REST_NOTE,
    Sides,
    cells_of,
    count_of,
    format_interval,
    heading_of,
    note_of,
)
from ftkit.report.compare_verdict import compare_verdict, has_direction, names_of
from ftkit.report.excerpts import Piece

MAX_GROUPS = 100
"""Maximum number of groups on the page: the largest."""

MAX_PAIRS = 200
"""Maximum number of pairs on the page: those that differ most."""

MAX_BYTES = 3_000_000
"""Maximum size of a page."""

TEXT_LENGTH = 8_000
"""Maximum number of characters of a message or an answer on a page that would else be too large."""

MAX_EARLIER = 20
"""Maximum number of messages before the prompt: the last ones."""

GROUP_LENGTH = 200
"""Maximum number of characters of the value of a group."""

MAX_MATCHES = 50_000
"""Maximum number of matching word pairs of two answers whose differences are marked.

`difflib.SequenceMatcher` needs time in proportion to it, or worse.
"""

MAX_STEPS = 4_000_000
"""Maximum number of steps of finding the matching words of two answers, about half a second.

Each word that matches alone has `difflib.SequenceMatcher` search the rest of the answer again.
"""

SCALES = {"share": 1.0, "score": 100.0}
"""Largest possible difference, by unit."""


class Origin(Struct, frozen=True):
    """Origin of a page: the command, and facts such as the date."""

    command: str = ""
    facts: tuple[str, ...] = ()


def render_compare_html(
    comparison: Comparison,
    sides: Sides,
    origin: Origin = Origin(),  # noqa: B008 # it is frozen
) -> str:
    """Render a comparison as an HTML page of at most `MAX_BYTES`.

    Args:
        comparison: The comparison.
        sides: What is compared.
        origin: What made the page.
    """
    verdict = compare_verdict(comparison, sides)
    a, b = names_of(sides)
    different = [pair for pair in comparison.pairs if not pair.is_same]
    render = partial(
        render_page,
        "compare.html",
        scripts=(LISTS,),
        title=verdict.title,
        verdict=verdict,
        heading=heading_of(comparison, sides),
        a=a,
        b=b,
        origin=origin,
        charts=[chart for row in comparison.rows if (chart := _chart(row))],
        tables=[
            _table(title, rows)
            for title, rows in (("Measures", comparison.rows), ("JSON fields", comparison.fields))
            if rows
        ],
        groups=_groups(comparison),
        note=note_of(comparison),
        total=len(comparison.pairs),
        different=len(different),
    )
    return _fitting_page(render, different[:MAX_PAIRS], comparison.group_by)


def _fitting_page(render: Callable[..., str], pairs: Sequence[Pair], group_by: str) -> str:
    """Return a page of at most `MAX_BYTES`, if necessary with shorter texts and fewer pairs."""
    if sum(map(_length, pairs)) <= MAX_BYTES:
        page = render(pairs=[_pair(pair, group_by, MAX_BYTES) for pair in pairs])
        if _is_small(page):
            return page
    rows = [_pair(pair, group_by, TEXT_LENGTH) for pair in pairs]
    page = render(pairs=rows)
    while not _is_small(page) and len(rows) > 1:
        rows = rows[: len(rows) // 2]
        page = render(pairs=rows)
    return page


def _is_small(page: str) -> bool:
    return len(page.encode("utf-8", "replace")) <= MAX_BYTES


def _length(pair: Pair) -> int:
    """Return the number of characters of the messages and answers that the page shows."""
    messages = pair.prompt.messages[-MAX_EARLIER - 1 :]
    replies = [_reply_text(reply) for reply in (pair.a, pair.b, pair.reference) if reply]
    return sum(len(_message(message)[1]) for message in messages) + sum(map(len, replies))


def _table(title: str, rows: Sequence[Row]) -> dict[str, Any]:
    names = [name for name in COLUMNS if any(name in row.figures for row in rows)]
    return {
        "title": title,
        "columns": ["n", *(COLUMNS[name] for name in names)],
        "rows": [
            {
                "title": row.title,
                "direction": has_direction(row, is_field=title == "JSON fields"),
                "cells": [f"{count_of(row.figures):,}", *cells_of(row, names)],
            }
            for row in rows
        ],
    }


def _chart(row: Row) -> dict[str, Any] | None:
    """Return the difference and its interval on a scale from 0 to 100, with 0 in the middle."""
    figure = row.figures.get("difference")
    if figure is None or figure.low is None or figure.high is None:
        return None
    scale = SCALES.get(row.unit) or max(abs(figure.low), abs(figure.high)) or 1.0
    low, mean, high = (50 + 48 * value / scale for value in (figure.low, figure.mean, figure.high))
    tone = "none"
    if row.name in QUALITY and figure.excludes_zero:
        tone = "a" if figure.mean > 0 else "b"
    limit = f"{100 * scale:.0f} points" if row.unit == "share" else f"{scale:,.0f}"
    return {
        "title": row.title,
        "direction": has_direction(row),
        "text": format_interval(figure, row.unit, "difference"),
        "limit": limit,
        "tone": tone,
        "low": low,
        "mean": mean,
        "high": high,
    }


def _groups(comparison: Comparison) -> dict[str, Any] | None:
    """Return the table of the groups, with a row for each group and measure."""
    groups = comparison.groups[:MAX_GROUPS]
    rows = [(group, row) for group in groups for row in group.rows]
    if not rows:
        return None
    names = [
        name for name in ("a", "b", "difference") if any(name in row.figures for _, row in rows)
    ]
    names = names or ["between"]
    return {
        "path": comparison.group_by,
        "count": len(comparison.groups),
        "shown": len(groups),
        "rest": REST_COLUMN,
        "rest_note": REST_NOTE,
        "measures": list(dict.fromkeys(row.title for _, row in rows)),
        "columns": [COLUMNS[name] for name in names],
        "rows": [_group_row(group, row, names) for group, row in rows],
    }


def _group_row(group: Group, row: GroupRow, names: Sequence[str]) -> dict[str, Any]:
    figures = [row.figures.get(name) for name in names]
    rest = next((row.rest[name] for name in (*names, "between") if name in row.rest), None)
    return {
        "value": _cut(group.value, GROUP_LENGTH),
        "prompts": group.prompts,
        "measure": row.title,
        "cells": [
            (figure.mean if figure else "", format_interval(figure, row.unit, name))
            for name, figure in zip(names, figures, strict=True)
        ],
        "rest": (rest.mean if rest else "", format_interval(rest, row.unit, "rest")),
    }


def _pair(pair: Pair, group_by: str, length: int) -> dict[str, Any]:
    """Return the values of a pair for the template, with texts of at most `length` characters."""
    a, b = marked(_cut(_reply_text(pair.a), length), _cut(_reply_text(pair.b), length))
    reference = [Piece(_cut(_reply_text(pair.reference), length))] if pair.reference else None
    *earlier, last = pair.prompt.messages
    margin = _margin(pair)
    return {
        "line": pair.prompt.number,
        "distance": round(pair.distance),
        "margin": margin,
        "group": _cut(value_at(pair.prompt.line, group_by), GROUP_LENGTH) if group_by else "",
        "earlier": [_message(message, length) for message in earlier[-MAX_EARLIER:]],
        "more": _earlier(len(earlier)),
        "prompt": _message(last, length),
        "a": a,
        "b": b,
        "reference": reference,
        "scores": [
            (name, f"{score_a:.3g}", f"{score_b:.3g}")
            for name, (score_a, score_b) in pair.scores.items()
        ],
    }


def _margin(pair: Pair) -> float:
    """Return by how much A is better than B: the first difference in quality, or 0."""
    margins = (a - b for name, (a, b) in pair.scores.items() if name in QUALITY)
    return next((margin for margin in margins if margin == margin and margin != 0), 0.0)


def _message(message: Message, length: int = MAX_BYTES) -> tuple[str, str]:
    calls = message.get("tool_calls")
    text = text_of(message) or (json.dumps(calls, ensure_ascii=False) if calls else "")
    return str(message.get("role")), _cut(text, length)


def _earlier(count: int) -> str:
    """Return the title of the messages before the prompt."""
    title = plural(count, "earlier message")
    return title if count <= MAX_EARLIER else f"{title}; the last {MAX_EARLIER} are shown"


def _cut(text: str, length: int) -> str:
    """Return a text without the characters after `length`, and their number."""
    rest = len(text) - length
    return text if rest <= 0 else f"{text[:length]}… ({plural(rest, 'more character')})"


def _reply_text(reply: Reply) -> str:
    parts = [reply.text, f"[refusal] {reply.refusal}" if reply.refusal else ""]
    parts += [f"[tool call] {name} {arguments}" for name, arguments in reply.calls]
    return "\n".join(part for part in parts if part) or "[empty]"


def marked(a: str, b: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts in pieces, of which those that differ are marked.

    A word includes the space before it. Spaces as words of their own would match everywhere, which
    is slow and says nothing.
    """
    words_a, words_b = (re.findall(r"\s*(?:\w+|[^\w\s])|\s+", text) for text in (a, b))
    counts = Counter(words_a)
    matches = sum(counts[word] for word in words_b)
    steps = min(matches, len(words_a), len(words_b)) * len(words_a)
    if matches > MAX_MATCHES or steps > MAX_STEPS:
        return [Piece(a)], [Piece(b)]
    edits = SequenceMatcher(None, words_a, words_b, autojunk=False).get_opcodes()
    return (
        list(_pieces(("".join(words_a[start:end]), step) for step, start, end, _, _ in edits)),
        list(_pieces(("".join(words_b[start:end]), step) for step, _, _, start, end in edits)),
    )


def _pieces(texts: Iterator[tuple[str, str]]) -> Iterator[Piece]:
    return (Piece(text, is_marked=step != "equal") for text, step in texts if text)
