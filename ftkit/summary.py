"""Values that the packages share: findings, summaries and reports.

A `Summary` describes a shard of a file. Adding the summaries of consecutive shards in file order
gives the summary of the file. The addition of every field is associative, and no field takes more
than 24 bytes per example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Literal
from zlib import crc32

import msgspec
from msgspec import Struct

from ftkit._text import common_prefix, html_table, plural
from ftkit._version import __version__
from ftkit.tokens.stats import TokenStats, sum_by_key

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

Safety = Literal["safe", "unsafe", "redaction"]
"""Safety of a fix: an unsafe one changes or removes a value, a redaction replaces a secret."""

KEEP = 1000
"""Default maximum of findings kept for each rule and file. Their counts are always exact."""

PLACES = 3
"""Number of lines that are named for findings that are repeated."""

MESSAGES = 50
"""Maximum number of messages of a rule whose repetition is counted."""

COMMON_SHARE = 5
"""Findings on more than one in this many lines are common, and are reported as one."""

ALL = ""
"""Key for all messages of a rule together; crc32 of "" is 0, so `lowest` always keeps it."""

COLUMNS = ("file", "code", "rule", "severity", "line", "column", "path", "message")
"""Keys of the rows of `Report.to_records`."""

HTML_ROWS = 50
"""Maximum number of findings in the HTML of a report."""

FINGERPRINT = [("line", "<u8"), ("prompt", "<u8"), ("answer", "<u8")]
"""Numpy record of an example: its line, and the hashes of its prompt and its answer."""


class Finding(Struct, frozen=True):
    """A violation of a rule in a file.

    Attributes:
        code: Code of the rule, such as `FT301`.
        rule: Name of the rule.
        line: Line number from 1, or 0 for the whole file.
        column: Character of the line from 1 (its byte if it is not UTF-8), or 0 for no column.
        path: JSON path inside the line.
        fix: Safety of the fix that `ftkit fix` has for it, or None.
    """

    code: str
    rule: str
    severity: Severity
    message: str
    line: int = 0
    column: int = 0
    path: str = "$"
    fix: Safety | None = None

    def moved(self, offset: int) -> Finding:
        """Return the finding moved down by `offset` lines."""
        return msgspec.structs.replace(self, line=self.line + offset) if self.line else self

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object. `line` and `column` are None if they are unknown."""
        return {
            "code": self.code,
            "rule": self.rule,
            "severity": self.severity,
            "line": self.line or None,
            "column": self.column or None,
            "path": self.path,
            "message": self.message,
        }


class Lines(Struct, frozen=True):
    """Lines that have something in common."""

    count: int = 0
    first: tuple[int, ...] = ()
    """Numbers of the first of them."""

    def plus(self, other: Lines, offset: int, keep: int) -> Lines:
        """Return the lines of both, with those of `other` moved down by `offset` lines."""
        room = max(keep - len(self.first), 0)
        return Lines(
            self.count + other.count,
            self.first + tuple(line + offset for line in other.first[:room]),
        )


class Repeat(Struct, frozen=True):
    """Findings of a rule, or those of them that have the same message.

    Attributes:
        count: Number of findings.
        lines: The lines that they are on. The first `PLACES` of them are kept.
    """

    first: Finding
    count: int
    lines: Lines

    def plus(self, other: Repeat, offset: int) -> Repeat:
        """Return the findings of both, with those of `other` moved down by `offset` lines."""
        lines = self.lines.plus(other.lines, offset, PLACES)
        return Repeat(self.first, self.count + other.count, lines)


