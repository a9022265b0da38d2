"""Comparisons as a self-contained HTML page: the figures, and the pairs that differ most.

All text is escaped.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from html import escape
from pathlib import Path

from ftkit._atomic import atomic_replace
from ftkit._text import plural
from ftkit.compare.bootstrap import Interval
from ftkit.compare.comparison import Comparison, Group, GroupRow, Pair, Row
from ftkit.compare.recordings import Message
from ftkit.compare.replies import Reply, text_of
from ftkit.errors import FileError, os_error_message
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
from ftkit.report.page import render_page

MAX_GROUPS = 20
"""Maximum number of groups on the page: the largest."""

MAX_PAIRS = 100
"""Maximum number of pairs on the page: those that differ most."""

MAX_MATCHES = 50_000
"""Maximum number of matching word pairs of two answers whose differences are marked.

`difflib.SequenceMatcher` needs time in proportion to it, or worse.
"""

SCALES = {"share": 1.0, "score": 100.0}
"""Largest possible difference, by unit."""

STYLE = Path(__file__).with_name("compare_page.css").read_text("utf-8")
SCRIPT = Path(__file__).with_name("compare_page.js").read_text("utf-8")


def write_page(comparison: Comparison, sides: Sides, path: str) -> None:
    """Write the page of a comparison to `path`, atomically.

    Raises:
        FileError: The file cannot be written.
    """
    page = render_compare_html(comparison, sides)
    try:
        with atomic_replace(path) as temporary:
            temporary.write_text(page, "utf-8", errors="replace")
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error


def render_compare_html(comparison: Comparison, sides: Sides) -> str:
    """Render a comparison as an HTML page."""
    heading = "".join(
        f"<dt>{name}<dd>{escape(text)}" for name, text in heading_of(comparison, sides)
    )
    parts = [
        f"<h1>A and B on the same prompts</h1>\n<dl>{heading}</dl>\n",
        _table("Measures", comparison.rows),
        _table("JSON fields", comparison.fields) if comparison.fields else "",
        *(_group(comparison.group_by, group) for group in comparison.groups[:MAX_GROUPS]),
        f"<p><small>{escape(note_of(comparison))}</small>\n",
        _pairs(comparison),
    ]
    return render_page("ftkit compare", STYLE, "".join(parts), SCRIPT)


def _group(path: str, group: Group) -> str:
    prompts = plural(group.prompts, "prompt")
    return _table(f"{path} = {group.value}, {prompts}; {REST_NOTE}", group.rows)


def _table(title: str, rows: Sequence[Row] | Sequence[GroupRow]) -> str:
    names = [name for name in COLUMNS if any(name in row.figures for row in rows)]
    with_rest = {name for name in names if any(name in _rest_of(row) for row in rows)}
    headings = "".join(
        f"<th>{COLUMNS[name]}" + (f"<th>{REST_COLUMN}" if name in with_rest else "")
        for name in names
    )
    return (
        f'<h2>{escape(title)}</h2>\n<div class="wide"><table>'
        f"<tr><th>measure<th>n<th>A - B, chart{headings}\n"
        f"{''.join(_row(row, names, with_rest) for row in rows)}</table></div>\n"
    )


def _rest_of(row: Row | GroupRow) -> dict[str, Interval]:
    return row.rest if isinstance(row, GroupRow) else {}


def _row(row: Row | GroupRow, names: Sequence[str], with_rest: set[str]) -> str:
    cells = ""
    for name, text in zip(names, cells_of(row, names), strict=True):
        cells += f"<td>{escape(text)}"
        if name in with_rest:
            cells += f"<td>{escape(format_interval(_rest_of(row).get(name), row.unit, 'rest'))}"
    return f"<tr><td>{escape(row.title)}<td>{count_of(row.figures):,}<td>{_chart(row)}{cells}\n"


def _chart(row: Row | GroupRow) -> str:
    """Draw the difference and its interval as SVG, on a scale with 0 in the middle."""
    figure = row.figures.get("difference")
    if figure is None or figure.low is None or figure.high is None:
        return ""
    scale = SCALES.get(row.unit) or max(abs(figure.low), abs(figure.high)) or 1.0
    low, mean, high = (75 + 70 * value / scale for value in (figure.low, figure.mean, figure.high))
    colour = "var(--a)" if figure.low > 0 else "var(--b)" if figure.high < 0 else "#888"
    return (
        '<svg viewBox="0 0 150 16" role="img"><path d="M75 0V16" stroke="#8888"/>'
        f'<path d="M{low:.1f} 8H{high:.1f}" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{mean:.1f}" cy="8" r="4" fill="{colour}"/></svg>'
    )


def _pairs(comparison: Comparison) -> str:
    pairs = [pair for pair in comparison.pairs[:MAX_PAIRS] if not pair.is_same]
    total = len(comparison.pairs)
    different = total - sum(pair.is_same for pair in comparison.pairs)
    extent = f"; the first {MAX_PAIRS} are on this page" if different > MAX_PAIRS else ""
    return (
        f"<h2>Pairs that differ most</h2>\n<p>{different:,} of {total:,} pairs differ{extent}. "
        f'<label>Find <input type="search"></label> <output>{len(pairs)}</output> shown</p>\n'
        f"{''.join(map(_pair, pairs))}"
    )


def _pair(pair: Pair) -> str:
    a, b = _marked(_reply_text(pair.a), _reply_text(pair.b))
    reference = [("reference", "", escape(_reply_text(pair.reference)))] if pair.reference else []
    answers = "".join(
        f'<div class="{style}"><small>{name}</small><pre>{text}</pre></div>'
        for name, style, text in [("A", "of-a", a), ("B", "of-b", b), *reference]
    )
    scores = " · ".join(
        f"{escape(name)} {score_a:.3g} / {score_b:.3g}"
        for name, (score_a, score_b) in pair.scores.items()
    )
    *earlier, last = pair.prompt.messages
    return (
        f"<article><small>line {pair.prompt.number} · distance {pair.distance:.0f} of 100</small>\n"
        f"{_earlier(earlier)}{_message(last)}\n"
        f'<div class="answers">{answers}</div>\n<small>{scores}</small></article>\n'
    )


def _earlier(messages: Sequence[Message]) -> str:
    if not messages:
        return ""
    title = plural(len(messages), "earlier message")
    return f"<details><summary>{title}</summary>{''.join(map(_message, messages))}</details>"


def _message(message: Message) -> str:
    calls = message.get("tool_calls")
    text = text_of(message) or (json.dumps(calls, ensure_ascii=False) if calls else "")
    return f"<small>{escape(str(message.get('role')))}</small><pre>{escape(text)}</pre>"


def _reply_text(reply: Reply) -> str:
    parts = [reply.text, f"[refusal] {reply.refusal}" if reply.refusal else ""]
    parts += [f"[tool call] {name} {arguments}" for name, arguments in reply.calls]
    return "\n".join(part for part in parts if part) or "[empty]"


def _marked(a: str, b: str) -> tuple[str, str]:
    """Return both texts as HTML, with the words marked that differ.

    A word includes the space before it. Spaces as words of their own would match everywhere, which
    is slow and says nothing.
    """
    words_a, words_b = (re.findall(r"\s*(?:\w+|[^\w\s])|\s+", text) for text in (a, b))
    counts = Counter(words_a)
    if sum(counts[word] for word in words_b) > MAX_MATCHES:
        return escape(a), escape(b)
    steps = SequenceMatcher(None, words_a, words_b, autojunk=False).get_opcodes()
    return (
        "".join(_piece("".join(words_a[start:end]), step) for step, start, end, _, _ in steps),
        "".join(_piece("".join(words_b[start:end]), step) for step, _, _, start, end in steps),
    )


def _piece(text: str, step: str) -> str:
    return escape(text) if step == "equal" or not text else f"<mark>{escape(text)}</mark>"
