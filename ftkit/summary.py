"""The values that everything passes around: findings, shards, summaries, reports.

They hold data and add up; they know nothing of rules, files or output. A `Summary` is made for each shard of a file and the
summaries are added in file order, so the sum of every field is associative, and nothing in it grows faster than 24 bytes an
example.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from ftkit.tokens.stats import TokenStats, added

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

KEEP = 1000
"""Findings that are kept for each rule and file unless told otherwise; their number is always exact."""

FINGERPRINT = [("line", "<u8"), ("prompt", "<u8"), ("answer", "<u8")]
"""The numpy record of one example in `Summary.fingerprints`."""


class Finding(Struct, frozen=True):
    """One thing found in a file.

    `line` counts from 1, and 0 stands for the whole file. `column` counts the characters of the line from 1 (its bytes where
    it is not UTF-8), and 0 stands for none. `path` is the JSON path inside the line.
    """

    code: str
    rule: str
    severity: Severity
    message: str
    line: int = 0
    column: int = 0
    path: str = "$"

    def moved(self, offset: int) -> Finding:
        """The same finding, `offset` lines further down."""
        return msgspec.structs.replace(self, line=self.line + offset) if self.line else self


class Lines(Struct, frozen=True):
    """How many lines something holds for, and the first of their numbers."""

    count: int = 0
    first: tuple[int, ...] = ()

    def plus(self, other: Lines, offset: int, keep: int) -> Lines:
        """Both, `other` standing `offset` lines further down; at most `keep` numbers are kept."""
        room = max(keep - len(self.first), 0)
        return Lines(
            self.count + other.count,
            self.first + tuple(line + offset for line in other.first[:room]),
        )


class Affixes(Struct, frozen=True):
    """What all strings of a set begin and end with, at most `LIMIT` characters of it."""

    prefix: str
    suffix: str

    LIMIT = 64

    @classmethod
    def of(cls, text: str) -> Affixes:
        return cls(text[: cls.LIMIT], text[-cls.LIMIT :])

    def __add__(self, other: Affixes) -> Affixes:
        suffix = common_prefix(self.suffix[::-1], other.suffix[::-1])[::-1]
        return Affixes(common_prefix(self.prefix, other.prefix), suffix)


def common_prefix(one: str, two: str) -> str:
    """The longest string that both begin with."""
    same = 0
    for a, b in zip(one, two, strict=False):
        if a != b:
            break
        same += 1
    return one[:same]


class Style(Struct, frozen=True):
    """How the prompts and completions of a file are written; only the `completions` format fills it.

    `letters` and `upper` count the letters of the prompts and completions, and those of them in upper case. Empty
    texts have no affixes.
    """

    prompts: Affixes | None = None
    completions: Affixes | None = None
    no_space: Lines = Lines()
    letters: int = 0
    upper: int = 0

    def plus(self, other: Style, offset: int, keep: int) -> Style:
        return Style(
            _both(self.prompts, other.prompts),
            _both(self.completions, other.completions),
            self.no_space.plus(other.no_space, offset, keep),
            self.letters + other.letters,
            self.upper + other.upper,
        )


def _both(one: Affixes | None, two: Affixes | None) -> Affixes | None:
    return one + two if one is not None and two is not None else one or two


class Summary(Struct, frozen=True):
    """What is known of some consecutive lines of a file; `a + b` is what is known of `a` followed by `b`.

    - `counts` holds the exact number of findings of each rule, `findings` the first `keep` of each, in file order.
    - `blank` are the blank lines; the last `blank_tail` of them end these lines. Whether they stand between examples or at
      the end of the file is known only when what follows has been read.
    - `fingerprints` are `FINGERPRINT` records: the line of each example and hashes of its prompt and its answer.
    - `fields` are the lines of a reinforcement file by the names of their grader fields.
    - `ledgers` hold the tokens of the examples that could be read, by the name of the meter.
    - `size` is their bytes, `with_images` counts the examples that hold an image.
    """

    keep: int = KEEP
    lines: int = 0
    size: int = 0
    examples: int = 0
    with_images: int = 0
    counts: dict[str, int] = {}
    findings: tuple[Finding, ...] = ()
    blank: Lines = Lines()
    blank_tail: int = 0
    crlf: Lines = Lines()
    fingerprints: bytes = b""
    fields: dict[tuple[str, ...], Lines] = {}
    style: Style = Style()
    ledgers: dict[str, TokenStats] = {}

    def __add__(self, other: Summary) -> Summary:
        offset, keep = self.lines, self.keep
        moved = (finding.moved(offset) for finding in other.findings)
        return Summary(
            keep=keep,
            lines=self.lines + other.lines,
            size=self.size + other.size,
            examples=self.examples + other.examples,
            with_images=self.with_images + other.with_images,
            counts=added(self.counts, other.counts),
            findings=tuple(first_of_each((*self.findings, *moved), keep)),
            blank=self.blank.plus(other.blank, offset, keep),
            blank_tail=other.blank_tail
            + (self.blank_tail if other.blank_tail == other.lines else 0),
            crlf=self.crlf.plus(other.crlf, offset, keep),
            fingerprints=self.fingerprints + _moved_fingerprints(other.fingerprints, offset),
            fields={
                names: self.fields.get(names, Lines()).plus(
                    other.fields.get(names, Lines()), offset, keep
                )
                for names in (*self.fields, *other.fields)
            },
            style=self.style.plus(other.style, offset, keep),
            ledgers={
                name: self.ledgers.get(name, TokenStats()) + other.ledgers.get(name, TokenStats())
                for name in (*self.ledgers, *other.ledgers)
            },
        )


def _moved_fingerprints(records: bytes, offset: int) -> bytes:
    if not records or not offset:
        return records
    import numpy as np

    moved = np.frombuffer(records, FINGERPRINT).copy()
    moved["line"] += np.uint64(offset)
    return moved.tobytes()


def first_of_each(findings: Iterable[Finding], keep: int) -> Iterable[Finding]:
    """The first `keep` findings of each rule, in the order given."""
    seen: dict[str, int] = {}
    for finding in findings:
        seen[finding.rule] = seen.get(finding.rule, 0) + 1
        if seen[finding.rule] <= keep:
            yield finding


class FileReport(Struct, frozen=True):
    """All that was found in one file. `findings` are in file order, those on the whole file first."""

    file: str
    format: str | None
    lines: int
    examples: int
    bytes: int
    errors: int
    warnings: int
    infos: int
    counts: dict[str, int]
    findings: tuple[Finding, ...]


class Report(Struct, frozen=True):
    """What `ftkit validate` found: one `FileReport` a file, and whether all of it is below `fail_on`."""

    ok: bool
    provider: str
    model: str | None
    files: tuple[FileReport, ...]

    def total(self, severity: Severity) -> int:
        """The number of findings of that severity in all files."""
        return sum(
            {"error": file.errors, "warning": file.warnings, "info": file.infos}[severity]
            for file in self.files
        )