def lowest(messages: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of the `MESSAGES` messages with the lowest hashes, and that of `ALL`.

    A message among the lowest of a file is one of the lowest of each part that has it, so that its
    count adds up exactly.
    """
    if len(messages) <= MESSAGES:
        return messages
    return {message: messages[message] for message in sorted(messages, key=rank)[: MESSAGES + 1]}


def rank(message: str) -> tuple[int, str]:
    """Return the key that orders messages by their hashes; that of `ALL` is the lowest."""
    return crc32(message.encode("utf-8", "replace")), message


class Affixes(Struct, frozen=True):
    """Longest common prefix and suffix of some texts, up to `LIMIT` characters each."""

    prefix: str
    suffix: str

    LIMIT = 64

    @classmethod
    def of(cls, text: str) -> Affixes:
        """Return the affixes of a single text."""
        return cls(text[: cls.LIMIT], text[-cls.LIMIT :])

    def __add__(self, other: Affixes) -> Affixes:
        suffix = common_prefix(self.suffix[::-1], other.suffix[::-1])[::-1]
        return Affixes(common_prefix(self.prefix, other.prefix), suffix)


class Style(Struct, frozen=True):
    """Style of the texts of a file with prompts and completions."""

    prompts: Affixes | None = None
    """Common affixes of the prompts that are not empty, if any."""
    completions: Affixes | None = None
    """Common affixes of the completions that are not blank, if any."""
    no_space: Lines = Lines()
    """Lines whose completion does not begin with white space."""
    letters: int = 0
    """Number of letters in the texts that have words."""
    upper: int = 0
    """Number of those letters that are in upper case."""

    def plus(self, other: Style, offset: int, keep: int) -> Style:
        """Return the style of both, with `other` moved down by `offset` lines."""
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
    """Summary of consecutive lines of a file. `a + b` is the summary of `a` followed by `b`."""

    keep: int = KEEP
    """Maximum of findings, and of line numbers, that are kept of each kind."""
    lines: int = 0
    size: int = 0
    """Number of bytes."""
    examples: int = 0
    with_images: int = 0
    """Number of examples that have an image."""
    counts: dict[str, int] = {}
    """Exact number of findings of each rule."""
    fixable: dict[Safety, int] = {}
    """Exact number of findings that can be fixed, by the safety of the fix."""
    findings: tuple[Finding, ...] = ()
    """The first `keep` findings of each rule, in file order."""
    repeats: dict[str, dict[str, Repeat]] = {}
    """Repetition among the findings of each rule, by message."""
    blank: Lines = Lines()
    blank_tail: int = 0
    """Number of blank lines at the end. Only what follows tells if they are the end of the file."""
    crlf: Lines = Lines()
    """Lines that end with CRLF."""
    fingerprints: bytes = b""
    """A `FINGERPRINT` record of each example, or what stands for those kept elsewhere."""
    fields: dict[tuple[str, ...], Lines] = {}
    """Lines by the names of their fields for the grader."""
    style: Style = Style()
    stats: dict[str, TokenStats] = {}
    """Token statistics by the name of the counting method."""

    def __add__(self, other: Summary) -> Summary:
        offset, keep = self.lines, self.keep
        moved = (finding.moved(offset) for finding in other.findings)
        return Summary(
            keep=keep,
            lines=self.lines + other.lines,
            size=self.size + other.size,
            examples=self.examples + other.examples,
            with_images=self.with_images + other.with_images,
            counts=sum_by_key(self.counts, other.counts),
            fixable=sum_by_key(self.fixable, other.fixable),
            findings=tuple(first_per_rule((*self.findings, *moved), keep)),
            repeats={
                rule: _sum_of_repeats(
                    self.repeats.get(rule, {}), other.repeats.get(rule, {}), offset
                )
                for rule in (*self.repeats, *other.repeats)
            },
            blank=self.blank.plus(other.blank, offset, keep),
            blank_tail=other.blank_tail + self.blank_tail * (other.blank_tail == other.lines),
            crlf=self.crlf.plus(other.crlf, offset, keep),
            fingerprints=self.fingerprints + moved_fingerprints(other.fingerprints, offset),
            fields={
                names: self.fields.get(names, Lines()).plus(
                    other.fields.get(names, Lines()), offset, keep
                )
                for names in (*self.fields, *other.fields)
            },
            style=self.style.plus(other.style, offset, keep),
            stats={
                name: self.stats.get(name, TokenStats()) + other.stats.get(name, TokenStats())
                for name in (*self.stats, *other.stats)
            },
        )


def _sum_of_repeats(
    one: dict[str, Repeat], two: dict[str, Repeat], offset: int
) -> dict[str, Repeat]:
    both = dict(one)
    for message, repeat in two.items():
        before = both.get(message) or Repeat(repeat.first.moved(offset), 0, Lines())
        both[message] = before.plus(repeat, offset)
    return lowest(both)


def moved_fingerprints(records: bytes, offset: int) -> bytes:
    """Return the fingerprints of examples that are moved down by `offset` lines."""
    if not records or not offset:
        return records
    import numpy as np

    moved = np.frombuffer(records, FINGERPRINT).copy()
    moved["line"] += np.uint64(offset)
    return moved.tobytes()


def first_per_rule(findings: Iterable[Finding], keep: int) -> Iterable[Finding]:
    """Yield the first `keep` findings of each rule, in the same order."""
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.rule] = counts.get(finding.rule, 0) + 1
        if counts[finding.rule] <= keep:
            yield finding


class FileReport(Struct, frozen=True):
    """Validation result of one file.

    Attributes:
        file: Path of the file.
        format: Name of the format, or None if the file could not be read.
        errors: Number of findings of severity error; `warnings` and `infos` likewise.
        counts: Exact number of findings of each rule.
        findings: Findings on the whole file, then the others in file order.
        filled: Number of lines that are not blank.
        fixable: Exact number of findings that `ftkit fix` can fix, by the safety of the fix.
        repeats: Repetition among the findings of each rule, for output that folds it.
        severities: Exact number of findings of each rule by severity, which a finding may have
            of its own.
    """

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
    fixable: dict[Safety, int] = {}
    filled: int = 0
    repeats: dict[str, dict[str, Repeat]] = {}
    severities: dict[str, dict[Severity, int]] = {}

    def __repr__(self) -> str:
        return (
            f"<FileReport {self.file!r}: {self.format}, {plural(self.examples, 'example')},"
            f" {_totals(self.errors, self.warnings, self.infos)}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object with the fields that are not for other output only."""
        internal = ("filled", "repeats", "severities")
        names = (name for name in self.__struct_fields__ if name not in internal)
        fields = {name: getattr(self, name) for name in names}
        return {**fields, "findings": [finding.to_dict() for finding in self.findings]}


class Report(Struct, frozen=True):
    """Validation result of all files.

    A collection of the findings that were kept, in the order of the files: `for finding in report`,
    `len(report)`. `total` counts all findings.

    Attributes:
        ok: True if no finding is as severe as `fail_on`.
        provider: Name of the provider.
        model: Name of the model, if one was given.
        fail_on: The lowest severity that makes `ok` false.
    """

    ok: bool
    provider: str
    model: str | None
    files: tuple[FileReport, ...]
    fail_on: Literal["error", "warning"] = "error"

    def __iter__(self) -> Iterator[Finding]:
        return (finding for file in self.files for finding in file.findings)

    def __len__(self) -> int:
        return sum(len(file.findings) for file in self.files)

    def __repr__(self) -> str:
        return f"<Report {'ok' if self.ok else 'not ok'}: {self._summary()}>"

    def _repr_html_(self) -> str:
        """Return a table of the first findings, for notebooks."""
        more = len(self) - HTML_ROWS
        note = f"and {more:,} more findings" if more > 0 else ""
        rows = (record.values() for record in islice(self._records(), HTML_ROWS))
        return html_table(self._summary(), COLUMNS, rows, note)

    def _summary(self) -> str:
        return f"{plural(len(self.files), 'file')}, {_totals(*map(self.total, SEVERITIES))}"

    def _records(self) -> Iterator[dict[str, Any]]:
        for file in self.files:
            for finding in file.findings:
                yield {"file": file.file, **finding.to_dict()}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `ftkit validate --output json` prints."""
        return {
            "ftkit": __version__,
            "ok": self.ok,
            "provider": self.provider,
            "model": self.model,
            "files": [file.to_dict() for file in self.files],
        }

    def to_records(self) -> list[dict[str, Any]]:
        """Return a row for each finding that was kept, for `pandas.DataFrame`.

        The keys are `file` and those of `Finding.to_dict`.
        """
        return list(self._records())

    def total(self, severity: Severity) -> int:
        """Return the number of findings of a severity in all files."""
        return sum(
            {"error": file.errors, "warning": file.warnings, "info": file.infos}[severity]
            for file in self.files
        )


def _totals(errors: int, warnings: int, infos: int) -> str:
    return ", ".join([plural(errors, "error"), plural(warnings, "warning"), plural(infos, "info")])
