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


class Fold(NamedTuple):
    """Findings that are shown as one."""

    repeat: Repeat
    message: str
    """Their common message, or `ALL` for all findings of the rule."""


def fold_findings(file: FileReport) -> list[tuple[Finding, Fold | None]]:
    """Return the findings of a file in order, with one for each fold."""
    folds = {
        (fold.repeat.first.rule, fold.message): fold
        for repeats in file.repeats.values()
        for fold in _folds(repeats, file.filled)
    }
    rows: list[tuple[Finding, Fold | None]]
    rows = [(fold.repeat.first, fold) for fold in folds.values()]
    rows += [
        (finding, None)
        for finding in file.findings
        if folds.keys().isdisjoint({(finding.rule, finding.message), (finding.rule, ALL)})
    ]
    return sorted(rows, key=lambda row: (row[0].line, row[0].column))


def _folds(repeats: dict[str, Repeat], filled: int) -> Iterator[Fold]:
    number = repeats[ALL].lines.count
    is_common = number * COMMON_SHARE > filled
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


def places(fold: Fold, filled: int) -> str:
    """Return the number of findings and of lines, and the first lines.

    Args:
        fold: The findings.
        filled: Number of lines of the file that are not blank.
    """
    count, lines = fold.repeat.count, fold.repeat.lines
    if fold.message == ALL:
        number = f"the first of {plural(count, 'finding')} "
    else:
        number = f"{count:,} times " if count > lines.count else ""
    share = f"all {filled:,}" if lines.count >= filled else f"{lines.count:,} of {filled:,}"
    return f"{number}on {share} lines: {', '.join(map(str, lines.first))}, …"
