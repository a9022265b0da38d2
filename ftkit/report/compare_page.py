"""A comparison as one HTML page that needs no network: the figures, and the pairs that differ most.

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

from ftkit._atomic import atomic_write
from ftkit.compare.comparison import Comparison, Group, GroupRow, Pair, Row
from ftkit.compare.recordings import Message
from ftkit.compare.replies import Reply, text_of
from ftkit.errors import FileError, os_error_message
from ftkit.report.compare import COLUMNS, Sides, cells_of, count_of, heading, notes, show
from ftkit.report.page import render_page

MOST_GROUPS = 20
"""Groups on the page: the largest."""

MOST_PAIRS = 100
"""Pairs on the page: those that differ most."""

MOST_MATCHES = 50_000
"""Pairs of equal words, one of each answer, up to which differences are marked; with more, finding them takes too long."""

STYLE = Path(__file__).with_name("compare_page.css").read_text("utf-8")
SCRIPT = Path(__file__).with_name("compare_page.js").read_text("utf-8")


def write_page(found: Comparison, sides: Sides, path: str) -> None:
    """Write the page to `path`, which is there whole or not at all; raises `FileError` where it cannot be written."""
    page = render_compare_html(found, sides)
    try:
        with atomic_write(Path(path)) as aside:
            aside.write_text(page, "utf-8", errors="replace")
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error


def render_compare_html(found: Comparison, sides: Sides) -> str:
    """The page."""
    about = "".join(
        f"<dt>{escape(name.strip())}<dd>{escape(text)}" for name, text in heading(found, sides)
    )
    parts = [
        f"<h1>A and B on the same prompts</h1>\n<dl>{about}</dl>\n",
        _figures("Measures", found.rows),
    ]
    parts.append(_figures("JSON fields", found.fields) if found.fields else "")
    parts.extend(_group(found.group_by, group) for group in found.groups[:MOST_GROUPS])
    parts.append(f"<p><small>{escape(notes(found))}</small>\n{_pairs(found)}")
    return render_page("ftkit compare", STYLE, "".join(parts), SCRIPT)


def _group(path: str, group: Group) -> str:
    size = (
        f"{group.prompts:,} of the prompts; 'to others' is this group less all the others together"
    )
    return _figures(f"{path} = {group.value}, {size}", group.rows)


def _figures(title: str, rows: Sequence[Row] | Sequence[GroupRow]) -> str:
    used = [name for name in COLUMNS if any(name in row.figures for row in rows)]
    head = "".join(
        f"<th>{COLUMNS[name]}{'<th>to others' if _has_rest(rows, name) else ''}" for name in used
    )
    return (
        f'<h2>{escape(title)}</h2>\n<div class="wide"><table><tr><th>measure<th>n<th>A - B, drawn{head}\n'
        + "".join(_row(row, used, [name for name in used if _has_rest(rows, name)]) for row in rows)
        + "</table></div>\n"
    )


def _has_rest(rows: Sequence[Row] | Sequence[GroupRow], name: str) -> bool:
    return any(isinstance(row, GroupRow) and name in row.rest for row in rows)


def _row(row: Row | GroupRow, used: Sequence[str], apart: Sequence[str]) -> str:
    cells = ""
    for name, text in zip(used, cells_of(row, used), strict=True):
        cells += f"<td>{escape(text)}"
        if isinstance(row, GroupRow) and name in apart:
            cells += f"<td>{escape(show(row.rest.get(name), row.unit, 'rest'))}"
    return f"<tr><td>{escape(row.title)}<td>{count_of(row.figures):,}<td>{_drawn(row)}{cells}\n"


def _drawn(row: Row | GroupRow) -> str:
    """The difference with its interval, drawn on a scale with 0 in the middle."""
    figure = row.figures.get("difference")
    if figure is None or figure.low is None or figure.high is None:
        return ""
    most = (
        {"share": 1.0, "score": 100.0}.get(row.unit)
        or max(abs(figure.low), abs(figure.high))
        or 1.0
    )
    low, mean, high = (75 + 70 * value / most for value in (figure.low, figure.mean, figure.high))
    colour = "var(--a)" if figure.low > 0 else "var(--b)" if figure.high < 0 else "#888"
    return (
        '<svg viewBox="0 0 150 16" role="img"><path d="M75 0V16" stroke="#8888"/>'
        f'<path d="M{low:.1f} 8H{high:.1f}" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{mean:.1f}" cy="8" r="4" fill="{colour}"/></svg>'
    )


def _pairs(found: Comparison) -> str:
    pairs = [pair for pair in found.pairs[:MOST_PAIRS] if not pair.is_same]
    same = sum(pair.is_same for pair in found.pairs)
    more = f", the first {MOST_PAIRS}" if len(found.pairs) - same > MOST_PAIRS else ""
    return (
        f"<h2>Pairs that differ most</h2>\n<p>{len(found.pairs) - same:,} of {len(found.pairs):,} pairs differ{more}. "
        f'<label>Find <input type="search"></label> <output>{len(pairs)}</output> shown</p>\n'
        + "".join(map(_pair, pairs))
    )


def _pair(pair: Pair) -> str:
    a, b = _marked(_shown(pair.a), _shown(pair.b))
    reference = [("reference", "", escape(_shown(pair.reference)))] if pair.reference else []
    answers = "".join(
        f'<div class="{style}"><small>{name}</small><pre>{text}</pre></div>'
        for name, style, text in [("A", "of-a", a), ("B", "of-b", b), *reference]
    )
    scores = " · ".join(
        f"{escape(name)} {one:.3g} / {two:.3g}" for name, (one, two) in pair.scores.items()
    )
    *before, last = pair.prompt.messages
    return (
        f"<article><small>line {pair.prompt.number} · distance {pair.distance:.0f} of 100</small>\n"
        f"{_earlier(before)}{_message(last)}\n"
        f'<div class="answers">{answers}</div>\n<small>{scores}</small></article>\n'
    )


def _earlier(messages: Sequence[Message]) -> str:
    if not messages:
        return ""
    title = "1 message before" if len(messages) == 1 else f"{len(messages):,} messages before"
    return f"<details><summary>{title}</summary>{''.join(map(_message, messages))}</details>"


def _message(message: Message) -> str:
    calls = message.get("tool_calls")
    text = text_of(message) or (json.dumps(calls, ensure_ascii=False) if calls else "")
    return f"<small>{escape(str(message.get('role')))}</small><pre>{escape(text)}</pre>"


def _shown(reply: Reply) -> str:
    """All that a reply says, as text."""
    parts = [reply.text, f"[refused] {reply.refusal}" if reply.refusal else ""]
    parts += [f"[calls] {name} {arguments}" for name, arguments in reply.calls]
    return "\n".join(part for part in parts if part) or "[nothing]"


def _marked(one: str, two: str) -> tuple[str, str]:
    """Both texts as HTML, the words marked that the other has not.

    The space before a word belongs to it: spaces by themselves would match everywhere, which takes long and tells nothing.
    """
    first, second = (re.findall(r"\s*(?:\w+|[^\w\s])|\s+", text) for text in (one, two))
    often = Counter(first)
    if sum(often[word] for word in second) > MOST_MATCHES:
        return escape(one), escape(two)
    steps = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    return (
        "".join(_piece("".join(first[start:end]), step) for step, start, end, _, _ in steps),
        "".join(_piece("".join(second[start:end]), step) for step, _, _, start, end in steps),
    )


def _piece(text: str, step: str) -> str:
    return escape(text) if step == "equal" or not text else f"<mark>{escape(text)}</mark>"
