"""Folding of repeated findings, for output that people read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ftkit._text import plural
from ftkit.summary import ALL, COMMON_SHARE, PLACES, FileReport, Finding, Repeat

SHOWN = 10
"""Maximum number of findings of a rule that are shown; the others are summed up in one line.

A message on more lines than this is folded.
"""

BLANK_LINES = ("line-blank", "line-blank-end")
"""Rules on blank lines. Their share is of all lines; that of others is of those with content."""


class Fold(NamedTuple):
    """Findings that are shown as one."""

    repeat: Repeat
    message: str
    """Their common message, or `ALL` for all findings of the rule."""


def fold_findings(file: FileReport) -> list[tuple[Finding, Fold | None]]:
    """Return the findings of a file in order, with one for each fold."""
    folds = {
        (fold.repeat.first.rule, fold.message): fold
        for rule, repeats in file.repeats.items()
        for fold in _folds(repeats, _total(file, rule))
    }
    rows: list[tuple[Finding, Fold | None]]
    rows = [(fold.repeat.first, fold) for fold in folds.values()]
    rows += [
        (finding, None)
        for finding in file.findings
        if folds.keys().isdisjoint({(finding.rule, finding.message), (finding.rule, ALL)})
    ]
    return sorted(rows, key=lambda row: (row[0].line, row[0].column))


def _total(file: FileReport, rule: str) -> int:
    """Return the number of lines that the findings of a rule can be on."""
    return file.lines if rule in BLANK_LINES else file.filled


def _folds(repeats: dict[str, Repeat], total: int) -> Iterator[Fold]:
    number = repeats[ALL].lines.count
    is_common = number * COMMON_SHARE > total
    limit = PLACES if is_common else SHOWN
    frequent = [
        Fold(repeat, message)
        for message, repeat in repeats.items()
        if message != ALL and repeat.lines.count > limit
    ]
    frequent.sort(key=lambda fold: (-fold.repeat.count, fold.repeat.first.line, fold.message))
    if frequent:
        yield from frequent[:SHOWN]
    elif is_common and number > limit:
        yield Fold(repeats[ALL], ALL)


def places(fold: Fold, file: FileReport) -> str:
    """Return the number of findings and of lines, and the first lines.

    Args:
        fold: The findings.
        file: The report on their file.
    """
    count, lines = fold.repeat.count, fold.repeat.lines
    total = _total(file, fold.repeat.first.rule)
    if fold.message == ALL:
        number = f"the first of {plural(count, 'finding')} "
    else:
        number = f"{count:,} times " if count > lines.count else ""
    share = f"all {total:,}" if lines.count >= total else f"{lines.count:,} of {total:,}"
    return f"{number}on {share} lines: {', '.join(map(str, lines.first))}, …"
